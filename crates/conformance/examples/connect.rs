//! Connects with each driver to each connection string on standard input, and prints whether that
//! succeeds: the driver's name, `true` or `false`, and the string. The tests of TLS run it.

use crdb_conformance::{Driver, for_each_driver};
use crdb_connection::DatabaseUrl;

fn main() {
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let url = line.parse::<DatabaseUrl>();
        macro_rules! connect {
            ($kind:ident $module:ident $driver:ident ()) => {
                connect::<crdb_conformance::$driver>(url.as_ref().ok(), &line);
            };
        }
        for_each_driver!([connect]());
    }
}

fn connect<D: Driver>(url: Option<&DatabaseUrl>, line: &str) {
    let connects = url.is_some_and(|url| D::connect(url).is_ok());
    println!("{} {connects} {line}", D::FACTS.name);
}
