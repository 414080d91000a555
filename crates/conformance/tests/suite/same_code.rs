//! The retry functions of all drivers are equal, except where they call the driver.

use crdb_conformance::DRIVERS;

use crate::markdown::read;

/// The types of the drivers' errors. A type comes before one whose name is its end.
const ERRORS: [&str; 5] = [
    "tokio_postgres::Error",
    "postgres::Error",
    "diesel::result::Error",
    "sqlx::Error",
    "DbErr",
];

/// What only one driver has, and the text of the others: a pool may have no connection; the rollbacks of
/// the asynchronous drivers are awaited; sqlx gives its connection back at the end, SeaORM during a pause.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "    /// The pool has no connection; `op` did not run.\n",
        "",
    ),
    ("    #[error(\"there is no connection\")]\n", ""),
    ("    NoConnection(#[source] PoolError),\n", ""),
    ("    NoConnection(#[source] sqlx::Error),\n", ""),
    ("            let _ = txn.rollback().await;\n", ""),
    ("break error;", "return Err(error);"),
    ("break Err(error);", "return Err(error);"),
    (
        "    };\n    txn.rollback().await;\n    Err(error)\n}",
        "    }\n}",
    ),
    (
        "    };
    drop(txn);
    // The ping sends sqlx's ROLLBACK, which ends the locks. After a commit the pool sends both.
    if result.is_ok() || conn.get().ping().await.is_ok() {
        conn.0 = None;
    }
    result
}",
        "    }\n}",
    ),
    ("txn.execute(RESTART)", "txn.restart()"),
    ("txn.execute(COMMIT)", "txn.commit()"),
    ("txn.client().batch_execute(RESTART)", "txn.restart()"),
    ("txn.client.batch_execute(RESTART)", "txn.restart()"),
    ("txn.conn.batch_execute(RESTART)", "txn.restart()"),
    ("txn.execute_unprepared(RESTART)", "txn.restart()"),
    ("txn.execute_unprepared(COMMIT)", "txn.commit()"),
    ("Ok(_) => break Ok(value)", "Ok(()) => return Ok(value)"),
    ("Ok(_) => return Ok(value)", "Ok(()) => return Ok(value)"),
    (
        "        if !restarted {
            drop(txn);
            match conn.begin_again().await {
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
    (
        "        if !restarted {
            // sqlx sends ROLLBACK and gives the connection back to the pool.
            drop(txn);
            // Random: transactions that failed together must not meet again.
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
fn part(driver: &str, from: &str, to: &str) -> String {
    let text = read(&format!("examples/{driver}/src/transaction.rs"));
    let (_, rest) = text.split_once(from).expect(from);
    let (part, _) = rest.split_once(to).expect(to);
    let part = DIFFERENCES
        .iter()
        .fold(part.to_owned(), |part, (only, other)| {
            part.replace(only, other)
        });
    let part = ERRORS
        .iter()
        .fold(part, |part, error| part.replace(error, "DriverError"));
    let part = part.replace(".await", "");
    part.split_whitespace().collect()
}

fn assert_equal(from: &str, to: &str) {
    let [first, others @ ..] = DRIVERS;
    let expected = part(first, from, to);
    for driver in others {
        assert_eq!(part(driver, from, to), expected, "{first} and {driver}");
    }
}

#[test]
fn the_retry_loop_and_the_errors_are_the_same_for_all_drivers() {
    assert_equal("Ok(value) => match", "    // The first time");
    assert_equal("    // The first time", "AmbiguousCommit(#[source]");
}
