//! The retry functions of all drivers are equal, except where they call the driver.

use crate::markdown::read;

const DRIVERS: [(&str, &str); 4] = [
    ("postgres", "postgres::Error"),
    ("tokio-postgres", "tokio_postgres::Error"),
    ("diesel", "diesel::result::Error"),
    ("sea-orm", "DbErr"),
];

/// What only one driver has, and the text of the others: the pool of tokio-postgres may have no
/// connection, and its rollback is awaited; SeaORM gives its connection back during a pause.
const DIFFERENCES: [(&str, &str); 10] = [
    (
        "    /// The pool has no connection; `op` did not run.
    #[error(\"there is no connection\")]
    NoConnection(#[source] PoolError),
",
        "",
    ),
    ("break error;", "return Err(error);"),
    (
        "    };\n    txn.rollback().await;\n    Err(error)\n}",
        "    }\n}",
    ),
    ("txn.client().batch_execute(RESTART)", "txn.restart()"),
    ("txn.client.batch_execute(RESTART)", "txn.restart()"),
    ("txn.conn.batch_execute(RESTART)", "txn.restart()"),
    ("txn.execute_unprepared(RESTART)", "txn.restart()"),
    ("txn.execute_unprepared(COMMIT)", "txn.commit()"),
    ("Ok(_) => return Ok(value)", "Ok(()) => return Ok(value)"),
    (
        "        if !restarted {
            // sqlx sends ROLLBACK and gives the connection back to the pool.
            drop(txn);
            sleep(Duration::from_micros(fastrand::u64(..=100_000))).await;
            match begin(db).await {
                Ok(begun) => txn = begun,
                Err(_) => return Err(error),
            }
        }
",
        "        if !restarted && txn.begin_again().is_err() {
            return Err(error);
        }
",
    ),
];

/// Returns the part of transaction.rs from the first text to the second one, without white space.
fn part(driver: &str, error: &str, from: &str, to: &str) -> String {
    let text = read(&format!("examples/{driver}/src/transaction.rs"));
    let (_, rest) = text.split_once(from).expect(from);
    let (part, _) = rest.split_once(to).expect(to);
    let part = DIFFERENCES
        .iter()
        .fold(part.to_owned(), |part, (only, other)| {
            part.replace(only, other)
        });
    let part = part.replace(error, "DriverError").replace(".await", "");
    part.split_whitespace().collect()
}

fn assert_equal(from: &str, to: &str) {
    let [(first, error), others @ ..] = DRIVERS;
    let expected = part(first, error, from, to);
    for (driver, error) in others {
        assert_eq!(
            part(driver, error, from, to),
            expected,
            "{first} and {driver}"
        );
    }
}

#[test]
fn the_retry_loop_and_the_errors_are_the_same_for_all_drivers() {
    assert_equal("Ok(value) => match", "    // The first time");
    assert_equal("    // The first time", "AmbiguousCommit(#[source]");
}
