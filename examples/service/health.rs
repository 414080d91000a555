//! Whether the database answers.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::ensure;
use deadpool_postgres::{Object, Pool};
use tokio::time::{sleep, timeout};

/// Asks the database each second, and stores whether it answers within this time. The pool is one of
/// its own: that of the requests can be busy.
pub async fn watch(pool: Pool, limit: Duration, answers: &AtomicBool) {
    loop {
        let is_well = ask(&pool, limit).await;
        if answers.swap(is_well, Relaxed) != is_well {
            tracing::warn!("the database answers: {is_well}");
        }
        sleep(Duration::from_secs(1)).await;
    }
}

async fn ask(pool: &Pool, limit: Duration) -> bool {
    let Ok(client) = pool.get().await else {
        return false;
    };
    let asked = timeout(limit, client.batch_execute("SELECT 1")).await;
    let is_well = matches!(asked, Ok(Ok(())));
    if !is_well {
        // The next connection may reach another host.
        drop(Object::take(client));
    }
    is_well
}

/// Asks the service at this address, for an image without curl.
///
/// # Errors
///
/// Returns an error if the answer is not 200.
pub fn check(address: IpAddr, port: u16) -> anyhow::Result<()> {
    let host = address.to_string();
    let host = if address.is_unspecified() {
        "localhost"
    } else {
        &host
    };
    let mut service = TcpStream::connect((host, port))?;
    service.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        service,
        "GET /health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    service.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    Ok(())
}
