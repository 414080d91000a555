//! [`Settings`]: the variables of the service.

use std::net::IpAddr;
use std::num::{NonZeroUsize, ParseFloatError};
use std::time::Duration;

/// An HTTP service that moves money between accounts. DATABASE_URL, PG… and .env name the database,
/// RUST_LOG what is logged. Times are in seconds.
#[derive(clap::Parser)]
pub struct Settings {
    /// The address to listen on. `::` is every address, of IPv6 and of IPv4.
    #[arg(long, env, default_value = "::")]
    pub address: IpAddr,
    #[arg(long, env, default_value = "8080")]
    pub port: u16,
    /// The connections of the pool.
    #[arg(long, env, default_value = "4")]
    pub pool_size: NonZeroUsize,
    /// The requests that use the database at the same time; others get 503. [default: two for each
    /// connection of the pool]
    #[arg(long, env)]
    pub max_requests: Option<NonZeroUsize>,
    /// From the moment a request is let in to its answer.
    #[arg(long, env, default_value = "10", value_parser = seconds)]
    pub request_timeout: Duration,
    /// For a client to send a request's header, then its body; also for an idle connection.
    #[arg(long, env, default_value = "5", value_parser = seconds)]
    pub client_timeout: Duration,
    /// To wait for the database at the start.
    #[arg(long, env, default_value = "30", value_parser = seconds)]
    pub start_timeout: Duration,
    /// To go on after SIGTERM, until load balancers have noticed that /health/ready is 503.
    #[arg(long, env, default_value = "5", value_parser = seconds)]
    pub shutdown_delay: Duration,
    /// Ask the service that runs on this machine for its health, and exit with status 0 or 1.
    #[arg(long)]
    pub check: bool,
}

impl Settings {
    pub fn max_requests(&self) -> usize {
        let default = self.pool_size.get() * 2;
        self.max_requests.map_or(default, NonZeroUsize::get)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .map_err(|error: ParseFloatError| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
