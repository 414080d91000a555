//! Each row of the page's table, and that each answer is true.

use std::process::Command;

use crdb_conformance::Postgres;

use super::{Service, request};
use crate::markdown::{blocks, read};
use crate::test_database::{TestDatabase, clusters, readable_cluster};

#[test]
fn each_request_has_a_clear_answer() {
    let transfer = r#"{"from": 1, "to": 2, "amount": 10}"#;
    let balances = r#"{"balances":{"1":"90","2":"110"}}"#;
    let past_int8 = r#"{"from": 1, "to": 2, "amount": 9223372036854775808}"#;
    let (long, large) = ("k".repeat(256), " ".repeat(20_000));
    let poor = "account 1 holds 90, which is not enough to transfer 91";
    let no_key = "one header Idempotency-Key is needed";
    #[rustfmt::skip]
    let rows = [
        ("POST", "/transfers", "a", transfer, 200, balances),
        ("POST", "/transfers", "a", r#"{"amount": "10", "from": "1", "to": 2}"#, 200, balances),
        ("POST", "/transfers", "\"a\"", transfer, 200, balances),
        ("POST", "/transfers", "a", r#"{"from": 1, "to": 2, "amount": 11}"#, 422, "used for another transfer"),
        ("POST", "/transfers", "\"b, c\"", r#"{"from": 1, "to": 2, "amount": 91}"#, 409, poor),
        ("POST", "/transfers", "c", r#"{"from": 1, "to": 9, "amount": 1}"#, 404, "there is no account 9"),
        ("POST", "/transfers", "d", r#"{"from": 1, "to": 2, "amount": 0}"#, 422, "is not positive"),
        ("POST", "/transfers", "d", r#"{"from": 1, "to": 2, "amount": 1.5}"#, 422, "amount: expected a whole number"),
        ("POST", "/transfers", "d", past_int8, 422, "amount: expected a whole number of 64 bits"),
        ("POST", "/transfers", "d", r#"{"from": 1, "to": 2}"#, 422, "missing field `amount`"),
        ("POST", "/transfers", "d", "[1, 2, 1]", 422, "the body is not an object"),
        ("POST", "/transfers", "d", "from 1 to 2", 400, "Failed to parse the request body as JSON"),
        ("POST", "/transfers", "d", &large, 413, "length limit exceeded"),
        ("POST", "/transfers", "", transfer, 400, no_key),
        ("POST", "/transfers", &long, transfer, 400, no_key),
        ("POST", "/transfers", "e,f", transfer, 400, no_key),
        ("POST", "/transfers", "e f", transfer, 400, no_key),
        ("POST", "/transfers", "\"e\", \"f\"", transfer, 400, no_key),
        ("POST", "/transfers", "\"\"", transfer, 400, no_key),
        ("GET", "/accounts/1", "", "", 200, r#"{"balance":"90","id":"1"}"#),
        ("GET", "/accounts/9", "", "", 404, "there is no account 9"),
        ("GET", "/accounts/one", "", "", 400, "Cannot parse `one`"),
        ("GET", "/transfers", "", "", 405, "the path has another method"),
        ("GET", "/other", "", "", 404, "there is no such path"),
        ("GET", "/health/live", "", "", 200, "live"),
        ("GET", "/health/ready", "", "", 200, "ready"),
        ("GET", "/metrics", "", "", 200, "http_requests_total{status=\"409\"} 1\n"),
    ];
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let service = Service::start(&database.text, &[]);
        for (method, path, key, body, status, words) in rows {
            let answer = request(method, service.port, path, key, body).unwrap();
            let fits = answer.0 == status && answer.1.contains(words);
            assert!(fits, "{path} {key} {body:.60}: {answer:?}, not {words}");
        }
        assert_eq!(database.balances::<Postgres>(), [90, 110]);
    }
}

#[test]
fn a_request_that_is_not_whole_has_a_clear_answer() {
    let database = TestDatabase::on(readable_cluster());
    let service = Service::start(&database.text, &[("CLIENT_TIMEOUT", "1")]);
    let head =
        "POST /transfers HTTP/1.1\r\nHost: service\r\nConnection: close\r\nIdempotency-Key: a\r\n";
    for (rest, status) in [
        ("Content-Length: 0\r\n\r\n", "415"),
        ("Idempotency-Key: a\r\nContent-Length: 0\r\n\r\n", "400"),
        // The body is not sent: the answer does not wait for it.
        (
            "Content-Type: application/json\r\nContent-Length: 20000000\r\n\r\n",
            "413",
        ),
        (
            "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{",
            "408",
        ),
    ] {
        let answer = service.send(&format!("{head}{rest}"));
        assert_eq!(answer.get(9..12), Some(status), "{rest}: {answer}");
    }
}

/// Errors of a statement, and of the commit.
#[test]
fn only_a_commit_without_a_clear_answer_is_not_known() {
    let database = TestDatabase::on(readable_cluster());
    let service = Service::start(&database.text, &[]);
    database.execute("CREATE SEQUENCE runs");
    let rows = [
        ("IMMEDIATE", "57P01", "true", 503, "Nothing was done"),
        ("IMMEDIATE", "23514", "true", 500, "will fail again"),
        ("IMMEDIATE", "42703", "true", 500, "will fail again"),
        ("DEFERRED", "23514", "true", 500, "will fail again"),
        ("DEFERRED", "57P01", "true", 503, "The outcome is not known"),
        ("IMMEDIATE", "40P01", "nextval('runs') = 1", 200, "balances"),
    ];
    for (when, sqlstate, condition, status, words) in rows {
        database.execute(&format!(
            "CREATE OR REPLACE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
                 IF {condition} THEN PERFORM raise('{sqlstate}', 'a test'); END IF; RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON transfers INITIALLY {when}
                 FOR EACH ROW EXECUTE FUNCTION fail()"
        ));
        let (found, text) = service.transfer("a");
        assert!(
            found == status && text.contains(words),
            "{sqlstate}: {found} {text}"
        );
        database.execute("DROP TRIGGER fail ON transfers");
    }
    assert_eq!(database.balances::<Postgres>(), [99, 101]);
    let metrics = service.get("/metrics").1;
    assert!(metrics.contains("ambiguous_commits_total 1\n"), "{metrics}");
    let retries = "transaction_retries_total{sqlstate=\"40P01\"} 1\n";
    assert!(metrics.contains(retries), "{metrics}");
}

/// Each `curl` line of the page prints the block that follows.
#[test]
fn the_curl_lines_of_the_page_print_what_it_says() {
    let database = TestDatabase::on(readable_cluster());
    database.execute("INSERT INTO accounts VALUES (3, 900), (4, 350)");
    let service = Service::start(&database.text, &[]);
    let page = read("examples/service/README.md");
    let blocks = blocks(&page);
    let mut lines = 0;
    for pair in blocks
        .windows(2)
        .filter(|pair| pair[0].text.starts_with("curl "))
    {
        let command = pair[0]
            .text
            .replace("localhost:8080", &format!("localhost:{}", service.port));
        let output = Command::new("bash")
            .args(["-c", &command])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(printed.trim_end(), pair[1].text.trim_end(), "{command}");
        lines += 1;
    }
    assert!(lines >= 3, "{lines}");
}
