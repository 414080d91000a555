//! Where settings come from, and what they may be.

use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::config::{Config, Host, Password, RootCert, SslMode};
use crate::environment::Environment;
use crate::settings::Settings;

fn config(process: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Result<Config, String> {
    Config::from_environment(&Environment::of(process, dotenv, "/project"))
        .map_err(|error| error.to_string())
}

fn of_url(url: &str) -> Result<Config, String> {
    config(&[("DATABASE_URL", url), ("PGUSER", "somebody")], &[])
}

#[test]
fn the_url_wins_over_variables_and_variables_over_defaults() {
    let variables = [
        ("PGHOST", "variable"),
        ("PGPORT", "1"),
        ("PGUSER", "v"),
        ("PGDATABASE", "v"),
        ("PGOPTIONS", "-c a=b"),
        ("PGAPPNAME", "v"),
        ("PGCONNECT_TIMEOUT", "3"),
        ("PGSSLMODE", "require"),
    ];
    let by_variables = config(&variables, &[]).unwrap();
    assert_eq!(
        by_variables.to_url(),
        "postgresql://v@variable:1/v?sslmode=require&options=-c%20a%3Db&application_name=v&connect_timeout=3"
    );
    let url =
        "postgresql://u:p@url:2/u?sslmode=disable&options=x&application_name=u&connect_timeout=4";
    let with_url = [&variables[..], &[("DATABASE_URL", url)]].concat();
    assert_eq!(config(&with_url, &[]).unwrap().to_url(), url);
    let half = [
        &variables[..],
        &[("DATABASE_URL", "postgresql://url/?options=")],
    ]
    .concat();
    let half = config(&half, &[]).unwrap();
    assert_eq!(
        (half.hosts[0].to_string(), half.dbname),
        ("url:1".to_owned(), "v".to_owned())
    );
    assert_eq!(half.options, None, "left empty on purpose");
}

#[test]
fn the_defaults_are_those_of_a_managed_cluster() {
    let config = of_url("postgresql://").unwrap();
    assert_eq!(
        config.hosts,
        [Host {
            name: "localhost".into(),
            port: 26257
        }]
    );
    assert_eq!(
        (config.dbname.as_str(), config.sslmode),
        ("defaultdb", SslMode::VerifyFull)
    );
    assert_eq!(config.connect_timeout, Some(Duration::from_secs(10)));
    assert!(
        config.application_name.starts_with("crdb_connection"),
        "the program's name"
    );
    assert_eq!(
        (config.password, config.options, config.sslrootcert),
        (None, None, None)
    );
}

#[test]
fn dotenv_fills_gaps_and_never_overrides() {
    let dotenv = [
        ("DATABASE_URL", "postgresql://dotenv/"),
        ("PGUSER", "dotenv"),
        ("PGDATABASE", "dotenv"),
    ];
    let config = config(&[("PGUSER", "process"), ("PGDATABASE", "")], &dotenv).unwrap();
    assert_eq!(
        (config.hosts[0].name.as_str(), config.user.as_str()),
        ("dotenv", "process")
    );
    assert_eq!(
        config.dbname, "defaultdb",
        "set to nothing in the environment"
    );
}

#[test]
fn a_relative_path_in_dotenv_is_relative_to_that_file() {
    let root = |process: &[(&str, &str)], dotenv: &[(&str, &str)]| {
        config(process, dotenv).unwrap().sslrootcert
    };
    let url = ("DATABASE_URL", "postgresql://u@h/?sslrootcert=certs/ca.crt");
    let file = |path: &str| Some(RootCert::File(PathBuf::from(path)));
    assert_eq!(root(&[], &[url]), file("/project/certs/ca.crt"));
    assert_eq!(root(&[url], &[]), file("certs/ca.crt"));
    let (host, variable) = (("PGHOST", "h"), ("PGSSLROOTCERT", "certs/ca.crt"));
    assert_eq!(root(&[host], &[variable]), file("/project/certs/ca.crt"));
    assert_eq!(root(&[host, variable], &[]), file("certs/ca.crt"));
    assert_eq!(
        root(&[], &[host, ("PGSSLROOTCERT", "/etc/ca.crt")]),
        file("/etc/ca.crt")
    );
    assert_eq!(
        root(&[], &[host, ("PGSSLROOTCERT", "system")]),
        Some(RootCert::System)
    );
}

#[test]
fn without_a_url_a_host_is_enough_and_without_both_it_is_said() {
    assert_eq!(
        config(&[("PGHOST", "h")], &[]).unwrap().hosts[0].to_string(),
        "h:26257"
    );
    assert!(
        config(&[("PGUSER", "u")], &[])
            .unwrap_err()
            .starts_with("DATABASE_URL is not set")
    );
    assert!(
        config(&[("DATABASE_URL", "")], &[])
            .unwrap_err()
            .starts_with("DATABASE_URL is not set")
    );
}

#[test]
fn hosts_and_ports_go_together_as_in_libpq() {
    let hosts = |url: &str| {
        of_url(url).map(|config| {
            config
                .hosts
                .iter()
                .map(Host::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        })
    };
    assert_eq!(
        hosts("postgresql://a:1,b,[::3]:3").unwrap(),
        "a:1 b:26257 [::3]:3"
    );
    assert_eq!(hosts("postgresql://a,b?port=5").unwrap(), "a:5 b:5");
    assert_eq!(
        hosts("postgresql://a,,c").unwrap(),
        "a:26257 localhost:26257 c:26257"
    );
    assert_eq!(
        hosts("postgresql://?host=/run/db&port=7").unwrap(),
        "/run/db/.s.PGSQL.7"
    );
    let uneven = "2 ports for 3 hosts: give one port for all of them, or one for each";
    assert_eq!(hosts("postgresql://a,b,c?port=1,2").unwrap_err(), uneven);
    for port in ["0", "65536", "x", "-1"] {
        let error = hosts(&format!("postgresql://h:{port}")).unwrap_err();
        assert!(
            error.starts_with(
                "port in DATABASE_URL is not valid: it must be a number from 1 to 65535"
            ),
            "{error}"
        );
    }
}

#[test]
fn values_that_a_parameter_cannot_have_are_refused_by_its_name() {
    for (url, message) in [
        (
            "postgresql://h?sslmode=verify",
            "sslmode in DATABASE_URL is not valid: it must be one of disable, prefer, require, verify-ca, verify-full",
        ),
        (
            "postgresql://h?connect_timeout=soon",
            "connect_timeout in DATABASE_URL is not valid: it must be a whole number of seconds",
        ),
    ] {
        assert_eq!(of_url(url).unwrap_err(), message);
    }
    for forever in ["0", "-5"] {
        let url = format!("postgresql://h?connect_timeout={forever}");
        assert_eq!(
            of_url(&url).unwrap().connect_timeout,
            None,
            "libpq waits for ever"
        );
    }
    let variable = config(&[("PGHOST", "h"), ("PGSSLMODE", "on")], &[]).unwrap_err();
    assert!(variable.starts_with("PGSSLMODE is not valid"), "{variable}");
    let placeholder = config(&[("PGHOST", "h"), ("PGPASSWORD", "<password>")], &[]).unwrap_err();
    assert!(
        placeholder.starts_with("PGPASSWORD is still the placeholder <password>"),
        "{placeholder}"
    );
    let brackets = config(&[("PGHOST", "h"), ("PGPASSWORD", "<a>b")], &[]).unwrap();
    assert_eq!(
        brackets.password,
        Some(Password::new("<a>b")),
        "a real password with angle brackets"
    );
}

#[test]
fn variables_that_would_ask_for_more_than_all_drivers_can_give_are_refused() {
    let error = config(&[("PGHOST", "h"), ("PGCHANNELBINDING", "require")], &[]).unwrap_err();
    assert!(error.starts_with("PGCHANNELBINDING is set"), "{error}");
}

/// Any text that a parameter can hold.
fn text() -> impl Strategy<Value = String> {
    "[^\0]{1,20}"
}

fn any_config() -> impl Strategy<Value = Config> {
    let name = prop_oneof![
        "[a-z0-9.-]{1,12}",
        "[a-f0-9]{1,4}:(:[a-f0-9]{1,4}){1,3}",
        "/[^\0,]{1,12}"
    ];
    let host = (name, 1..=u16::MAX).prop_map(|(name, port)| Host {
        name: name.trim().to_owned(),
        port,
    });
    // "system" is a word of its own there.
    let path = || "[^\0s][^\0]{0,19}".prop_map(PathBuf::from);
    let strings = (
        text(),
        option::of(text().prop_map(Password::new)),
        text(),
        option::of(text()),
        text(),
    );
    let files = (option::of(path()), option::of(path()), option::of(path()));
    let mode = prop::sample::select(&SslMode::ALL[..]);
    let timeout = option::of((1..=i32::MAX as u64).prop_map(Duration::from_secs));
    (vec(host, 1..4), strings, files, mode, timeout).prop_map(
        |(hosts, strings, files, sslmode, connect_timeout)| {
            let (user, password, dbname, options, application_name) = strings;
            let (root, sslcert, sslkey) = files;
            let sslrootcert = root.map(RootCert::File);
            Config {
                hosts,
                user,
                password,
                dbname,
                sslmode,
                sslrootcert,
                sslcert,
                sslkey,
                options,
                application_name,
                connect_timeout,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(config in any_config()) {
        let read = Settings::of_url(&config.to_url(), None, &Environment::default()).and_then(Settings::settle);
        prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(config));
    }

    #[test]
    fn no_input_panics(url in "(postgres(ql)?://)?[a-z0-9@:/?&=%,<>\\[\\] ]{0,60}|\\PC{0,60}") {
        let _ = of_url(&url);
    }

    #[test]
    fn the_password_shows_in_nothing_that_is_printed(mut config in any_config(), password in "[A-Z]{12}[^\0]{0,8}") {
        config.password = Some(Password::new(password.clone()));
        // A password that stands in another place as well is no secret.
        let others = format!("{config}");
        prop_assume!(!others.contains(&password[..12]));
        for shown in [config.to_string(), format!("{config:?}"), format!("{config:#?}"), format!("{:?}", config.password)] {
            prop_assert!(!shown.contains(&password[..12]), "{}", shown);
            prop_assert!(shown.contains("***"), "{}", shown);
        }
    }

    #[test]
    fn the_password_shows_in_no_error(
        password in "[A-Z]{12}[^\0]{0,8}",
        broken in prop::sample::select(&["postgresql://u:P@h:x/d", "postgresql://u:P@h?a=b", "postgresql://u:P@h?sslmode=P&b",
            "postgresql://u:P@[::1/d", "postgresql://u:P%@h", "postgresql://u:P@h?=", "postgresql://u:P@h,i:1,j:2,k?port=1,2"][..]),
        encode: bool,
    ) {
        let written = if encode { crate::url::encode(&password) } else { password.clone() };
        if let Err(error) = of_url(&broken.replace('P', &written)) {
            prop_assert!(!error.contains(&password[..12]), "{}", error);
        }
    }
}
