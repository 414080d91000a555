//! Measures the drivers side by side and writes a report. `--help` lists the options.
//!
//! `cargo run --release --example compare`

fn main() -> anyhow::Result<std::process::ExitCode> {
    crdb_compare::run()
}
