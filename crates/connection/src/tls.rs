//! TLS: the files, and the OpenSSL connector for `postgres` and `tokio-postgres`.

use std::env;
use std::fs;
use std::path::{PathBuf, absolute};

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVersion};
use openssl::x509::store::{X509Lookup, X509StoreBuilder};

use crate::explain::{ConnectError, ensure, refuse};
use crate::settings::Settings;

/// The parameters about TLS.
pub(crate) const TLS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// Replaces each mode by `disable` or `verify-full`, and each file by its absolute path. Without a
/// file, `sslrootcert` becomes `system`.
pub(crate) fn check(settings: &mut Settings) -> Result<(), ConnectError> {
    let [sslmode, root, certificate, key] = TLS.map(|name| settings[name].clone());
    if sslmode == "disable" {
        settings.extend(TLS[1..].iter().map(|name| (*name, String::new())));
        return Ok(());
    }
    ensure(
        ["require", "verify-ca", "verify-full"].contains(&sslmode.as_str()),
        "sslmode is not disable, require, verify-ca or verify-full\n\
         Write sslmode=verify-full. No other mode protects the connection.",
    )?;
    let is_pair = certificate.is_empty() == key.is_empty();
    ensure(is_pair, "sslcert and sslkey go together\nName both files.")?;
    let certificate = find_file("sslcert", &certificate)?;
    let key = find_file("sslkey", &key)?;
    // libpq asks for a pass phrase on the terminal.
    let text = fs::read_to_string(&key).unwrap_or_default();
    let advice = "sslkey has a pass phrase\nRemove it: openssl pkey -in KEY -out NEW_KEY";
    ensure(!text.contains("ENCRYPTED"), advice)?;
    let default = in_home(".postgresql/root.crt").filter(|path| path.is_file());
    let root = match (root.as_str(), default) {
        ("", Some(default)) => default.display().to_string(),
        ("" | "system", _) => "system".to_owned(),
        (file, _) => find_file("sslrootcert", file)?,
    };
    settings.extend(
        TLS.into_iter()
            .zip(["verify-full".to_owned(), root, certificate, key]),
    );
    Ok(())
}

/// Builds the connector. This takes some 20 ms: OpenSSL loads the operating system's certificates.
pub(crate) fn connector(settings: &Settings) -> Result<SslConnector, ErrorStack> {
    let [_, root, certificate, key] = TLS.map(|name| settings[name].as_str());
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    // The lowest version that libpq accepts.
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    if !["", "system"].contains(&root) {
        // `set_ca_file` would trust the operating system's certificates too.
        let mut store = X509StoreBuilder::new()?;
        store
            .add_lookup(X509Lookup::file())?
            .load_cert_file(root, SslFiletype::PEM)?;
        builder.set_cert_store(store.build());
    }
    if !certificate.is_empty() {
        builder.set_certificate_chain_file(certificate)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
        builder.check_private_key()?;
    }
    Ok(builder.build())
}

/// Returns the absolute path of a file, or nothing if there is no value.
fn find_file(name: &str, value: &str) -> Result<String, ConnectError> {
    if value.is_empty() {
        return Ok(String::new());
    }
    let below_home = value.strip_prefix("~/").or(value.strip_prefix("$HOME/"));
    let path = below_home.and_then(in_home).or(absolute(value).ok());
    let path = path.unwrap_or_default();
    let shown = path.display().to_string();
    if path.is_file() {
        return Ok(shown);
    }
    // A value that may be a key, perhaps in base64, is not shown.
    let may_be_base64 = name == "sslkey" && !value.contains('.') || value.len() > 150;
    if may_be_base64 || value.contains("-----BEGIN") || value.contains('\n') {
        return refuse(&format!(
            "{name} is no file, but perhaps the text of one\nStore the text in a file, and name the file."
        ));
    }
    refuse(&format!(
        "{name}: there is no file {shown}\nStore the file there, or correct the name."
    ))
}

fn in_home(path: &str) -> Option<PathBuf> {
    let home = env::home_dir().filter(|home| home.is_absolute())?;
    Some(home.join(path))
}
