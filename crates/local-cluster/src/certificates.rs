//! Issues certificates for servers and clients.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
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
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder, X509NameRef};

/// A certificate authority with a key of its own. Only clients that get its certificate trust it.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
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
        let mut builder = new_builder(&subject, &subject, &key, false)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        let mut usage = KeyUsage::new();
        usage.critical().key_cert_sign().crl_sign();
        builder.append_extension(usage.build()?)?;
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
    /// `FILE.key`.
    ///
    /// `names` are the host names and IP addresses of a server; a client has none.
    pub(crate) fn issue(
        &self,
        file: &Path,
        subject: &str,
        names: &[&str],
        is_expired: bool,
    ) -> Result<()> {
        let key = new_key()?;
        let subject = common_name(subject)?;
        let issuer = self.certificate.subject_name();
        let mut builder = new_builder(&subject, issuer, &key, is_expired)?;
        let mut usage = KeyUsage::new();
        usage.critical().digital_signature().key_encipherment();
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let mut extensions = vec![
            BasicConstraints::new().critical().build()?,
            usage.build()?,
            ExtendedKeyUsage::new()
                .server_auth()
                .client_auth()
                .build()?,
            AuthorityKeyIdentifier::new().keyid(false).build(&context)?,
        ];
        if !names.is_empty() {
            let mut alternatives = SubjectAlternativeName::new();
            for name in names {
                match name.parse::<IpAddr>() {
                    Ok(_) => alternatives.ip(name),
                    Err(_) => alternatives.dns(name),
                };
            }
            extensions.push(alternatives.build(&context)?);
        }
        for extension in extensions {
            builder.append_extension(extension)?;
        }
        builder.sign(&self.key, MessageDigest::sha256())?;

        fs::write(file.with_added_extension("crt"), builder.build().to_pem()?)?;
        // Servers and libpq refuse a key that others can read.
        let file = file.with_added_extension("key");
        fs::write(&file, key.private_key_to_pem_pkcs8()?)?;
        Ok(fs::set_permissions(&file, Permissions::from_mode(0o600))?)
    }
}

fn new_key() -> Result<PKey<Private>> {
    let curve = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&curve)?)?)
}

fn common_name(name: &str) -> Result<X509Name> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

fn new_builder(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKeyRef<Private>,
    is_expired: bool,
) -> Result<X509Builder> {
    let mut from = Asn1Time::days_from_now(0)?;
    let mut until = Asn1Time::days_from_now(365)?;
    if is_expired {
        from = Asn1Time::from_str("20250101000000Z")?;
        until = Asn1Time::from_str("20250131000000Z")?;
    }
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;

    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_not_before(&from)?;
    builder.set_not_after(&until)?;
    builder.set_pubkey(key)?;
    let identifier = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(identifier)?;
    Ok(builder)
}
