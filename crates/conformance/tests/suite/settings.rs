//! What a person sees when the settings cannot be used: the same words, whichever driver reads them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crdb_conformance::sample::{assert_refused, assert_url_refused};
use crdb_local_cluster::{Authority, Validity};
use openssl::pkey::PKey;
use openssl::symm::Cipher;

#[test]
fn settings_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (
            "postgresql://demo:<password>@localhost/",
            "password is still the placeholder <password>\n\
             Put your own value there, in .env or in the environment.",
        ),
        (
            "postgresql://demo@localhost/?sslrootcert=<certs_dir>/ca.crt",
            "sslrootcert is still the placeholder <certs_dir>/ca.crt\n\
             Put your own value there, in .env or in the environment.",
        ),
        (
            "host=localhost user=demo",
            "DATABASE_URL must begin with postgresql:// or postgres://\n\
             Keyword/value strings (host=… user=…) are not understood; set PGHOST, PGUSER and so on instead.",
        ),
        (
            "postgresql://demo@localhost/?channel_binding=require",
            "the parameter channel_binding in DATABASE_URL is not supported: not all three drivers can honour it\n\
             Remove it, or use libpq itself. Understood are: host, port, user, password, dbname, sslmode, \
             sslrootcert, sslcert, sslkey, options, application_name, connect_timeout.",
        ),
        (
            "postgresql://demo@localhost/?sslmod=require",
            "unknown parameter sslmod in DATABASE_URL\n\
             Understood are: host, port, user, password, dbname, sslmode, sslrootcert, sslcert, sslkey, options, \
             application_name, connect_timeout.",
        ),
        (
            "postgresql://demo:S3cr@t@localhost/",
            "DATABASE_URL has an \"@\" in its host or database\n\
             In a user name or password, write @ as %40, : as %3A, / as %2F and % as %25.",
        ),
        (
            "postgresql://demo:S3c/ret@localhost/",
            "DATABASE_URL has an \"@\" in its host or database\n\
             In a user name or password, write @ as %40, : as %3A, / as %2F and % as %25.",
        ),
        (
            "postgresql://demo:S3c%ret@localhost/",
            "DATABASE_URL: password contains a \"%\" that two hexadecimal digits do not follow (a plain % is \
             written %25)",
        ),
        (
            "postgresql://demo@localhost/?sslmode=allow",
            "sslmode in DATABASE_URL is not valid: allow would send everything in clear text wherever the server \
             lets it; choose one of disable, prefer, require, verify-ca, verify-full",
        ),
        (
            "postgresql://demo@localhost/?sslmode=require&sslrootcert=system",
            "sslmode=require cannot be used with the operating system's certificates\n\
             Anybody can get a certificate from the authorities there, so the host name must be checked as well: \
             use sslmode=verify-full, or name your cluster's ca.crt with sslrootcert.",
        ),
    ];
    for (url, message) in cases {
        assert_url_refused(directory.path(), url, message);
    }
    assert_refused(
        directory.path(),
        &[
            ("DATABASE_URL", "postgresql://demo@localhost/"),
            ("PGCHANNELBINDING", "require"),
        ],
        "PGCHANNELBINDING is set, and not all three drivers can honour it\n\
         Unset it to connect without it.",
    );
}

#[test]
fn a_malformed_dotenv_is_told_with_its_line_and_without_its_text() {
    let directory = tempfile::tempdir().unwrap();
    let dotenv = fs::canonicalize(directory.path()).unwrap().join(".env");
    fs::write(
        &dotenv,
        "# mine\nPGHOST=localhost\nDATABASE_URL=postgresql://demo:S3cret pass@localhost/\n",
    )
    .unwrap();
    let message = format!(
        "{}, line 3: this is not NAME=value\n\
         Put a value with spaces, quotes or a $ into single quotes.",
        dotenv.display()
    );
    assert_refused(directory.path(), &[], &message);
}

#[test]
fn certificate_files_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let authority = Authority::new("test").unwrap();
    authority.write(&directory.path().join("ca.crt")).unwrap();
    for file in ["client", "other", "open", "locked"] {
        authority
            .issue(directory.path(), file, "demo", &[], Validity::Now)
            .unwrap();
    }
    fs::set_permissions(at("open.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let key = PKey::private_key_from_pem(&fs::read(at("locked.key")).unwrap()).unwrap();
    let locked = key
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"pass phrase")
        .unwrap();
    fs::write(at("locked.key"), locked).unwrap();
    fs::write(at("no.pem"), "nothing").unwrap();

    let advice = "Download your cluster's ca.crt and name its place with sslrootcert.";
    let roots = [
        ("missing.crt", format!("there is no such file\n{advice}")),
        (
            "no.pem",
            format!("it holds no PEM certificate (-----BEGIN CERTIFICATE-----)\n{advice}"),
        ),
        (
            "",
            format!("it cannot be read: Is a directory (os error 21)\n{advice}"),
        ),
    ];
    for sslmode in ["prefer", "require", "verify-ca", "verify-full"] {
        for (file, problem) in &roots {
            let url = format!(
                "postgresql://demo@localhost/?sslmode={sslmode}&sslrootcert={}",
                at(file)
            );
            assert_url_refused(
                directory.path(),
                &url,
                &format!("the root certificate {}: {problem}", at(file)),
            );
        }
    }
    let keys = [
        ("missing.key", "there is no such file".to_owned()),
        (
            "open.key",
            format!(
                "others can read it\nMake it private: chmod 600 {}",
                at("open.key")
            ),
        ),
        (
            "locked.key",
            "it is encrypted with a pass phrase, which is not supported\n\
             Decrypt it: openssl pkey -in KEY -out NEW_KEY"
                .to_owned(),
        ),
        (
            "other.key",
            format!("it is not the key of {}", at("client.crt")),
        ),
    ];
    for (key, problem) in keys {
        let url = format!(
            "postgresql://demo@localhost/?sslrootcert={}&sslcert={}&sslkey={}",
            at("ca.crt"),
            at("client.crt"),
            at(key)
        );
        let message = format!("the client certificate's key {}: {problem}", at(key));
        assert_url_refused(directory.path(), &url, &message);
    }
}
