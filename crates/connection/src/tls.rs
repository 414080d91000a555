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
    verify: Verify,
    roots: Option<Roots>,
    identity: Option<Identity>,
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

struct Roots {
    path: PathBuf,
    certificates: Vec<X509>,
}

/// A client certificate with its private key.
pub struct Identity {
    /// The file of `sslcert`.
    pub certificate_path: PathBuf,
    /// The file of `sslkey`.
    pub key_path: PathBuf,
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl Tls {
    /// Resolves the sslmode table of the crate's documentation. `None` is a connection without encryption.
    ///
    /// # Errors
    ///
    /// Returns an error if a file is missing or cannot be used, or if `verify-ca` would trust every
    /// authority that the operating system trusts.
    pub(crate) fn resolve(config: &Config) -> Result<Option<Tls>, ConfigError> {
        Tls::resolve_in(config, env::home_dir().map(|home| home.join(".postgresql")))
    }

    /// Resolves with the default files in this directory.
    pub(crate) fn resolve_in(
        config: &Config,
        defaults: Option<PathBuf>,
    ) -> Result<Option<Tls>, ConfigError> {
        if config.sslmode == SslMode::Disable {
            return Ok(None);
        }
        let default = |name: &str| defaults.as_ref().map(|directory| directory.join(name));
        let default_file = |name: &str| default(name).filter(|path| path.exists());

        let root = config.sslrootcert.clone();
        let roots = match root.or_else(|| default_file("root.crt").map(RootCert::File)) {
            Some(RootCert::File(path)) => {
                let certificates = pem::read_roots(&path)?;
                Some(Roots { path, certificates })
            }
            Some(RootCert::System) | None => None,
        };
        let verify = match (config.sslmode, &roots) {
            (SslMode::VerifyFull, _) => Verify::ChainAndName,
            (SslMode::VerifyCa, None) => {
                return Err(ConfigError::WeakWithSystemRoots {
                    sslmode: config.sslmode.name(),
                });
            }
            // libpq's rule: `require` checks the chain if a root certificate is given.
            (_, Some(_)) => Verify::Chain,
            (_, None) => Verify::Nothing,
        };
        if let Some(path) = default_file("root.crl").filter(|_| verify != Verify::Nothing) {
            return Err(ConfigError::File {
                what: "the revocation list",
                path,
                problem: "it is not supported, since only libpq would read it\n\
                          Move it away to connect without it."
                    .to_owned(),
            });
        }

        let sslcert = config
            .sslcert
            .clone()
            .or_else(|| default_file("postgresql.crt"));
        let sslkey = config.sslkey.clone().or_else(|| default("postgresql.key"));
        let identity = sslcert.map(|certificate_path| {
            let key_path = sslkey.unwrap_or_default();
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
            roots,
            identity: identity.transpose()?,
        }))
    }

    /// Returns what is verified of the server's certificate.
    pub fn verify(&self) -> Verify {
        self.verify
    }

    /// Returns the file with the trusted certificates; `None` for the operating system's.
    pub fn root_path(&self) -> Option<&Path> {
        self.roots.as_ref().map(|roots| roots.path.as_path())
    }

    /// Returns the trusted certificates; `None` for the operating system's.
    pub fn root_certificates(&self) -> Option<&[X509]> {
        self.roots
            .as_ref()
            .map(|roots| roots.certificates.as_slice())
    }

    /// Returns the client certificate.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Returns an OpenSSL connector that trusts these certificates only, verifies the chain as
    /// [`Tls::verify`] says and sends the client certificate. Whether the name is verified is set on each
    /// connection, with `ConnectConfiguration::set_verify_hostname`.
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
            let (leaf, issuers) = identity.chain.split_at(1);
            builder.set_certificate(&leaf[0])?;
            for issuer in issuers {
                builder.add_extra_chain_cert(issuer.clone())?;
            }
            builder.set_private_key(&identity.key)?;
        }
        Ok(builder)
    }
}

impl Identity {
    /// Returns the certificate and its issuers in PEM.
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL does.
    pub fn certificate_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        let chain: Result<Vec<Vec<u8>>, _> = self.chain.iter().map(|one| one.to_pem()).collect();
        Ok(chain?.concat())
    }

    /// Returns the private key in PEM (PKCS #8).
    ///
    /// # Errors
    ///
    /// Returns an error if OpenSSL does.
    pub fn key_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.key.private_key_to_pem_pkcs8()
    }
}
