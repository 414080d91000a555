//! The sources of settings, and the values that are valid.

use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::config::{Config, Host, Password, RootCert, SslMode};
use crate::environment::Environment;
use crate::parameters::PARAMETERS;
use crate::settings::resolve;

fn config(process: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Result<Config, String> {
    let mut environment = Environment::default();
    for (name, value) in process {
        environment.add(name, value.to_string(), None);
    }
    for (name, value) in dotenv {
        environment.add(name, value.to_string(), Some("/project".into()));
    }
    Config::from_environment(&environment).map_err(|error| error.to_string())
}

fn of_url(url: &str) -> Result<Config, String> {
    config(&[("DATABASE_URL", url), ("PGUSER", "demo")], &[])
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
fn pghost_replaces_database_url_and_without_both_there_is_an_error() {
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
        hosts("postgresql://[fe80::1%25eth0]:1").unwrap(),
        "[fe80::1%eth0]:1"
    );
    let variables = [("DATABASE_URL", "postgresql://a,b"), ("PGPORT", "5")];
    let ports = config(&variables, &[]).unwrap().hosts;
    assert_eq!(
        (ports[0].port, ports[1].port),
        (26257, 26257),
        "psql does not use PGPORT either"
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
            "sslmode in DATABASE_URL is not valid: it must be one of disable, require, verify-ca, verify-full",
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
fn variables_that_not_every_driver_honours_are_refused_unless_they_change_nothing() {
    for (variable, value, refused) in [
        ("PGCHANNELBINDING", "require", true),
        ("PGCHANNELBINDING", "prefer", false),
        ("PGGSSENCMODE", "require", true),
        ("PGGSSENCMODE", "disable", false),
        ("PGTARGETSESSIONATTRS", "read-write", true),
        ("PGTARGETSESSIONATTRS", "any", false),
        ("PGGEQO", "off", true),
        ("PGDATESTYLE", "German", true),
        ("PGTZ", "UTC", true),
        ("PGSSLSNI", "0", true),
        ("PGSSLSNI", "1", false),
    ] {
        let result = config(&[("PGHOST", "h"), (variable, value)], &[]).map(|_| ());
        let message = format!(
            "{variable} is set, and not every driver can honour it\nUnset it to connect without it."
        );
        assert_eq!(
            result,
            if refused { Err(message) } else { Ok(()) },
            "{variable}={value}"
        );
    }
}

#[test]
fn a_host_of_the_process_wins_over_a_url_in_dotenv() {
    let url = ("DATABASE_URL", "postgresql://dotenv:1/?sslmode=require");
    let process = [("PGHOST", "process"), ("PGSSLMODE", "verify-full")];
    let config = config(&process, &[url, ("PGUSER", "dotenv")]).unwrap();
    assert_eq!(config.hosts[0].to_string(), "process:26257");
    assert_eq!(
        (config.sslmode, config.user.as_str()),
        (SslMode::VerifyFull, "dotenv")
    );
}

#[test]
fn modes_that_do_not_protect_and_unix_sockets_are_refused_with_what_to_write_instead() {
    for mode in ["prefer", "allow"] {
        let error = of_url(&format!("postgresql://h?sslmode={mode}")).unwrap_err();
        let expected = format!("sslmode in DATABASE_URL is not valid: {mode} does not protect");
        assert!(error.starts_with(&expected), "{error}");
        assert!(
            error.ends_with(
                "Write sslmode=verify-full or require to encrypt it, or disable not to."
            )
        );
    }
    for url in [
        "postgresql://%2Frun%2Fdb/d",
        "postgresql://?host=/run/db",
        "postgresql://a,%40abstract",
    ] {
        let error = of_url(url).unwrap_err();
        assert!(
            error.starts_with("host in DATABASE_URL is the directory of a Unix socket"),
            "{error}"
        );
        assert!(error.contains("localhost"), "{error}");
    }
    let error = config(&[("PGHOST", "/tmp")], &[]).unwrap_err();
    assert!(
        error.starts_with("PGHOST is the directory of a Unix socket"),
        "{error}"
    );
}

#[test]
fn settings_that_cannot_be_used_are_refused_with_what_to_do() {
    for (url, message) in [
        (
            "postgresql://demo:<password>@h/",
            "password is still the placeholder <password>\n\
             Put your own value there, in .env or in the environment.",
        ),
        (
            "postgresql://demo@h/?sslrootcert=<certs_dir>/ca.crt",
            "sslrootcert is still the placeholder <certs_dir>/ca.crt\n\
             Put your own value there, in .env or in the environment.",
        ),
        (
            "host=localhost user=demo",
            "DATABASE_URL must begin with postgresql:// or postgres://\n\
             Keyword/value strings (host=… user=…) are not supported; set PGHOST, PGUSER and so on instead.",
        ),
        (
            "postgresql://h/?channel_binding=require",
            "the parameter channel_binding in DATABASE_URL is not supported\n\
             Supported are: host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey, options, \
             application_name, connect_timeout, load_balance_hosts.",
        ),
        (
            "postgresql://demo:S3c/ret@h/",
            "DATABASE_URL has an \"@\" that is not percent-encoded\n\
             In a user name, a password and a parameter write @ as %40, : as %3A, / as %2F and % as %25.",
        ),
        (
            "postgresql://h/?load_balance_hosts=yes",
            "load_balance_hosts in DATABASE_URL is not valid: it must be disable or random",
        ),
    ] {
        assert_eq!(of_url(url).unwrap_err(), message);
    }
    let port = of_url("postgresql://demo:<S3cret>").unwrap_err();
    assert!(
        port.starts_with("port in DATABASE_URL is not valid"),
        "{port}"
    );
}

#[test]
fn options_are_split_into_names_and_values() {
    let mut config = of_url("postgresql://h").unwrap();
    let mut settings = |options: &str| {
        config.options = Some(options.to_owned());
        let settings = config
            .server_settings()
            .map_err(|error| error.to_string())?;
        let pairs = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        Ok::<_, String>(pairs.collect::<Vec<_>>().join("|"))
    };
    assert_eq!(settings("").unwrap(), "");
    assert_eq!(
        settings("--cluster=a-1  -c b=2 -cc=3=4").unwrap(),
        "cluster=a-1|b=2|c=3=4"
    );
    for other in [
        "-d 5",
        "-c",
        "-c a",
        "--a",
        "text",
        "a=b",
        r"-c search_path=a\ b",
    ] {
        let error = settings(other).unwrap_err();
        assert!(
            error.starts_with("options is not valid"),
            "{other}: {error}"
        );
    }
}

#[test]
fn a_malformed_dotenv_is_reported_by_its_line_and_without_its_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".env");
    let text = "# mine\nPGHOST=localhost\nDATABASE_URL=postgresql://demo:S3cret pass@localhost/\n";
    std::fs::write(&path, text).unwrap();
    let error = Environment::default()
        .read_dotenv(&path)
        .unwrap_err()
        .to_string();
    let expected = format!(
        "{}, line 3: this is not NAME=value\n\
         Put a value with spaces, quotes or a $ into single quotes.",
        path.display()
    );
    assert_eq!(error, expected);
}

#[test]
fn a_timeout_below_a_second_is_not_written_as_for_ever() {
    let mut config = of_url("postgresql://h").unwrap();
    config.connect_timeout = Some(Duration::from_millis(1));
    assert!(config.to_url().ends_with("&connect_timeout=1"));
}

#[test]
fn the_env_example_documents_every_variable_and_no_other() {
    let text = include_str!("../../../.env.example");
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let names = text
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once('='));
    let mut documented: Vec<&str> = names
        .map(|(name, _)| name)
        .filter(|name| is_name(name))
        .collect();
    let mut supported: Vec<&str> = PARAMETERS.iter().map(|(_, variable)| *variable).collect();
    supported.extend(["DATABASE_URL", "COCKROACH"]);
    documented.sort_unstable();
    supported.sort_unstable();
    assert_eq!(documented, supported);
}

/// Any text that a parameter can hold.
fn text() -> impl Strategy<Value = String> {
    "[^\0]{1,20}"
}

const MODES: [SslMode; 4] = [
    SslMode::Disable,
    SslMode::Require,
    SslMode::VerifyCa,
    SslMode::VerifyFull,
];

fn any_config() -> impl Strategy<Value = Config> {
    let name = prop_oneof![
        "[a-z0-9.-]{1,12}",
        "[a-f0-9]{1,4}:(:[a-f0-9]{1,4}){1,3}(%[a-z0-9]{1,4})?"
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
    let mode = prop::sample::select(&MODES[..]);
    let timeout = option::of((1..=i32::MAX as u64).prop_map(Duration::from_secs));
    (
        vec(host, 1..4),
        strings,
        files,
        mode,
        timeout,
        any::<bool>(),
    )
        .prop_map(
            |(hosts, strings, files, sslmode, connect_timeout, load_balance_hosts)| {
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
                    load_balance_hosts,
                }
            },
        )
}

proptest! {
    #[test]
    fn from_url_reads_what_to_url_writes(config in any_config()) {
        let read = resolve(&config.to_url(), None, &Environment::default());
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
            "postgresql://u:P@[::1/d", "postgresql://u:P%@h", "postgresql://u:P/x@h", "postgresql://u:x?P=y/x@h", "postgresql://u:1?options=P/x@h", "postgresql://u:P@h?=", "postgresql://u:P@h,i:1,j:2,k?port=1,2"][..]),
        encode: bool,
    ) {
        let written = if encode { crate::url::encode(&password) } else { password.clone() };
        if let Err(error) = of_url(&broken.replace('P', &written)) {
            prop_assert!(!error.contains(&password[..12]), "{}", error);
        }
    }
}

#[test]
fn the_sslmode_of_the_process_wins_over_a_url_in_dotenv() {
    let url = ("DATABASE_URL", "postgresql://u@h/?sslmode=require");
    let of_process = config(&[("PGSSLMODE", "verify-full")], &[url]).unwrap();
    assert_eq!(of_process.sslmode, SslMode::VerifyFull);
    let of_dotenv = config(&[], &[url, ("PGSSLMODE", "verify-full")]).unwrap();
    assert_eq!(
        of_dotenv.sslmode,
        SslMode::Require,
        "the URL wins in one source"
    );
}

#[test]
fn a_password_and_an_sslmode_in_dotenv_are_not_for_a_server_named_elsewhere() {
    let dotenv = [
        ("PGHOST", "mine.example"),
        ("PGPASSWORD", "S3cret"),
        ("PGSSLMODE", "disable"),
    ];
    for process in [
        ("PGHOST", "other"),
        ("DATABASE_URL", "postgresql://u@other"),
    ] {
        let config = config(&[process], &dotenv).unwrap();
        assert_eq!(config.hosts[0].name, "other");
        assert_eq!(config.password, None, "{process:?}");
        assert_eq!(config.sslmode, SslMode::VerifyFull, "{process:?}");
    }
    let own = config(&[], &dotenv).unwrap();
    assert_eq!(own.password, Some(Password::new("S3cret")));
    assert_eq!(own.sslmode, SslMode::Disable);
}

#[test]
fn a_piece_of_a_password_is_in_no_message_wherever_it_ends_up() {
    for url in [
        "postgresql://h/d?user=demo&password=S3c&S3cret=1",
        "postgresql://h/d?user=demo&password=S3c&S3cret==&x=y",
        "postgresql://h/d?user=demo&password=S3c&S3cret=%zz",
        "postgresql://h/d?user=demo&password=S3c&S3cret=ab<S3cret>",
        "postgresql://h/d?sslpassword=<S3cret>",
        "postgresql://?host=demo:S3cret%40h",
    ] {
        let error = of_url(url).unwrap_err();
        assert!(!error.contains("S3cret"), "{url}: {error}");
    }
    let error = config(&[("PGHOST", "postgresql://demo:S3cret@h:26257/d")], &[]).unwrap_err();
    assert!(!error.contains("S3cret"), "{error}");
}
