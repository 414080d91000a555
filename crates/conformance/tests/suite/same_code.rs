//! The retry functions of all drivers are equal, except where they call the driver.

use crdb_conformance::{DRIVERS, Facts};

use crate::markdown::read;

/// Returns the part of transaction.rs from the first text to the second one, without white space.
fn part(driver: &Facts, from: &str, to: &str) -> String {
    let text = read(&format!("examples/{}/src/transaction.rs", driver.name));
    let (_, rest) = text.split_once(from).expect(from);
    let (part, _) = rest.split_once(to).expect(to);
    let replace = |part: String, (own, other): &(&str, &str)| part.replace(own, other);
    let own_code = driver.own_code.iter();
    let part = own_code.fold(part.replace(".await", ""), replace);
    part.split_whitespace().collect()
}

fn assert_equal(from: &str, to: &str) {
    let [first, others @ ..] = DRIVERS else {
        panic!("there are drivers");
    };
    let expected = part(first, from, to);
    for driver in others {
        assert_eq!(
            part(driver, from, to),
            expected,
            "{} and {}",
            first.name,
            driver.name
        );
    }
}

#[test]
fn the_retry_loop_and_the_errors_are_the_same_for_all_drivers() {
    assert_equal("let retry = retry_error", "let answer = ");
    assert_equal(
        "            answer => answer,",
        "        if in_place && answer.is_ok()",
    );
    assert_equal("/// The reason why", "/// Returns SQLSTATE and message");
}
