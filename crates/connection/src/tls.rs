//! The TLS policy: from `sslmode` and the certificate settings to what is verified and which client
//! certificate is sent.

use std::env;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use crate::config::{Config, RootCert, SslMode};
use crate::error::ConfigError;
use crate::pem;

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
        let default_file = |name: &str| Some(defaults.join(name)).filter(|path| path.exists());
        let file = match &config.sslrootcert {
            Some(RootCert::File(path)) => Some(path.clone()),
            Some(RootCert::System) => None,
            None => default_file("root.crt"),
        };
        let verify = match (config.sslmode, &config.sslrootcert, &file) {
            (SslMode::VerifyFull, ..) => Verify::ChainAndName,
            (_, Some(RootCert::System), _) | (SslMode::VerifyCa, _, None) => {
                return Err(ConfigError::new(format!(
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
        if let Some(path) = default_file("root.crl").filter(|_| verify != Verify::Nothing) {
            let problem = "it is not supported, since only libpq would read it\n\
                           Move it away to connect without it.";
            return Err(pem::file_error("the revocation list", &path, problem));
        }
        let roots = file.map(|path| {
            let certificates = pem::read_roots(&path)?;
            Ok(Roots { path, certificates })
        });
        let certificate = config
            .sslcert
            .clone()
            .or_else(|| default_file("postgresql.crt"));
        let identity = certificate.map(|certificate_path| {
            let default = || defaults.join("postgresql.key");
            let key_path = config.sslkey.clone().unwrap_or_else(default);
            let (chain, key) = pem::read_identity(&certificate_path, &key_path)?;
            Ok(Identity {
                certificate_path,
                key_path,
                chain,
                key,
            })
        });
        Ok(Some(Tls {
            verify,
            roots: roots.transpose()?,
            identity: identity.transpose()?,
        }))
    }

    /// Returns an OpenSSL connector that trusts [`Tls::roots`] only, verifies the chain as
    /// [`Tls::verify`] says and sends the client certificate. Whether the name is verified is set on
    /// each connection, with `ConnectConfiguration::set_verify_hostname`.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL does.
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
