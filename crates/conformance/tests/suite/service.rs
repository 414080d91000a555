//! The service: its answers, its shutdown, and that each transfer is executed exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::{Postgres, sample};
use crdb_local_cluster::{Cluster, Cut, Kind};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::markdown::{blocks, read};
use crate::test_database::{TestDatabase, clusters, readable_cluster};

/// A running service. It is killed when it is dropped.
struct Service {
    process: Child,
    port: u16,
}

impl Service {
    /// Starts the service and waits until it listens.
    fn start(url: &str, port: u16) -> Service {
        let mut service = Command::new(sample::example("service"));
        service
            .env("DATABASE_URL", url)
            .env("PORT", port.to_string());
        service.current_dir("/").stdout(Stdio::null());
        let process = service.spawn().unwrap();
        let service = Service { process, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while request("GET", port, "/nothing", "", "").is_none() {
            assert!(Instant::now() < deadline, "the service does not start");
            thread::sleep(Duration::from_millis(20));
        }
        service
    }

    fn terminate(&self) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns the status and the body of the answer, if there is one.
fn request(method: &str, port: u16, path: &str, key: &str, body: &str) -> Option<(u16, String)> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(15)));
    let agent = ureq::Agent::new_with_config(config.build());
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"));
    if !key.is_empty() {
        request = request.header("Idempotency-Key", key);
    }
    let request = request.header("Content-Type", "application/json");
    let mut response = agent.run(request.body(body).unwrap()).ok()?;
    let status = response.status().as_u16();
    let kind = response.headers()["Content-Type"]
        .to_str()
        .unwrap()
        .to_owned();
    let retry_after = response.headers().get("Retry-After").is_some();
    assert_eq!(retry_after, status == 503, "{path}");
    assert_eq!(
        kind == "application/problem+json",
        status >= 400,
        "{path}: {status} {kind}"
    );
    Some((status, response.body_mut().read_to_string().ok()?))
}

#[test]
fn each_request_has_a_clear_answer() {
    let transfer = r#"{"from": 1, "to": 2, "amount": 10}"#;
    let balances = r#"{"balances":{"1":"90","2":"110"}}"#;
    let past_int8 = r#"{"from": 1, "to": 2, "amount": 9223372036854775808}"#;
    let (long, large) = ("k".repeat(300), " ".repeat(20_000));
    let poor = "account 1 holds 90, which is not enough to transfer 91";
    #[rustfmt::skip]
    let rows = [
        ("POST", "/transfers", "a", transfer, 200, balances),
        ("POST", "/transfers", "a", r#"{"amount": "10", "from": "1", "to": 2}"#, 200, balances),
        ("POST", "/transfers", "a", r#"{"from": 1, "to": 2, "amount": 11}"#, 422, "used for another transfer"),
        ("POST", "/transfers", "b", r#"{"from": 1, "to": 2, "amount": 91}"#, 409, poor),
        ("POST", "/transfers", "c", r#"{"from": 1, "to": 9, "amount": 1}"#, 404, "there is no account 9"),
        ("POST", "/transfers", "d", r#"{"from": 1, "to": 2, "amount": 0}"#, 422, "is not positive"),
        ("POST", "/transfers", "d", r#"{"from": 1, "to": 2, "amount": 1.5}"#, 422, "amount: expected a whole number"),
        ("POST", "/transfers", "d", past_int8, 422, "amount: expected a whole number of 64 bits"),
        ("POST", "/transfers", "d", r#"{"from": 1, "to": 2}"#, 422, "missing field `amount`"),
        ("POST", "/transfers", "d", r#"{"from": 1, "to": 2, "sum": 1}"#, 422, "unknown field `sum`"),
        ("POST", "/transfers", "d", "from 1 to 2", 400, "Failed to parse the request body as JSON"),
        ("POST", "/transfers", "d", &large, 413, "length limit exceeded"),
        ("POST", "/transfers", "", transfer, 400, "Idempotency-Key must have 1 to 255 visible"),
        ("POST", "/transfers", &long, transfer, 400, "Idempotency-Key must have 1 to 255 visible"),
        ("POST", "/transfers", "e\tf", transfer, 400, "Idempotency-Key must have 1 to 255 visible"),
        ("GET", "/accounts/1", "", "", 200, r#"{"balance":"90","id":"1"}"#),
        ("GET", "/accounts/9", "", "", 404, "there is no account 9"),
        ("GET", "/accounts/one", "", "", 400, "Cannot parse `one`"),
        ("GET", "/transfers", "", "", 405, "the path has another method"),
        ("GET", "/other", "", "", 404, "there is no such path"),
        ("GET", "/health", "", "", 200, "ok"),
    ];
    for cluster in clusters() {
        let database = TestDatabase::on(cluster);
        let service = Service::start(&database.text, free_port());
        for (method, path, key, body, status, words) in rows {
            let answer = request(method, service.port, path, key, body).unwrap();
            let fits = answer.0 == status && answer.1.contains(words);
            assert!(fits, "{path} {body:.60}: {answer:?}, not {status} {words}");
        }
        assert_eq!(database.balances::<Postgres>(), [90, 110]);
    }
}

const BODY: &str = r#"{"from": 1, "to": 2, "amount": 1}"#;

const LOCK: &str = "BEGIN; SELECT * FROM accounts FOR UPDATE; SELECT pg_sleep(3); COMMIT";

/// Requests a transfer of 1, and returns the status of the answer.
fn transfer(port: u16, key: &str) -> u16 {
    request("POST", port, "/transfers", key, BODY).unwrap().0
}

/// All clients but one give up while an account is locked.
#[test]
fn clients_that_give_up_do_not_use_up_the_servers_connections() {
    let database = TestDatabase::on(readable_cluster());
    let service = Service::start(&database.text, free_port());
    thread::scope(|scope| {
        scope.spawn(|| database.execute(LOCK));
        thread::sleep(Duration::from_millis(500));
        for _ in 0..8 {
            let mut curl = Command::new("curl");
            curl.args(["-s", "-m", "0.1", "-H", "Idempotency-Key: a", "-d", BODY]);
            curl.args(["-H", "Content-Type: application/json"]);
            let url = format!("http://127.0.0.1:{}/transfers", service.port);
            assert!(!curl.arg(url).status().unwrap().success());
        }
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'demo' \
                     AND datname = current_database()";
        let count: u32 = database.execute(count).parse().unwrap();
        assert!(count <= 4, "{count} connections, and the pool has 4");
    });
    assert_eq!(transfer(service.port, "a"), 200);
    assert_eq!(database.balances::<Postgres>(), [99, 101]);
}

#[test]
fn without_a_database_the_service_does_not_start_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let url = "postgresql://demo:S3cret@localhost:1/?connect_timeout=1";
    let variables = [("DATABASE_URL", url)];
    let message = "Error: could not connect to localhost:1: ";
    let printed = sample::run_failing("service", directory.path(), &variables, message);
    assert!(!printed.contains("S3cret"));
}

#[test]
fn with_tables_of_another_program_the_service_does_not_start() {
    let database = TestDatabase::on(readable_cluster());
    database.execute("ALTER TABLE accounts ALTER COLUMN balance TYPE DECIMAL");
    let directory = tempfile::tempdir().unwrap();
    let variables = [("DATABASE_URL", database.text.as_str())];
    let ended = sample::run("service", directory.path(), &variables);
    assert!(ended.stderr.contains("try another database"), "{ended:?}");
    assert_eq!(ended.status, Some(1));
}

#[test]
fn a_shutdown_finishes_what_has_begun() {
    let database = TestDatabase::on(readable_cluster());
    let mut service = Service::start(&database.text, free_port());
    let port = service.port;
    thread::scope(|scope| {
        scope.spawn(|| database.execute(LOCK));
        thread::sleep(Duration::from_millis(500));
        let begun = scope.spawn(move || transfer(port, "a"));
        thread::sleep(Duration::from_millis(500));
        service.terminate();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(request("GET", port, "/health", "", "").unwrap().0, 503);
        assert_eq!(transfer(port, "b"), 503);
        assert_eq!(begun.join().unwrap(), 200);
        assert!(service.process.wait().unwrap().success());
    });
}

/// Each `curl` line of the page prints the block that follows.
#[test]
fn the_curl_lines_of_the_page_print_what_it_says() {
    let database = TestDatabase::on(readable_cluster());
    database.execute("INSERT INTO accounts VALUES (3, 900), (4, 350)");
    let service = Service::start(&database.text, free_port());
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

const CLIENTS: u64 = 16;
const TRANSFERS: u64 = 50;

/// The accounts and the amount of a transfer.
type Transfer = [i64; 3];

/// Sends each transfer until it has an answer that is final. Returns the transfers that were made.
fn send_all(
    seed: u64,
    client: u64,
    port: u16,
    answered: &AtomicUsize,
) -> BTreeMap<String, Transfer> {
    let mut random = fastrand::Rng::with_seed(seed * CLIENTS + client);
    let mut made = BTreeMap::new();
    for number in 0..TRANSFERS {
        let from = random.i64(1..=4);
        let transfer @ [from, to, amount] = [from, from % 4 + 1, random.i64(1..=40)];
        let key = format!("{seed}-{client}-{number}");
        let body = format!(r#"{{"from": {from}, "to": {to}, "amount": {amount}}}"#);
        loop {
            match request("POST", port, "/transfers", &key, &body) {
                Some((200, _)) => {
                    made.insert(key, transfer);
                    break;
                }
                Some((409, _)) => break,
                Some((503, _)) | None => thread::sleep(Duration::from_millis(random.u64(1..50))),
                Some(answer) => panic!("{key}: {answer:?}"),
            }
        }
        answered.fetch_add(1, Ordering::Relaxed);
    }
    made
}

/// The relay cuts connections, the database restarts, and the service is stopped and started again.
fn execute_exactly_once(kind: Kind, seed: u64) {
    let cluster = Cluster::start_as(kind).unwrap();
    let database = TestDatabase::on(&cluster);
    database.execute("INSERT INTO accounts VALUES (3, 100), (4, 100)");
    let url = cluster.url_through(&database.relay).replace(
        "/defaultdb?",
        &format!("/{}?connect_timeout=5&", database.name),
    );
    let mut service = Service::start(&url, free_port());
    let (port, answered) = (service.port, AtomicUsize::new(0));
    let all = (CLIENTS * TRANSFERS) as usize;
    let made: BTreeMap<String, Transfer> = thread::scope(|scope| {
        let send = |client| {
            scope.spawn({
                let answered = &answered;
                move || send_all(seed, client, port, answered)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(send).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut events = vec![all / 2, all / 4];
        while clients.iter().any(|client| !client.is_finished()) {
            let turn = random.u64(1..40);
            database.relay.cut(match random.bool() {
                true => Cut::BeforeTurn(turn),
                false => Cut::BeforeAnswer(turn),
            });
            thread::sleep(Duration::from_millis(random.u64(5..60)));
            if events
                .last()
                .is_some_and(|event| answered.load(Ordering::Relaxed) >= *event)
            {
                match events.len() {
                    2 => cluster.restart().unwrap(),
                    _ => {
                        service.terminate();
                        assert!(service.process.wait().unwrap().success());
                        service = Service::start(&url, port);
                    }
                }
                events.pop();
            }
        }
        assert_eq!(events.len(), 0, "both events came before the end");
        let made = clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        made.collect()
    });

    let keys = database.execute("SELECT key FROM transfers WHERE status = 200 ORDER BY key");
    let stored: BTreeSet<&str> = keys.lines().filter(|key| key.contains('-')).collect();
    assert_eq!(stored, made.keys().map(String::as_str).collect());
    let mut expected = [100; 4];
    for [from, to, amount] in made.values() {
        expected[*from as usize - 1] -= amount;
        expected[*to as usize - 1] += amount;
    }
    assert_eq!(database.balances::<Postgres>(), expected);
    println!(
        "{kind:?}, seed {seed}: {} of {all} made, the others refused",
        made.len()
    );
}

#[test]
fn each_transfer_is_executed_exactly_once_while_connections_break() {
    for kind in Kind::available().unwrap() {
        for _ in 0..2 {
            let seed = fastrand::u64(..1_000_000);
            println!("{kind:?}: seed {seed}");
            execute_exactly_once(kind, seed);
        }
    }
}
