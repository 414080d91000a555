//! The TLS policy: from `sslmode` and the certificate settings to what is verified and which client
//! certificate is sent.

use std::env;
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509StoreBuilder;

use crate::config::{Config, RootCert, SslMode};
use crate::error::ConfigError;
use crate::pem::{Identity, Roots};

/// How a connection is encrypted. All files are read and checked.
pub struct Tls {
    /// What is verified of the server's certificate.
    pub verify: Verify,
    /// The trusted certificates; `None` for the operating system's.
    pub roots: Option<Roots>,
    /// The client certificate.
    pub identity: Option<Identity>,
}

/// What is verified of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing.
    Nothing,
    /// That a trusted authority issued it.
    Chain,
    /// That a trusted authority issued it, and that it contains the host's name or address.
    ChainAndName,
}

impl Tls {
    /// Resolves the sslmode table of the crate's documentation. `None` is a connection without
    /// encryption.
    pub(crate) fn resolve(config: &Config) -> Result<Option<Tls>, ConfigError> {
        // No file can exist below /dev/null.
        let home = env::home_dir().unwrap_or_else(|| "/dev/null".into());
        Tls::resolve_in(config, &home.join(".postgresql"))
    }

    /// Resolves with the default files in this directory.
    pub(crate) fn resolve_in(config: &Config, defaults: &Path) -> Result<Option<Tls>, ConfigError> {
        let default = |name: &str| Some(defaults.join(name)).filter(|path| path.exists());
        let file = match &config.sslrootcert {
            Some(RootCert::File(path)) => Some(path.clone()),
            Some(RootCert::System) => None,
            None => default("root.crt"),
        };
        let verify = match (config.sslmode, &config.sslrootcert, &file) {
            (SslMode::VerifyFull, ..) => Verify::ChainAndName,
            (_, Some(RootCert::System), _) | (SslMode::VerifyCa, _, None) => {
                return Err(ConfigError::from(format!(
                    "sslmode={} cannot be used with the operating system's certificates\n\
                     Anyone can get a certificate from those authorities, so the host name must be \
                     checked as well: use sslmode=verify-full, or name your cluster's ca.crt with \
                     sslrootcert.",
                    config.sslmode.name()
                )));
            }
            (SslMode::Disable, ..) => return Ok(None),
            // libpq's rule: `require` checks the chain if a root certificate is given.
            (_, _, Some(_)) => Verify::Chain,
            (_, _, None) => Verify::Nothing,
        };
        if let Some(path) = default("root.crl").filter(|_| verify != Verify::Nothing) {
            return Err(ConfigError::from(format!(
                "the revocation list {}: it is not supported, since only libpq would read it\n\
                 Move it away to connect without it.",
                path.display()
            )));
        }
        let sslcert = config.sslcert.clone().or_else(|| default("postgresql.crt"));
        let sslkey = config.sslkey.clone();
        let sslkey = sslkey.unwrap_or_else(|| defaults.join("postgresql.key"));
        let identity = sslcert.map(|sslcert| Identity::read(sslcert, sslkey));
        Ok(Some(Tls {
            verify,
            roots: file.map(Roots::read).transpose()?,
            identity: identity.transpose()?,
        }))
    }

    /// Returns an OpenSSL connector that trusts [`Tls::roots`] only, verifies the chain as
    /// [`Tls::verify`] says and sends the client certificate. Whether the name is verified is set
    /// on each connection, with `ConnectConfiguration::set_verify_hostname`.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL fails.
    pub fn connector(&self) -> Result<SslConnectorBuilder, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        // libpq's default for ssl_min_protocol_version.
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        if let Some(roots) = &self.roots {
            let mut store = X509StoreBuilder::new()?;
            for certificate in &roots.certificates {
                store.add_cert(certificate.clone())?;
            }
            builder.set_cert_store(store.build());
        }
        builder.set_verify(match self.verify {
            Verify::Nothing => SslVerifyMode::NONE,
            Verify::Chain | Verify::ChainAndName => SslVerifyMode::PEER,
        });
        if let Some(identity) = &self.identity {
            builder.set_certificate(&identity.chain[0])?;
            for issuer in &identity.chain[1..] {
                builder.add_extra_chain_cert(issuer.clone())?;
            }
            builder.set_private_key(&identity.key)?;
        }
        Ok(builder)
    }
}
