//! What `sslmode` and the certificate parameters come to: whose certificates are trusted, what is checked,
//! and which certificate is shown.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use crate::config::{Config, RootCert, SslMode};
use crate::error::ConfigError;

/// How a connection is encrypted, with every file read and checked.
pub struct Tls {
    check: Check,
    roots: Roots,
    identity: Option<Identity>,
}

/// What is checked of the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Nothing,
    /// That an authority which is trusted has issued it.
    Chain,
    /// That, and that it bears the host's name or address.
    ChainAndName,
}

enum Roots {
    File {
        path: PathBuf,
        certificates: Vec<X509>,
    },
    System,
}

/// A client certificate with its private key.
pub struct Identity {
    /// `sslcert`.
    pub certificate_path: PathBuf,
    /// `sslkey`.
    pub key_path: PathBuf,
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl Tls {
    /// Settles the sslmode table of the crate's documentation. `None` means plain text.
    ///
    /// # Errors
    ///
    /// A file that is named is missing, cannot be read, or does not hold what it should; or `verify-ca`
    /// would trust whomever the operating system trusts.
    pub(crate) fn settle(config: &Config) -> Result<Option<Tls>, ConfigError> {
        if config.sslmode == SslMode::Disable || config.hosts.iter().all(|host| host.is_socket()) {
            return Ok(None);
        }
        let root = config
            .sslrootcert
            .clone()
            .or_else(|| default_file("root.crt").map(RootCert::File));
        let roots = match root {
            Some(RootCert::File(path)) => Roots::File {
                certificates: read_root(&path)?,
                path,
            },
            Some(RootCert::System) | None => Roots::System,
        };
        let check = match (config.sslmode, &roots) {
            (SslMode::VerifyFull, _) => Check::ChainAndName,
            (SslMode::VerifyCa, Roots::System) => {
                return Err(ConfigError::WeakWithSystemRoots {
                    sslmode: config.sslmode.name(),
                });
            }
            // libpq's rule: `prefer` and `require` check the chain where a root certificate is given.
            (_, Roots::File { .. }) => Check::Chain,
            (_, Roots::System) => Check::Nothing,
        };
        Ok(Some(Tls {
            check,
            roots,
            identity: Identity::read(config)?,
        }))
    }

    /// What is checked of the server's certificate.
    pub fn check(&self) -> Check {
        self.check
    }

    /// The file with the certificates that are trusted; `None` for the operating system's.
    pub fn root_path(&self) -> Option<&Path> {
        match &self.roots {
            Roots::File { path, .. } => Some(path),
            Roots::System => None,
        }
    }

    /// The client certificate, if there is one.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// An OpenSSL connector that trusts these certificates only, checks the chain as asked and shows the
    /// client certificate. Whether the name is checked is set per connection, by
    /// `ConnectConfiguration::set_verify_hostname`.
    ///
    /// # Errors
    ///
    /// Those of OpenSSL.
    pub fn connector(&self) -> Result<SslConnectorBuilder, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        // libpq's default for ssl_min_protocol_version.
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        if let Roots::File { certificates, .. } = &self.roots {
            let mut store = X509StoreBuilder::new()?;
            for certificate in certificates {
                store.add_cert(certificate.clone())?;
            }
            builder.set_cert_store(store.build());
        }
        builder.set_verify(self.verify_mode());
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

impl Tls {
    pub(crate) fn verify_mode(&self) -> SslVerifyMode {
        match self.check {
            Check::Nothing => SslVerifyMode::NONE,
            Check::Chain | Check::ChainAndName => SslVerifyMode::PEER,
        }
    }
}

impl Identity {
    fn read(config: &Config) -> Result<Option<Identity>, ConfigError> {
        let certificate_path = config
            .sslcert
            .clone()
            .or_else(|| default_file("postgresql.crt"));
        let Some(certificate_path) = certificate_path else {
            return Ok(None);
        };
        let key_path = config
            .sslkey
            .clone()
            .or_else(|| home_file("postgresql.key"))
            .unwrap_or_default();

        let chain = read_certificates("the client certificate", &certificate_path)?;
        let key = read_key(&key_path)?;
        let matches = chain[0]
            .public_key()
            .is_ok_and(|public| public.public_eq(&key));
        if !matches {
            let problem = format!("it is not the key of {}", certificate_path.display());
            return Err(ConfigError::File {
                what: KEY,
                path: key_path,
                problem,
            });
        }
        Ok(Some(Identity {
            certificate_path,
            key_path,
            chain,
            key,
        }))
    }

    /// The certificate and those that vouch for it, in PEM.
    ///
    /// # Errors
    ///
    /// Those of OpenSSL.
    pub fn certificate_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        let chain: Vec<Vec<u8>> = self
            .chain
            .iter()
            .map(|one| one.to_pem())
            .collect::<Result<_, _>>()?;
        Ok(chain.concat())
    }

    /// The private key in PEM, as PKCS #8 whatever the file holds.
    ///
    /// # Errors
    ///
    /// Those of OpenSSL.
    pub fn key_pem(&self) -> Result<Vec<u8>, ErrorStack> {
        self.key.private_key_to_pem_pkcs8()
    }
}

const KEY: &str = "the client certificate's key";

fn home_file(name: &str) -> Option<PathBuf> {
    env::home_dir().map(|home| home.join(".postgresql").join(name))
}

/// libpq's file of this name in `~/.postgresql`, if it is there.
fn default_file(name: &str) -> Option<PathBuf> {
    home_file(name).filter(|path| path.exists())
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| ConfigError::File {
        what,
        path: path.to_owned(),
        problem: match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => format!("it cannot be read: {error}"),
        },
    })
}

fn read_root(path: &Path) -> Result<Vec<X509>, ConfigError> {
    read_certificates("the root certificate", path).map_err(|error| match error {
        ConfigError::File {
            what,
            path,
            problem,
        } => {
            let advice = "Download your cluster's ca.crt and name its place with sslrootcert.";
            ConfigError::File {
                what,
                path,
                problem: format!("{problem}\n{advice}"),
            }
        }
        other => other,
    })
}

fn read_certificates(what: &'static str, path: &Path) -> Result<Vec<X509>, ConfigError> {
    let certificates = X509::stack_from_pem(&read(what, path)?).unwrap_or_default();
    if certificates.is_empty() {
        let problem = "it holds no PEM certificate (-----BEGIN CERTIFICATE-----)".to_owned();
        return Err(ConfigError::File {
            what,
            path: path.to_owned(),
            problem,
        });
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PKey<Private>, ConfigError> {
    let refuse = |problem: String| ConfigError::File {
        what: KEY,
        path: path.to_owned(),
        problem,
    };
    let pem = read(KEY, path)?;
    let metadata =
        fs::metadata(path).map_err(|error| refuse(format!("it cannot be read: {error}")))?;
    // libpq's rule: root's own keys may be readable by a group, anybody else's by nobody.
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.mode() & forbidden != 0 {
        let path = path.display();
        return Err(refuse(format!(
            "others can read it\nMake it private: chmod 600 {path}"
        )));
    }
    let text = String::from_utf8_lossy(&pem);
    if text.contains("ENCRYPTED") {
        return Err(refuse(
            "it is encrypted with a pass phrase, which is not supported\n\
             Decrypt it: openssl pkey -in KEY -out NEW_KEY"
                .to_owned(),
        ));
    }
    PKey::private_key_from_pem(&pem).map_err(|_| refuse("it holds no PEM private key".to_owned()))
}
