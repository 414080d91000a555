//! Reads certificate and key files.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::error::ConfigError;

/// The trusted certificates, at least one.
pub struct Roots {
    /// The file of `sslrootcert`.
    pub path: PathBuf,
    /// The certificates in it.
    pub certificates: Vec<X509>,
}

/// A client certificate with its private key.
pub struct Identity {
    /// The file of `sslcert`.
    pub certificate_path: PathBuf,
    /// The file of `sslkey`.
    pub key_path: PathBuf,
    /// The certificate, followed by its issuers.
    pub chain: Vec<X509>,
    /// The private key.
    pub key: PKey<Private>,
}

impl Roots {
    pub(crate) fn read(path: PathBuf) -> Result<Roots, ConfigError> {
        let certificates = read_certificates(&path).map_err(|problem| {
            let advice = "Download your cluster's ca.crt and name its place with sslrootcert.";
            let path = path.display();
            format!("the root certificate {path}: {problem}\n{advice}")
        })?;
        Ok(Roots { path, certificates })
    }
}

impl Identity {
    pub(crate) fn read(certificate_path: PathBuf, key_path: PathBuf) -> Result<Self, ConfigError> {
        let (certificate, key) = (certificate_path.display(), key_path.display());
        let chain = read_certificates(&certificate_path)
            .map_err(|problem| format!("the client certificate {certificate}: {problem}"))?;
        let of_key = |problem| format!("the client certificate's key {key}: {problem}");
        let private = read_key(&key_path).map_err(of_key)?;
        let public = chain[0].public_key();
        if !public.is_ok_and(|public| public.public_eq(&private)) {
            return Err(of_key(format!("it is not the key of {certificate}")).into());
        }
        Ok(Identity {
            certificate_path,
            key_path,
            chain,
            key: private,
        })
    }
}

/// Returns at least one certificate, or what is wrong with the file.
fn read_certificates(path: &Path) -> Result<Vec<X509>, String> {
    let certificates = X509::stack_from_pem(&read(path)?).unwrap_or_default();
    if certificates.is_empty() {
        return Err("it contains no PEM certificate (-----BEGIN CERTIFICATE-----)".into());
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PKey<Private>, String> {
    let pem = read(path)?;
    let mode = fs::metadata(path).map_or(u32::MAX, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(format!(
            "others can read it\nMake it private: chmod 600 {path}"
        ));
    }
    if String::from_utf8_lossy(&pem).contains("ENCRYPTED") {
        let problem = "it is encrypted with a pass phrase, which is not supported\n\
                       Decrypt it: openssl pkey -in KEY -out NEW_KEY";
        return Err(problem.into());
    }
    PKey::private_key_from_pem(&pem).map_err(|_| "it contains no PEM private key".into())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    // A pipe could block the caller for ever.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return Err("it is not a regular file".to_owned());
    }
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be read: {error}"),
    })
}
