//! What a connection string may contain, and the string for each driver.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use crdb_local_cluster::Authority;
use proptest::prelude::*;

use crate::database_url::DatabaseUrl;
use crate::settings::SETTINGS;

/// Reads a string with these variables.
fn read(url: &str, variables: &[(&str, &str)]) -> Result<DatabaseUrl, String> {
    let variables = variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    DatabaseUrl::read(url, &variables.collect()).map_err(|error| error.to_string())
}

/// Returns the strings for rust-postgres, libpq and sqlx, without the parameters that all rows share.
fn rendered(url: &str) -> [String; 3] {
    let url = read(url, &[("PGAPPNAME", "a")]).unwrap();
    let (rust_postgres, _) = url.for_rust_postgres().unwrap();
    let sqlx = url.for_sqlx().unwrap_or_else(|error| error.to_string());
    let waits = "&connect_timeout=10&keepalives_idle=30&keepalives_interval=10";
    [rust_postgres, url.for_libpq(), sqlx]
        .map(|text| text.replace("application_name=a&", "").replace(waits, ""))
}

#[test]
fn each_driver_gets_the_location_as_it_is_written_and_tls_in_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("ca.crt");
    Authority::new("test").unwrap().write(&root).unwrap();
    let root = root.to_str().unwrap();
    let with_root = format!("verify-full&sslrootcert={}", root.replace('/', "%2F"));
    let one_host = "sqlx, which SeaORM uses too, takes one host, and the connection string has several\n\
                    Write the name of a load balancer, or one of the hosts, or change the host with the \
                    recipe first_host (examples/sqlx/README.md).";
    let at = "postgresql://maxroach:p%40ss@db.example:26257/bank?";
    let address = "postgresql://maxroach@[::1]:26257/defaultdb?options=-c%20a%3Db%2Bc&";
    let two = "postgresql://maxroach:a%3Ab@one:26257,two:7/defaultdb?";
    // What follows `sslmode=` for rust-postgres, libpq and sqlx.
    let disable = ["disable"; 3];
    for (url, begin, sslmode) in [
        (
            format!("{at}sslmode=verify-full&sslrootcert={root}"),
            at,
            ["require", &with_root, &with_root],
        ),
        (
            format!("{at}sslmode=require&sslrootcert=system"),
            at,
            ["require", "verify-full&sslrootcert=system", "verify-full"],
        ),
        (
            format!("{at}sslmode=disable&sslrootcert=/no/such/file"),
            at,
            disable,
        ),
        (
            "  postgres://maxroach@[::1]?sslmode=disable&options=-c%20a%3Db+c\n".to_owned(),
            address,
            ["disable", "disable", "disable&host=%3A%3A1"],
        ),
        (
            "postgresql://maxroach:a:b@one,two:7/?sslmode=disable".to_owned(),
            two,
            disable,
        ),
    ] {
        let limits = ["&tcp_user_timeout=30", "&tcp_user_timeout=30000", ""];
        let mut expected = [0, 1, 2].map(|n| format!("{begin}sslmode={}{}", sslmode[n], limits[n]));
        if begin == two {
            expected[2] = one_host.to_owned();
        }
        assert_eq!(rendered(&url), expected, "{url}");
    }
}

#[test]
fn the_url_wins_over_variables_and_variables_over_defaults() {
    let variables = [
        ("PGHOST", "variable"),
        ("PGPORT", "1"),
        ("PGUSER", "v@"),
        ("PGPASSWORD", "p/w"),
        ("PGDATABASE", "d/b"),
        ("PGSSLMODE", "disable"),
        ("PGOPTIONS", "-c a=b"),
        ("PGAPPNAME", "my app"),
        ("PGCONNECT_TIMEOUT", "3"),
    ];
    let keepalives = "keepalives_idle=30&keepalives_interval=10&tcp_user_timeout=30000";
    let by_variables = read("postgresql://", &variables).unwrap();
    assert_eq!(
        by_variables.for_libpq(),
        format!(
            "postgresql://v%40:p%2Fw@variable:1/d%2Fb?application_name=my%20app&options=-c%20a%3Db\
             &sslmode=disable&connect_timeout=3&{keepalives}"
        )
    );
    assert_eq!(by_variables.connect_timeout(), Duration::from_secs(3));
    let url = "postgresql://u:p@url:2,two:3/u?application_name=u&options=x&sslmode=disable&connect_timeout=4";
    let by_url = read(url, &variables).unwrap();
    assert_eq!(by_url.for_libpq(), format!("{url}&{keepalives}"));
    assert_eq!(
        by_url.connect_timeout(),
        Duration::from_secs(8),
        "for two hosts"
    );
    assert_eq!(format!("{by_url:?}"), "DatabaseUrl(url:2,two:3)");
    // An empty value counts as not set.
    let empty = "postgresql://u:@url/?application_name=u&connect_timeout=&options=&sslmode=";
    let empty = read(empty, &variables).unwrap().for_libpq();
    assert!(
        empty.starts_with("postgresql://u:p%2Fw@url:1/d%2Fb?"),
        "{empty}"
    );
    assert!(
        empty.contains("&options=-c%20a%3Db&sslmode=disable&"),
        "{empty}"
    );
}

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----";

/// A string that is refused, its variables, and the beginning of the message.
type Mistake<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn a_mistake_is_refused_with_what_to_do() {
    let encode = "the connection string is not percent-encoded\nIn a user name and a password, write @ as %40";
    let host = "a host is missing, or is neither a name nor an address\nWrite postgresql://";
    let port = "a port is not a number from 1 to 65535; CockroachDB's is 26257\n";
    let long = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC".repeat(4);
    let here = std::env::current_dir().unwrap();
    let missing = format!(
        "sslrootcert: there is no file {}/certs/ca.crt\nStore the file there, or correct the name.",
        here.display()
    );
    #[rustfmt::skip]
    let mistakes: &[Mistake] = &[
        ("'postgresql://u@h/'", &[], "DATABASE_URL begins with a quote\nRemove the quotes"),
        ("host=h user=u", &[], "DATABASE_URL does not begin with postgresql:// or postgres://"),
        ("mysql://u@h/", &[], "DATABASE_URL does not begin with"),
        ("cockroach sql --url 'postgresql://u@h/'", &[], "DATABASE_URL does not begin with"),
        ("postgresql://u:<password>@h/", &[], "a placeholder such as <password> is left\nPut"),
        ("postgresql://u@h/?sslrootcert=<certs_dir>/ca.crt", &[], "a placeholder such as"),
        ("postgresql://u:p@ss@h/", &[], encode),
        ("postgresql://u:p/ss@h/", &[], encode),
        ("postgresql://u:p?ss@h/", &[], encode),
        ("postgresql://u:p#ss@h/", &[], encode),
        ("postgresql://u:p ss@h/", &[], encode),
        ("postgresql://u:p%ss@h/", &[], encode),
        ("postgresql://u:p%4", &[], encode),
        ("postgresql://u:p@h//db", &[], encode),
        ("postgresql://u:p%FF@h/", &[], "the connection string is not UTF-8 text"),
        ("postgresql://u:p%+5@h/", &[], encode),
        ("postgresql://u:p%00@h/", &[], encode),
        ("postgresql://u:p\"ss@h/", &[], encode),
        ("postgresql://u:p@h\nx/", &[], encode),
        ("postgresql://u:p@/db", &[], host),
        ("postgresql://u:p@:26257/db", &[], host),
        ("postgresql://u:p@h,/db", &[], host),
        ("postgresql://u:p@::1/db", &[], host),
        ("postgresql://u:p@%2Ftmp/db", &[], host),
        ("postgresql://", &[("PGHOST", "/tmp"), ("PGUSER", "u")], host),
        ("postgresql://u:p@h:x/", &[], port),
        ("postgresql://u:p@h:0/", &[], port),
        ("postgresql://u:p/ss", &[("PGUSER", "u")], port),
        ("postgresql://u@h/", &[("PGPORT", "x")], port),
        ("postgresql://h:26257/db", &[], "there is no user\nWrite postgresql://USER"),
        ("postgresql://u@h/?sslmode=prefer", &[], "sslmode is not disable, require, verify-ca or"),
        ("postgresql://u@h/?sslmode=Verify-Full", &[], "sslmode is not disable, require,"),
        ("postgresql://u@h/", &[("PGSSLMODE", "allow")], "sslmode is not disable, require,"),
        ("postgresql://u:p@h/?channel_binding=require", &[], "the parameter channel_binding is not"),
        ("postgresql://u:p@h/?SSLMODE=require", &[], "the parameter SSLMODE is not supported\nRemove"),
        ("postgresql://u:p@h/?statement_timeout=1s", &[],
         "the parameter statement_timeout is not supported\nRemove it, or write it in options if it is a setting of the session: options=-c%20NAME%3DVALUE."),
        ("postgresql://u:p@h/?sslmode", &[], "a parameter has no \"=\"\nWrite"),
        ("postgresql://u@h/?sslmode=verify-full&sslmode=disable", &[], "the parameter sslmode is given"),
        ("postgresql://u@h/?load_balance_hosts=prefer", &[], "load_balance_hosts is not disable or"),
        ("postgresql://u@h/?connect_timeout=0", &[], "connect_timeout is not a whole number of"),
        ("postgresql://u@h/?connect_timeout=ten", &[], "connect_timeout is not a whole number of"),
        ("postgresql://u@h/?sslrootcert=certs/ca.crt", &[], &missing),
        ("postgresql://u@h/?sslrootcert=/tmp", &[], "sslrootcert: there is no file /tmp"),
        ("postgresql://u@h/?sslcert=/etc/passwd", &[], "sslcert and sslkey go together\nName both"),
        ("postgresql://u@h/", &[("PGSSLKEY", KEY), ("PGSSLCERT", "x")], "sslcert: there is no file"),
        ("postgresql://u@h/", &[("PGSSLCERT", "/etc/passwd"), ("PGSSLKEY", KEY)], "sslkey is no file, but perhaps the text"),
        ("postgresql://u@h/", &[("PGSSLROOTCERT", &long)], "sslrootcert is no file, but perhaps"),
    ];
    for (url, variables, message) in mistakes {
        let error = read(url, variables).err().unwrap_or_default();
        assert!(error.starts_with(message), "{url:?}: {error:?}");
        assert!(!error.contains("MII") && !error.contains("BEGIN"));
    }
}

#[test]
fn user_and_password_can_be_parameters_as_for_libpq() {
    let url = "postgresql://h/db?user=de%40mo&password=p%2Fw&sslmode=disable&application_name=a";
    let text = read(url, &[("PGUSER", "other")]).unwrap().for_libpq();
    let expected = "postgresql://de%40mo:p%2Fw@h:26257/db?application_name=a&sslmode=disable&";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(text.matches("p%2Fw").count(), 1, "{text}");
}

#[test]
fn each_host_is_tried_in_the_order_of_the_list_or_in_a_random_one() {
    let list = "postgresql://u@a:1,b:2,c:3/?sslmode=disable";
    let hosts = |url: &str| {
        let url = read(url, &[]).unwrap();
        let hosts = url.each_host().map(|one| format!("{one:?}"));
        hosts.collect::<Vec<_>>().join(" ")
    };
    let in_order = "DatabaseUrl(a:1) DatabaseUrl(b:2) DatabaseUrl(c:3)";
    assert_eq!(hosts(list), in_order);
    let random = format!("{list}&load_balance_hosts=random");
    let orders: HashSet<String> = (0..200).map(|_| hosts(&random)).collect();
    assert_eq!(orders.len(), 6, "all orders");
}

#[test]
fn the_connector_is_built_once_for_a_value_and_its_clones_unless_it_could_not_be_built() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("ca.crt");
    fs::write(&root, "no certificate").unwrap();
    let text = format!("postgresql://u@h/?sslrootcert={}", root.display());
    let url = read(&text, &[]).unwrap();
    let clone = url.clone();
    url.for_rust_postgres().unwrap_err();
    Authority::new("test").unwrap().write(&root).unwrap();
    url.for_rust_postgres().unwrap();
    fs::write(&root, "no certificate").unwrap();
    clone.for_rust_postgres().unwrap();
    url.each_host().next().unwrap().for_rust_postgres().unwrap();
    url.with("host", "h")
        .unwrap()
        .for_rust_postgres()
        .unwrap_err();
}

#[test]
fn a_setting_can_be_read_and_replaced_in_a_copy_and_the_password_in_all_clones() {
    let url = read("postgresql://u:p@a,[::1]:2/?sslmode=disable", &[]).unwrap();
    let (clone, copy) = (url.clone(), url.with("host", "b").unwrap());
    url.set_password("new/");
    let host = url.each_host().next().unwrap();
    assert_eq!(url.get("host"), "a:26257,[::1]:2");
    assert_eq!((url.get("options"), url.get("no_such")), Default::default());
    for (url, expected) in [
        (clone, "u:new%2F@a:26257,[::1]:2/"),
        (host, "u:new%2F@a:26257/"),
        (copy, "u:p@b:26257/"),
    ] {
        assert!(url.for_libpq().contains(expected), "{}", url.for_libpq());
    }
    url.with("port", "1").unwrap_err();
    url.with("sslmode", "prefer").unwrap_err();
}

#[test]
fn the_env_example_and_the_documentation_have_every_variable() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    for file in [".env.example", "crates/connection/README.md"] {
        let text = fs::read_to_string(format!("{root}/{file}")).unwrap();
        for (_, name, _) in SETTINGS {
            assert!(text.contains(name), "{name} in {file}");
        }
    }
}

proptest! {
    #[test]
    fn no_error_shows_a_piece_of_the_password(
        password in "[A-Z]{6}[@:/?#&=%<>+0-9 \"'\\[\\]{}]{1,3}[A-Z]{6}",
        host in "(db.example|\\[::1\\]|a,b|)(:[0-9]{1,6}|:x|)",
        rest in "(/db|/|)(\\?sslmode=(prefer|disable)|\\?sslkey=/no/file|\\?unknown=1|)",
    ) {
        if let Err(error) = read(&format!("postgresql://demo:{password}@{host}{rest}"), &[]) {
            prop_assert!(!error.contains(&password[..6]), "{}", error);
            prop_assert!(!error.contains(&password[password.len() - 6..]), "{}", error);
        }
    }

    #[test]
    fn no_string_makes_it_panic(url in "(postgres(ql)?://)?[a-z0-9@:/?&=%,<>\\[\\] ]{0,60}|\\PC{0,60}") {
        let _ = read(&url, &[("PGUSER", "demo")]);
    }

    #[test]
    fn a_password_from_a_variable_arrives_unchanged(password in "[^\0]{1,20}") {
        let url = read("postgresql://demo@h/?sslmode=disable", &[("PGPASSWORD", &password)]).unwrap();
        let text = url.for_libpq();
        let (_, rest) = text.split_once("demo:").unwrap();
        let (encoded, _) = rest.split_once('@').unwrap();
        let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap();
        prop_assert_eq!(decoded, password);
    }
}
