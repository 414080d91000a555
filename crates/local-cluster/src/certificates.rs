//! Issues certificates for servers and clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority with a key of its own. Only clients that get its certificate trust it.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Creates an authority with this common name.
    pub fn new(name: &str) -> Result<Authority> {
        let mut parameters = parameters(name, &[])?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        Ok(Authority(CertifiedIssuer::self_signed(parameters, key)?))
    }

    /// Writes the authority's certificate as PEM.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, self.0.pem())?)
    }

    /// Issues a certificate with this common name, for the host names and IP addresses of a server or
    /// for a client, which has none. Writes it and its key to `FILE.crt` and `FILE.key`.
    pub(crate) fn issue(
        &self,
        file: &Path,
        name: &str,
        hosts: &[&str],
        is_expired: bool,
    ) -> Result<()> {
        let mut parameters = parameters(name, hosts)?;
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        parameters.use_authority_key_identifier_extension = true;
        if is_expired {
            parameters.not_before = date_time_ymd(2025, 1, 1);
            parameters.not_after = date_time_ymd(2025, 1, 31);
        }
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.0)?;
        fs::write(file.with_added_extension("crt"), certificate.pem())?;
        // Servers and libpq refuse a key that others can read.
        let file = file.with_added_extension("key");
        fs::write(&file, key.serialize_pem())?;
        Ok(fs::set_permissions(&file, Permissions::from_mode(0o600))?)
    }
}

/// Returns what all certificates have in common. They are valid for a year: some TLS libraries refuse
/// those that are valid for longer.
fn parameters(name: &str, hosts: &[&str]) -> Result<CertificateParams> {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(hosts)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    let subject = &mut parameters.distinguished_name;
    subject.push(DnType::CommonName, name);
    parameters.not_before = SystemTime::now().into();
    parameters.not_after = parameters.not_before + Duration::from_hours(365 * 24);
    Ok(parameters)
}
