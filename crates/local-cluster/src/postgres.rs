//! Configures and starts PostgreSQL, and runs SQL on it.

use std::fs;
use std::process::Command;

use anyhow::Result;
use nix::sys::signal::Signal;

use crate::kind::Fault;
use crate::process::ServerProcess;
use crate::run::{input, run};
use crate::server::Server;

/// Creates the data directory, starts the server, and creates a user and its database.
pub(crate) fn create(server: &Server, user: &str, database: &str) -> Result<ServerProcess> {
    configure(server)?;
    let process = start(server)?;
    let password = &server.password;
    let create = format!(
        "CREATE ROLE {user} LOGIN CREATEDB PASSWORD '{password}';
        CREATE DATABASE {database} OWNER {user};"
    );
    run(psql(server, "postgres").stdin(input(&create)?))?;
    Ok(process)
}

fn configure(server: &Server) -> Result<()> {
    server.directory.chown()?;
    let mut initdb = server
        .directory
        .command(server.program.with_file_name("initdb"));
    let flags =
        "-U postgres --pwfile=password -A scram-sha-256 -E UTF8 --locale=C --no-sync -D data";
    run(initdb.args(flags.split(' ')))?;

    let (ssl, connection, option) = match server.fault {
        Some(Fault::NoTls) => ("off", "host", ""),
        Some(Fault::ClientCertificate) => ("on", "hostssl", "clientcert=verify-full"),
        _ => ("on", "hostssl", ""),
    };
    // The paths are relative to the data directory. There is no Unix-domain socket: its path can be
    // too long. By default PostgreSQL waits a second before it looks for a deadlock. fsync is off
    // because the data need not survive a power failure.
    let settings = format!(
        "listen_addresses = '127.0.0.1, ::1'
        port = {}
        unix_socket_directories = ''
        ssl = {ssl}
        ssl_cert_file = '../certs/node.crt'
        ssl_key_file = '../certs/node.key'
        ssl_ca_file = '../certs/ca.crt'
        deadlock_timeout = '10ms'
        fsync = off\n",
        server.ports[0]
    );
    // The superuser connects without TLS, whatever the fault.
    let rules = format!(
        "host all postgres 127.0.0.1/32 scram-sha-256
        {connection} all all all scram-sha-256 {option}\n"
    );
    let data = server.directory.path.join("data");
    fs::write(data.join("pg_hba.conf"), rules)?;
    let file = data.join("postgresql.conf");
    fs::write(&file, fs::read_to_string(&file)? + &settings)?;
    Ok(())
}

/// Starts the server and waits until it accepts SQL.
pub(crate) fn start(server: &Server) -> Result<ServerProcess> {
    let mut command = server.directory.server(&server.program);
    command.args(["-D", "data"]);
    // SIGINT requests a fast shutdown, which closes the clients' connections.
    let log = server.directory.path.join("log");
    let mut process = ServerProcess::start(command, log, Signal::SIGINT)?;
    process.wait_until(|| execute(server, "postgres", "SELECT 1").is_ok())?;
    Ok(process)
}

/// Runs SQL as the superuser and returns what psql prints.
pub(crate) fn execute(server: &Server, database: &str, sql: &str) -> Result<String> {
    run(psql(server, database).args(["-c", sql]))
}

fn psql(server: &Server, database: &str) -> Command {
    let mut psql = server
        .directory
        .command(server.program.with_file_name("psql"));
    psql.args("-X -q -At -v ON_ERROR_STOP=1 -U postgres -h 127.0.0.1".split(' '))
        .args(["-p", &server.ports[0].to_string(), "-d", database])
        .env("PGPASSWORD", &server.password)
        .env("PGSSLMODE", "disable");
    psql
}
