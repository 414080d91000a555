//! A look at a server after a failed attempt, to find the reason that the driver's error lacks.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::ssl::SslVerifyMode;
use openssl::x509::{X509Ref, X509StoreContextRef};

use crate::failure::Kind;
use crate::tls::{Tls, Verify};

/// "SSLRequest" of PostgreSQL's protocol: its length, then the code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Returns the exact kind of a time-out or a certificate problem, and the names in a certificate
/// for another name. `None` if there is nothing to add or the server does not answer.
pub(crate) fn look(
    kind: Kind,
    addresses: &[SocketAddr],
    name: &str,
    tls: Option<&Tls>,
) -> Option<(Kind, String)> {
    let tcp = |address| TcpStream::connect_timeout(address, Duration::from_secs(1)).ok();
    let connect = || addresses.iter().find_map(tcp);
    match (kind, tls) {
        (Kind::TimedOut, _) => {
            let first = addresses.first().and_then(tcp);
            first.map(|_| (Kind::NoAnswer, String::new()))
        }
        (Kind::UnknownAuthority | Kind::Expired | Kind::OtherName, Some(tls)) => {
            verdict(connect()?, name, tls, kind)
        }
        _ => None,
    }
}

/// Verifies the server's certificate with OpenSSL and disconnects. Returns what is wrong with it.
fn verdict(mut stream: TcpStream, name: &str, tls: &Tls, kind: Kind) -> Option<(Kind, String)> {
    // A server that sends nothing must not hold the thread and the socket.
    let limit = Some(Duration::from_secs(2));
    stream.set_read_timeout(limit).ok()?;
    stream.set_write_timeout(limit).ok()?;
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
    let is_verified = tls.verify == Verify::ChainAndName || kind == Kind::OtherName;
    connection.set_verify_hostname(is_verified);
    let _ = connection.connect(name, stream);
    refused.lock().ok()?.take()
}

fn why_refused(context: &X509StoreContextRef) -> (Kind, String) {
    // The numbers are OpenSSL's X509_V_ERR_…; the openssl crate has no names for them.
    let names = || context.current_cert().map(names).unwrap_or_default();
    let kind = match context.error().as_raw() {
        9 => Kind::NotYetValid,
        10 if context.error_depth() == 0 => Kind::Expired,
        10 => Kind::AuthorityExpired,
        62 | 64 => return (Kind::OtherName, names()),
        _ => Kind::UnknownAuthority,
    };
    (kind, String::new())
}

/// Returns the names and addresses that a certificate contains.
fn names(certificate: &X509Ref) -> String {
    let mut names = Vec::new();
    for name in certificate.subject_alt_names().into_iter().flatten() {
        names.extend(name.dnsname().map(str::to_owned));
        let bytes = name.ipaddress().unwrap_or_default();
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
        names.extend(address.map(|address| address.to_string()));
    }
    names.join(", ")
}
