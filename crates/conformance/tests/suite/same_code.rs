//! The retry functions of all drivers are equal, except where they call the driver.

use crate::markdown::read;

const DRIVERS: [(&str, &str); 4] = [
    ("postgres", "postgres::Error"),
    ("tokio-postgres", "tokio_postgres::Error"),
    ("diesel", "diesel::result::Error"),
    ("sea-orm", "DbErr"),
];

/// What only one driver has, and the text of the others: the pool of tokio-postgres may have no
/// connection, and its rollback is awaited; SeaORM restarts on another connection if necessary.
const DIFFERENCES: [(&str, &str); 3] = [
    (
        "    /// The pool has no connection; `op` did not run.
    #[error(\"there is no connection\")]
    NoConnection(#[from] PoolError),
",
        "",
    ),
    (
        "_ => {
                txn.rollback().await;
                return Err(error);
            }",
        "_ => return Err(error),",
    ),
    ("=> txn = txn.restart", "=> txn.restart"),
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
fn the_retry_loop_is_the_same_for_all_drivers() {
    assert_equal("Ok(value) => match", "/// Returns a random pause");
}

#[test]
fn pauses_errors_and_sqlstates_are_the_same_for_all_drivers() {
    assert_equal("/// Returns a random pause", "AmbiguousCommit(#[source]");
    assert_equal(
        "/// Returns the statements that",
        "/// Returns SQLSTATE and message",
    );
}
