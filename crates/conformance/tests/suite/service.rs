//! The service: what its tests share.

mod answers;
mod exactly_once;
mod limits;
mod start_and_stop;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use crdb_conformance::sample;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running service. It is killed when it is dropped.
struct Service {
    process: Child,
    port: u16,
}

impl Service {
    /// Starts the service with these variables, and waits until it listens.
    fn start(url: &str, variables: &[(&str, &str)]) -> Service {
        let service = Service::begin(url, free_port(), variables);
        service.wait();
        service
    }

    /// Starts the service.
    fn begin(url: &str, port: u16, variables: &[(&str, &str)]) -> Service {
        let mut command = Command::new(sample::example("service"));
        command
            .env("DATABASE_URL", url)
            .env("PORT", port.to_string())
            .envs(variables.iter().copied())
            .current_dir("/")
            .stdout(Stdio::null());
        let process = command.spawn().unwrap();
        Service { process, port }
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("localhost", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the service does not start");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM.
    fn terminate(&self) {
        kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM).unwrap();
    }

    fn get(&self, path: &str) -> (u16, String) {
        request("GET", self.port, path, "", "").unwrap()
    }

    /// Requests a transfer of 1 from account 1 to account 2.
    fn transfer(&self, key: &str) -> (u16, String) {
        let body = r#"{"from": 1, "to": 2, "amount": 1}"#;
        request("POST", self.port, "/transfers", key, body).unwrap()
    }

    /// Sends bytes, and returns what comes until the service closes the connection.
    fn send(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(("localhost", self.port)).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asserts that nothing was done, and that the same request may succeed later.
fn assert_not_done((status, text): &(u16, String)) {
    assert!(
        *status == 503 && text.contains("Nothing was done"),
        "{status}: {text}"
    );
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns the status and the body of the answer, if there is one.
fn request(method: &str, port: u16, path: &str, key: &str, body: &str) -> Option<(u16, String)> {
    static AGENT: LazyLock<ureq::Agent> = LazyLock::new(|| {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(Duration::from_secs(15)));
        config.build().into()
    });
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .header("Content-Type", "application/json");
    if !key.is_empty() {
        request = request.header("Idempotency-Key", key);
    }
    let mut response = AGENT.run(request.body(body).unwrap()).ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers());
    let retry_after = headers.get("Retry-After").is_some();
    assert_eq!(retry_after, status == 503, "{path}");
    let is_problem = headers["Content-Type"] == "application/problem+json";
    assert_eq!(is_problem, status >= 400, "{path}: {status}");
    Some((status, response.body_mut().read_to_string().ok()?))
}
