//! Issues certificates for servers and clients.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Result;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, PKeyRef, Private};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509NameBuilder, X509NameRef};

/// A certificate authority with a key of its own. Only clients that get its certificate trust it.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// The period in which a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday until a year from now.
    Now,
    /// From thirty days ago until yesterday.
    Expired,
}

impl Authority {
    /// Creates an authority with this common name.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL fails.
    pub fn new(name: &str) -> Result<Authority> {
        let key = new_key()?;
        let subject = common_name(name)?;
        let mut builder = new_builder(&subject, &subject, &key, Validity::Now)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(
            KeyUsage::new()
                .critical()
                .key_cert_sign()
                .crl_sign()
                .build()?,
        )?;
        builder.sign(&key, MessageDigest::sha256())?;
        Ok(Authority {
            certificate: builder.build(),
            key,
        })
    }

    /// Writes the authority's certificate as PEM.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL fails or a file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, self.certificate.to_pem()?)?)
    }

    /// Issues a certificate for a server or a client, and writes it and its key to `FILE.crt` and
    /// `FILE.key` in `directory`.
    ///
    /// `names` are the host names and IP addresses of a server; a client has none.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL fails or a file cannot be written.
    pub fn issue(
        &self,
        directory: &Path,
        file: &str,
        subject: &str,
        names: &[&str],
        validity: Validity,
    ) -> Result<()> {
        let key = new_key()?;
        let issuer = self.certificate.subject_name();
        let subject = common_name(subject)?;
        let mut builder = new_builder(&subject, issuer, &key, validity)?;
        builder.append_extension(BasicConstraints::new().critical().build()?)?;
        let mut usage = KeyUsage::new();
        builder.append_extension(
            usage
                .critical()
                .digital_signature()
                .key_encipherment()
                .build()?,
        )?;
        builder.append_extension(
            ExtendedKeyUsage::new()
                .server_auth()
                .client_auth()
                .build()?,
        )?;
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(_) => alternatives.ip(name),
                Err(_) => alternatives.dns(name),
            };
        }
        let key_identifier = AuthorityKeyIdentifier::new()
            .keyid(false)
            .issuer(false)
            .build(&context)?;
        let alternatives = (!names.is_empty())
            .then(|| alternatives.build(&context))
            .transpose()?;
        builder.append_extension(key_identifier)?;
        if let Some(alternatives) = alternatives {
            builder.append_extension(alternatives)?;
        }
        builder.sign(&self.key, MessageDigest::sha256())?;

        fs::write(
            directory.join(format!("{file}.crt")),
            builder.build().to_pem()?,
        )?;
        write_private(&directory.join(format!("{file}.key")), &key)
    }
}

fn new_key() -> Result<PKey<Private>> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&curve)?)?)
}

fn common_name(name: &str) -> Result<openssl::x509::X509Name> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

fn new_builder(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKeyRef<Private>,
    validity: Validity,
) -> Result<X509Builder> {
    const DAY: i64 = 24 * 60 * 60;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs() as i64;
    let (from, until) = match validity {
        Validity::Now => (now - DAY, now + 365 * DAY),
        Validity::Expired => (now - 30 * DAY, now - DAY),
    };
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;

    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_not_before(&*Asn1Time::from_unix(from)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(until)?)?;
    builder.set_pubkey(key)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(identifier)?;
    Ok(builder)
}

/// Writes a key that only its owner can read: servers and libpq refuse any other key.
fn write_private(path: &Path, key: &PKeyRef<Private>) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(&key.private_key_to_pem_pkcs8()?)?)
}
