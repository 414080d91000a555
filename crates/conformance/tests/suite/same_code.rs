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

/// What differs between the drivers: the calls that send a statement, sqlx's own rollback at the end, and
/// the connection that a pool may not have. What only one driver has becomes the text of the others.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "    /// The pool has no connection; `op` did not run.\n",
        "",
    ),
    ("    #[error(\"there is no connection\")]\n", ""),
    ("    NoConnection(#[source] PoolError),\n", ""),
    ("    NoConnection(#[source] DriverError),\n", ""),
    (
        "break (AmbiguousCommit(answer), false);",
        "return Err(AmbiguousCommit(answer));",
    ),
    ("break (error, answer.is_ok());", "return Err(error);"),
    ("break (error, false);", "return Err(error);"),
    (
        "        // At the end, sqlx's own ROLLBACK follows.
        let anew = again && !in_place;
",
        "",
    ),
    (
        "roll_back(&mut txn, if anew { ROLLBACK } else { RESTART })",
        "txn.send(RESTART or ROLLBACK)",
    ),
    (
        "roll_back(&txn, if anew { ROLLBACK } else { RESTART })",
        "txn.send(RESTART or ROLLBACK)",
    ),
    (
        "txn.send(if in_place { RESTART } else { ROLLBACK })",
        "txn.send(RESTART or ROLLBACK)",
    ),
    ("txn.execute(BEGIN)", "txn.send(BEGIN)"),
    ("txn.execute_unprepared(BEGIN)", "txn.send(BEGIN)"),
];

/// Returns the part of transaction.rs from the first text to the second one, without white space.
fn part(driver: &str, from: &str, to: &str) -> String {
    let text = read(&format!("examples/{driver}/src/transaction.rs"));
    let (_, rest) = text.split_once(from).expect(from);
    let (part, _) = rest.split_once(to).expect(to);
    let part = ERRORS.iter().fold(part.to_owned(), |part, error| {
        part.replace(error, "DriverError")
    });
    let part = part.replace(".await", "");
    let part = DIFFERENCES
        .iter()
        .fold(part, |part, (only, other)| part.replace(only, other));
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
    assert_equal("let retry = retry_error", "cannot begin");
    assert_equal("/// The reason why", "/// Returns SQLSTATE and message");
}
