//! A look at a server's certificate with nothing but OpenSSL.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::SslRef;
use openssl::x509::{X509Ref, X509StoreContextRef};

use crate::attempt::Server;
use crate::config::Host;
use crate::failure::Failure;
use crate::tls::{Check, Tls};

/// "SSLRequest" of PostgreSQL's protocol: its length, then the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The server cannot be reached, or its certificate is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProbeError(#[from] pub(crate) Failure);

/// A look at one server. It blocks: in asynchronous code it belongs on a thread of its own.
pub struct Probe {
    host: Host,
    tls: Option<Arc<Tls>>,
    limit: Option<Duration>,
}

impl Server<'_> {
    /// For a driver that cannot be told as exactly as libpq whom to trust.
    pub fn probe(&self) -> Probe {
        let (host, tls) = (self.host.clone(), self.tls.clone());
        Probe {
            host,
            tls,
            limit: self.config.connect_timeout,
        }
    }
}

impl Probe {
    /// Connects, checks the certificate as `sslmode` asks, and hangs up before a user is named. Two round
    /// trips, besides TCP's own.
    ///
    /// Returns the root certificate that vouched for the server, in PEM. Where nothing is to be checked, it
    /// only connects, and returns `None`.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or its certificate is not to be trusted.
    pub fn run(&self) -> Result<Option<Vec<u8>>, ProbeError> {
        Ok(self.look()?)
    }

    fn look(&self) -> Result<Option<Vec<u8>>, Failure> {
        if self.host.is_socket() {
            return Ok(None);
        }
        let mut stream = self.connect_tcp().map_err(|error| Failure::of(&error))?;
        let checked = self.tls.as_ref();
        let Some(tls) = checked.filter(|tls| tls.check() != Check::Nothing) else {
            return Ok(None);
        };

        let mut answer = [0];
        let asked = stream
            .write_all(&SSL_REQUEST)
            .and_then(|()| stream.read_exact(&mut answer));
        asked.map_err(|error| Failure::of(&error))?;
        if answer != *b"S" {
            return Err(Failure::NoTls);
        }

        let refused = Arc::new(Mutex::new(None));
        let connection = tls.connector().and_then(|mut builder| {
            let (seen, mode) = (Arc::clone(&refused), tls.verify_mode());
            builder.set_verify_callback(mode, move |accepted, context| {
                if !accepted && let Ok(mut seen) = seen.lock() {
                    *seen = Some(why_refused(context));
                }
                accepted
            });
            // Every server knows this curve, and PostgreSQL before version 18 no other: offered first, it
            // saves a round trip. No secret is sent here.
            builder.set_groups_list("P-256:X25519:P-384:P-521")?;
            builder.build().configure()
        });
        let mut connection = connection.map_err(|error| Failure::of(&error))?;
        connection.set_verify_hostname(tls.check() == Check::ChainAndName);
        match connection.connect(&self.host.name, stream) {
            Ok(stream) => root_of(stream.ssl()).map_err(|error| Failure::of(&error)),
            Err(error) => {
                let refused = refused.lock().ok().and_then(|mut refused| refused.take());
                Err(refused.unwrap_or_else(|| Failure::of(&error)))
            }
        }
    }

    fn connect_tcp(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(
            io::ErrorKind::NotFound,
            "failed to lookup address information",
        );
        for address in (self.host.name.as_str(), self.host.port).to_socket_addrs()? {
            let attempt = match self.limit {
                Some(limit) => TcpStream::connect_timeout(&address, limit),
                None => TcpStream::connect(address),
            };
            match attempt {
                Ok(stream) => {
                    stream.set_read_timeout(self.limit.or(Some(Duration::from_secs(60))))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn why_refused(context: &X509StoreContextRef) -> Failure {
    // The numbers are OpenSSL's X509_V_ERR_…; the openssl crate has no names for them.
    match context.error().as_raw() {
        9 => Failure::NotYetValid,
        10 => Failure::Expired,
        62 | 64 => Failure::OtherName(context.current_cert().map(names_of).unwrap_or_default()),
        _ => Failure::UnknownAuthority,
    }
}

fn root_of(ssl: &SslRef) -> Result<Option<Vec<u8>>, ErrorStack> {
    let chain = ssl.verified_chain();
    chain
        .and_then(|chain| chain.iter().last().map(|root| root.to_pem()))
        .transpose()
}

/// The names and addresses that a certificate bears.
fn names_of(certificate: &X509Ref) -> String {
    let mut names = Vec::new();
    for name in certificate.subject_alt_names().into_iter().flatten() {
        if let Some(dns) = name.dnsname() {
            names.push(dns.to_owned());
        } else if let Some(bytes) = name.ipaddress() {
            let address = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let address =
                address.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from));
            names.extend(address.map(|address| address.to_string()));
        }
    }
    if names.is_empty() {
        let common_names = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
        names.extend(common_names.filter_map(|name| name.data().to_string().ok()));
    }
    names.join(", ")
}
