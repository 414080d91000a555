//! TLS: the files, and the OpenSSL connector for `postgres` and `tokio-postgres`.

use std::env;
use std::fs;
use std::path::{PathBuf, absolute};

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVersion};
use openssl::x509::store::{X509Lookup, X509StoreBuilder};

use crate::explain::{ConnectError, ensure, refuse};
use crate::settings::Settings;

/// The absolute paths of the files. A file that is not used is empty.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    /// Then the chain and the host's name are verified.
    pub(crate) is_encrypted: bool,
    /// `system`: the certificates of the operating system.
    pub(crate) root: String,
    certificate: String,
    key: String,
}

impl Tls {
    pub(crate) fn read(settings: &Settings) -> Result<Tls, ConnectError> {
        let setting = |name: &str| settings[name].as_str();
        let is_encrypted = match setting("sslmode") {
            "disable" => return Ok(Tls::default()),
            mode => ["require", "verify-ca", "verify-full"].contains(&mode),
        };
        ensure(
            is_encrypted,
            "sslmode is not disable, require, verify-ca or verify-full\n\
             Write sslmode=verify-full. No other mode protects the connection.",
        )?;
        let is_pair = setting("sslcert").is_empty() == setting("sslkey").is_empty();
        ensure(is_pair, "sslcert and sslkey go together\nName both files.")?;
        let certificate = find_file("sslcert", setting("sslcert"))?;
        let key = find_file("sslkey", setting("sslkey"))?;
        // libpq asks for a pass phrase on the terminal.
        let text = fs::read_to_string(&key).unwrap_or_default();
        let advice = "sslkey has a pass phrase\nRemove it: openssl pkey -in KEY -out NEW_KEY";
        ensure(!text.contains("ENCRYPTED"), advice)?;
        let default = in_home(".postgresql/root.crt").filter(|path| path.is_file());
        let root = match (setting("sslrootcert"), default) {
            ("", Some(default)) => default.display().to_string(),
            ("" | "system", _) => "system".to_owned(),
            (file, _) => find_file("sslrootcert", file)?,
        };
        Ok(Tls {
            is_encrypted,
            root,
            certificate,
            key,
        })
    }

    /// Returns the parameters in libpq's words. A value that is not set is empty.
    pub(crate) fn parameters(&self) -> [(&str, &str); 4] {
        let sslmode = if self.is_encrypted {
            "verify-full"
        } else {
            "disable"
        };
        [
            ("sslmode", sslmode),
            ("sslrootcert", &self.root),
            ("sslcert", &self.certificate),
            ("sslkey", &self.key),
        ]
    }

    /// Builds the connector. This takes some 20 ms: OpenSSL loads the operating system's certificates.
    pub(crate) fn connector(&self) -> Result<SslConnector, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        // The lowest version that libpq accepts.
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        if !["", "system"].contains(&self.root.as_str()) {
            // `set_ca_file` would trust the operating system's certificates too.
            let mut store = X509StoreBuilder::new()?;
            store
                .add_lookup(X509Lookup::file())?
                .load_cert_file(&self.root, SslFiletype::PEM)?;
            builder.set_cert_store(store.build());
        }
        if !self.certificate.is_empty() {
            builder.set_certificate_chain_file(&self.certificate)?;
            builder.set_private_key_file(&self.key, SslFiletype::PEM)?;
            builder.check_private_key()?;
        }
        Ok(builder.build())
    }
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
