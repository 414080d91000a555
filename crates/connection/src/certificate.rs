//! A look at a server after a failed attempt. It finds the reason if the driver's error does not contain it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::nid::Nid;
use openssl::ssl::SslVerifyMode;
use openssl::x509::{X509Ref, X509StoreContextRef};

use crate::failure::Kind;
use crate::tls::{Tls, Verify};

/// "SSLRequest" of PostgreSQL's protocol: its length, then the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Returns a TCP connection to the first of these addresses that accepts one within `limit`.
pub(crate) fn connect_tcp(addresses: &[SocketAddr], limit: Duration) -> Option<TcpStream> {
    addresses
        .iter()
        .find_map(|address| TcpStream::connect_timeout(address, limit).ok())
}

/// Verifies the server's certificate with OpenSSL and disconnects. Returns what is wrong with it and, for
/// another name, the names that it contains; `None` if nothing is wrong or the server does not answer.
pub(crate) fn verdict(
    mut stream: TcpStream,
    name: &str,
    tls: &Tls,
    verify_name: bool,
) -> Option<(Kind, String)> {
    stream.write_all(&SSL_REQUEST).ok()?;
    let mut answer = [0];
    stream.read_exact(&mut answer).ok()?;
    if answer != *b"S" {
        return None;
    }
    let refused = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&refused);
    let mut builder = tls.connector().ok()?;
    builder.set_verify_callback(SslVerifyMode::PEER, move |accepted, context| {
        if !accepted && let Ok(mut seen) = seen.lock() {
            *seen = Some(why_refused(context));
        }
        accepted
    });
    let mut connection = builder.build().configure().ok()?;
    connection.set_verify_hostname(verify_name || tls.verify() == Verify::ChainAndName);
    let _ = connection.connect(name, stream);
    let mut refused = refused.lock().ok()?;
    refused.take()
}

fn why_refused(context: &X509StoreContextRef) -> (Kind, String) {
    // The numbers are OpenSSL's X509_V_ERR_…; the openssl crate has no names for them.
    let is_server = context.error_depth() == 0;
    match context.error().as_raw() {
        9 => (Kind::NotYetValid, String::new()),
        10 if is_server => (Kind::Expired, String::new()),
        10 => (Kind::AuthorityExpired, String::new()),
        62 | 64 => (
            Kind::OtherName,
            context.current_cert().map(names).unwrap_or_default(),
        ),
        _ => (Kind::UnknownAuthority, String::new()),
    }
}

/// Returns the names and addresses that a certificate contains.
fn names(certificate: &X509Ref) -> String {
    let mut names = Vec::new();
    for name in certificate.subject_alt_names().into_iter().flatten() {
        if let Some(dns) = name.dnsname() {
            names.push(dns.to_owned());
        } else if let Some(bytes) = name.ipaddress() {
            let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            names.extend(address.map(|address| address.to_string()));
        }
    }
    if names.is_empty() {
        let common_names = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
        names.extend(common_names.filter_map(|name| name.data().to_string().ok()));
    }
    names.join(", ")
}
