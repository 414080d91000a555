//! The words of each [`Kind`], and what to do about it.

use crate::config::{Config, SslMode};
use crate::failure::Kind;

/// Returns what happened, in the words of the README's troubleshooting table.
pub(crate) fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::HostNotFound => "there is no host of this name",
        Kind::Refused => "nothing listens there (connection refused)",
        Kind::TimedOut => "no answer (timed out)",
        Kind::NoAnswer => "connected, but the server did not answer (timed out)",
        Kind::NoTls => "the server does not offer TLS",
        Kind::TlsRequired => "the server accepts only connections with TLS",
        Kind::UnknownAuthority => {
            "the server's certificate is from an authority that is not trusted"
        }
        Kind::Expired => "the server's certificate has expired",
        Kind::AuthorityExpired => "the certificate of the server's authority has expired",
        Kind::NotYetValid => "the server's certificate is not yet valid",
        Kind::OtherName => "the server's certificate is for another name",
        Kind::ClientCertificate => "the server requires a client certificate, or another one",
        Kind::Password => "the server does not accept the password of user",
        Kind::NoPassword => "the server asks for a password for user",
        Kind::NotAuthorized => "the server does not authorize this connection",
        Kind::NoDatabase => "there is no database",
        Kind::Busy => "the server accepts no connections at the moment",
        Kind::ScramIterations => "SCRAM iteration count exceeds the maximum allowed",
        Kind::Settings | Kind::Other => "",
    }
}

/// Returns what happened, with the names that it is about. `detail` is the text of the server or
/// driver.
pub(crate) fn reason(kind: Kind, detail: &str, config: &Config) -> String {
    let words = words(kind);
    match kind {
        Kind::Password | Kind::NoPassword => {
            // After a ":" that was encoded by mistake, the rest is the password.
            let user = config.user.split(':').next().unwrap_or_default();
            format!("{words} {user}")
        }
        Kind::NoDatabase => format!("{words} {}", config.dbname),
        Kind::Settings | Kind::Other => detail.to_owned(),
        Kind::OtherName | Kind::ClientCertificate | Kind::NotAuthorized | Kind::Busy
            if !detail.is_empty() =>
        {
            format!("{words}: {detail}")
        }
        _ => words.to_owned(),
    }
}

/// Returns what to do about it. It is empty if the message has nothing to add.
pub(crate) fn advice(kind: Kind, config: &Config) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let name = match kind {
        Kind::NoDatabase => quoted(&config.dbname),
        Kind::ScramIterations => quoted(&config.user),
        _ => config.sslmode.name().to_owned(),
    };
    let text = match kind {
        Kind::HostNotFound => "Check the host in DATABASE_URL for typing errors, and your network.",
        Kind::Refused => {
            "Is the server running, and is this its port? CockroachDB's is 26257. \
             `scripts/local-cluster start` starts a cluster on this machine."
        }
        Kind::TimedOut => {
            "A managed cluster accepts connections from authorized networks only: add this \
             machine's public address on the cluster's Networking page."
        }
        Kind::NoAnswer => {
            "The network is not the reason. Check the state of the cluster: too few live nodes or \
             too much load have this effect. Or raise connect_timeout."
        }
        Kind::NoTls => {
            "sslmode={name} requires TLS. If this is the right server, switch TLS on there; \
         sslmode=disable would send everything in clear text."
        }
        Kind::TlsRequired => {
            "Use sslmode=verify-full and name your cluster's ca.crt with sslrootcert."
        }
        Kind::UnknownAuthority => {
            "Download your cluster's ca.crt and name its place with sslrootcert. If you did, it \
             belongs to another cluster."
        }
        Kind::Expired => "Renew the server's certificate, and check this machine's clock.",
        Kind::AuthorityExpired => {
            "Renew the authority's certificate, download the new ca.crt, and check this machine's \
             clock."
        }
        Kind::NotYetValid => "Check this machine's clock, and the server's.",
        Kind::OtherName if config.sslmode == SslMode::VerifyFull => {
            "Connect by a name that the certificate contains."
        }
        Kind::OtherName => {
            "Connect by a name that the certificate contains: with a root certificate, this driver \
         checks the name with sslmode={name} too."
        }
        Kind::ClientCertificate => {
            "Name your client certificate with sslcert and its key with sslkey; it must be for the \
             user in DATABASE_URL."
        }
        Kind::Password => {
            "Check user and password in DATABASE_URL. In a password, write @ as %40, : as %3A, / \
             as %2F and % as %25."
        }
        Kind::NoPassword => "Put the password into DATABASE_URL, or into PGPASSWORD.",
        Kind::NotAuthorized if config.sslmode == SslMode::Disable => {
            "Check the user and the database. The server may accept only connections with TLS: use \
             sslmode=verify-full and name its ca.crt with sslrootcert."
        }
        Kind::NotAuthorized => {
            "Check the user and the database; the server's administrator decides who may connect, \
             and from where."
        }
        Kind::NoDatabase => {
            "Check the database in DATABASE_URL, or create it: CREATE DATABASE {name}"
        }
        Kind::Busy => "Try again later. If it has too many connections, close those not in use.",
        Kind::ScramIterations => {
            "CockroachDB 22.1 and early 22.2 hash a password 119,680 times, and this driver accepts \
         at most 100,000. Set the password again, as an admin (later versions need only the \
         second statement):\n\
         SET CLUSTER SETTING server.user_login.password_hashes.default_cost.scram_sha_256 = \
         10610;\n\
         ALTER USER {name} WITH PASSWORD '…';"
        }
        Kind::Settings | Kind::Other => "",
    };
    text.replace("{name}", &name)
}
