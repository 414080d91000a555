//! The grammar of the URL. The cases are those of PostgreSQL's own tests of libpq's URIs, and those
//! where this crate is narrower.

use crate::parameters::Parameters;
use crate::url::parse;

/// Returns the parameters as `name=value` in the order of their names, or the error's first line.
fn read(url: &str) -> String {
    let show = |parameters: Parameters| {
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join(" ")
    };
    match parse(url) {
        Ok(parameters) => show(parameters),
        Err(error) => format!(
            "error: {}",
            error.to_string().lines().next().unwrap_or_default()
        ),
    }
}

#[test]
fn the_grammar_is_that_of_libpq() {
    let all = "dbname=db host=host password=secret port=12345 user=uri-user";
    let cases = [
        ("postgresql://uri-user:secret@host:12345/db", all),
        (
            "postgresql://uri-user@host:12345/db",
            "dbname=db host=host port=12345 user=uri-user",
        ),
        (
            "postgresql://uri-user@host/db",
            "dbname=db host=host user=uri-user",
        ),
        (
            "postgresql://host:12345/db",
            "dbname=db host=host port=12345",
        ),
        (
            "postgresql://uri-user@host:12345/",
            "host=host port=12345 user=uri-user",
        ),
        ("postgresql://uri-user@host/", "host=host user=uri-user"),
        ("postgresql://uri-user@", "user=uri-user"),
        ("postgresql://host:12345/", "host=host port=12345"),
        ("postgresql://host:12345", "host=host port=12345"),
        ("postgresql://host/db", "dbname=db host=host"),
        ("postgresql://host/", "host=host"),
        ("postgresql://host", "host=host"),
        ("postgresql://", ""),
        ("postgres://", ""),
        ("postgres:///", ""),
        ("postgres:///db", "dbname=db"),
        ("postgres://uri-user@/db", "dbname=db user=uri-user"),
        ("postgres://@host", "host=host"),
        ("postgres://host:/", "host=host"),
        ("postgres://:12345/", "port=12345"),
        ("postgresql://%68ost/", "host=host"),
        (
            "postgresql://host/db?user=uri-user",
            "dbname=db host=host user=uri-user",
        ),
        (
            "postgresql://host/db?user=uri-user&port=12345",
            "dbname=db host=host port=12345 user=uri-user",
        ),
        (
            "postgresql://host/db?u%73er=someotheruser&port=12345",
            "dbname=db host=host port=12345 user=someotheruser",
        ),
        (
            "postgresql://host:12345?user=uri-user",
            "host=host port=12345 user=uri-user",
        ),
        ("postgresql://host?user=uri-user", "host=host user=uri-user"),
        (
            "postgresql://host?  user = uri-user & port  = 12345 ",
            "host=host port=12345 user=uri-user",
        ),
        ("postgresql://host?", "host=host"),
        ("postgresql://host?user=a&user=b", "host=host user=b"),
        (
            "postgresql://a?host=b&port=1&dbname=c",
            "dbname=c host=b port=1",
        ),
        ("postgresql://host?options=", "host=host options="),
        (
            "postgresql://[::1]:12345/db",
            "dbname=db host=::1 port=12345",
        ),
        ("postgresql://[::1]/db", "dbname=db host=::1"),
        ("postgresql://[2001:db8::1234]/", "host=2001:db8::1234"),
        ("postgresql://[200z:db8::1234]/", "host=200z:db8::1234"),
        ("postgresql://[::1]", "host=::1"),
        ("postgresql://a,b/db", "dbname=db host=a,b port=,"),
        ("postgresql://u:,@h", "host=h password=, user=u"),
        ("postgresql://,", "host=, port=,"),
        (
            "postgresql://[fe80::1%25eth0]:1",
            "host=fe80::1%eth0 port=1",
        ),
        ("postgresql://a:1,b:2/db", "dbname=db host=a,b port=1,2"),
        ("postgresql://a:1,[::2],c:3", "host=a,::2,c port=1,,3"),
        (
            "postgres://?host=/path/to/socket/dir",
            "host=/path/to/socket/dir",
        ),
        (
            "postgres://otheruser@/?host=/no/such/directory",
            "host=/no/such/directory user=otheruser",
        ),
        (
            "postgres://otheruser@:12345/db?host=/s",
            "dbname=db host=/s port=12345 user=otheruser",
        ),
        (
            "postgres://%2Fvar%2Flib%2Fpostgresql/dbname",
            "dbname=dbname host=/var/lib/postgresql",
        ),
        (
            "postgres://u:a%40b%3A%2F%25%20c@h",
            "host=h password=a@b:/% c user=u",
        ),
        ("postgres://u:a?b#c:d@h", "host=h password=a?b#c:d user=u"),
        ("postgres://h?ssl=true", "host=h sslmode=require"),
        (
            "postgres://h/d?options=--cluster%3Dmy-cluster-1",
            "dbname=d host=h options=--cluster=my-cluster-1",
        ),
    ];
    for (url, expected) in cases {
        assert_eq!(read(url), expected, "{url}");
    }
}

#[test]
fn what_libpq_refuses_is_refused_with_the_place_named() {
    let cases = [
        (
            "postgre://",
            "error: DATABASE_URL must begin with postgresql:// or postgres://",
        ),
        (
            "POSTGRES://host",
            "error: DATABASE_URL must begin with postgresql:// or postgres://",
        ),
        (
            "postgresql://host/db?u%7aer=someotheruser&port=12345",
            "error: the parameter uzer in DATABASE_URL is not supported",
        ),
        (
            "postgresql://host?uzer=",
            "error: the parameter uzer in DATABASE_URL is not supported",
        ),
        (
            "postgres://[::1",
            "error: the IPv6 address in DATABASE_URL has no closing \"]\"; it is written [::1]:26257",
        ),
        (
            "postgres://[]",
            "error: the IPv6 address in DATABASE_URL is empty; it is written [::1]:26257",
        ),
        (
            "postgres://[::1]z",
            "error: the IPv6 address in DATABASE_URL is followed by something that is neither \":\" nor \"/\"; \
             it is written [::1]:26257",
        ),
        (
            "postgresql://host?zzz",
            "error: DATABASE_URL has a query parameter without \"=\"; parameters are written \
             ?name=value&name=value",
        ),
        (
            "postgresql://host?value1&value2",
            "error: DATABASE_URL has a query parameter without \"=\"; parameters are written \
             ?name=value&name=value",
        ),
        (
            "postgresql://host?key=key=value",
            "error: DATABASE_URL has more than one \"=\" in the parameter key; within a value, write = as %3D",
        ),
        (
            "postgres://host?dbname=%XXfoo",
            "error: DATABASE_URL: dbname contains a \"%\" that two hexadecimal digits do not follow (a plain % is \
             written %25)",
        ),
        (
            "postgresql://a%00b",
            "error: DATABASE_URL: host contains %00, which no parameter can hold",
        ),
        (
            "postgresql://%zz",
            "error: DATABASE_URL: host contains a \"%\" that two hexadecimal digits do not follow (a plain % is \
             written %25)",
        ),
        (
            "postgresql://u:%1@h",
            "error: DATABASE_URL: password contains a \"%\" that two hexadecimal digits do not follow (a plain % \
             is written %25)",
        ),
        (
            "postgresql://h/%",
            "error: DATABASE_URL: dbname contains a \"%\" that two hexadecimal digits do not follow (a plain % is \
             written %25)",
        ),
        (
            "postgresql://host?  user user  =  uri  & port = 12345 12 ",
            "error: DATABASE_URL: a parameter's name contains a space, to be written %20",
        ),
        (
            "postgresql://host?  user  =  uri-user  & port = 12345 12 ",
            "error: DATABASE_URL: port contains a space, to be written %20",
        ),
        (
            "postgresql://u:%ff@h",
            "error: DATABASE_URL: password contains bytes that are not UTF-8",
        ),
    ];
    for (url, expected) in cases {
        assert_eq!(read(url), expected, "{url}");
    }
}

#[test]
fn urls_that_only_libpq_accepts_are_refused_with_the_reason() {
    let at = "error: DATABASE_URL has an \"@\" that is not percent-encoded";
    for (url, expected) in [
        ("postgresql://u:p@ss@h/d", at),
        ("postgresql://u:p@s/s@h/d", at),
        ("postgresql://u:p/ss@h/d", at),
        ("postgresql://demo:S3c<ret>/x@h/d", at),
        ("postgresql://demo:pw?S3cret=et/x@h", at),
        ("postgresql://demo:12?options=S3cret/x@h", at),
        ("postgresql://h/d?application_name=a@b", at),
        (
            "postgresql://?hostaddr=127.0.0.1",
            "error: the parameter hostaddr in DATABASE_URL is not supported",
        ),
    ] {
        assert_eq!(read(url), expected, "{url}");
    }
}
