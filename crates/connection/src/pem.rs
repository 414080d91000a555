//! Reads certificate and key files.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::error::ConfigError;

/// Reads the certificates of `sslrootcert`.
pub(crate) fn read_roots(path: &Path) -> Result<Vec<X509>, ConfigError> {
    read_certificates(path).map_err(|problem| {
        let advice = "Download your cluster's ca.crt and name its place with sslrootcert.";
        file_error(
            "the root certificate",
            path,
            &format!("{problem}\n{advice}"),
        )
    })
}

/// Reads the client certificate, followed by its issuers, and its private key.
pub(crate) fn read_identity(
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<X509>, PKey<Private>), ConfigError> {
    let chain = read_certificates(certificate)
        .map_err(|problem| file_error("the client certificate", certificate, &problem))?;
    let private = read_key(key, &chain[0], certificate)
        .map_err(|problem| file_error("the client certificate's key", key, &problem))?;
    Ok((chain, private))
}

/// Returns the error for a file that cannot be used. `what` says what the file is for.
pub(crate) fn file_error(what: &str, path: &Path, problem: &str) -> ConfigError {
    ConfigError::new(format!("{what} {}: {problem}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("it cannot be read: {error}"),
    })
}

/// Returns at least one certificate, or what is wrong with the file.
fn read_certificates(path: &Path) -> Result<Vec<X509>, String> {
    let certificates = X509::stack_from_pem(&read(path)?).unwrap_or_default();
    if certificates.is_empty() {
        return Err("it contains no PEM certificate (-----BEGIN CERTIFICATE-----)".to_owned());
    }
    Ok(certificates)
}

/// Returns the key of this certificate, or what is wrong with the file.
fn read_key(path: &Path, certificate: &X509, shown: &Path) -> Result<PKey<Private>, String> {
    let pem = read(path)?;
    let metadata = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    // libpq's rule: a group may read a key that root owns; no other key may be read by others.
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        let path = path.display();
        return Err(format!(
            "others can read it\nMake it private: chmod 600 {path}"
        ));
    }
    if String::from_utf8_lossy(&pem).contains("ENCRYPTED") {
        let problem = "it is encrypted with a pass phrase, which is not supported\n\
                       Decrypt it: openssl pkey -in KEY -out NEW_KEY";
        return Err(problem.to_owned());
    }
    let key = PKey::private_key_from_pem(&pem).map_err(|_| "it contains no PEM private key")?;
    if certificate
        .public_key()
        .is_ok_and(|public| public.public_eq(&key))
    {
        Ok(key)
    } else {
        Err(format!("it is not the key of {}", shown.display()))
    }
}
