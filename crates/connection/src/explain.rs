//! [`ConnectError`], and the advice for a driver's error.

use std::error::Error;
use std::fmt;
use std::iter::successors;

/// The reason why there is no connection, and on the next line what to do.
///
/// The message does not contain the password. `Debug` is the message, so that `main` prints it.
#[derive(Clone, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the error for a setting that cannot be used.
pub(crate) fn refuse<T>(message: &str) -> Result<T, ConnectError> {
    Err(ConnectError(message.to_owned()))
}

/// Returns an error with this message if a setting is not valid.
pub(crate) fn ensure(is_valid: bool, message: &str) -> Result<(), ConnectError> {
    if is_valid { Ok(()) } else { refuse(message) }
}

/// Returns the error of a sample that cannot use its table, and on the next line what to do.
pub fn explain_accounts(error: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectError {
    let words = words(&*error.into());
    // CockroachDB: "user app does not have CREATE privilege on database defaultdb".
    let advice = if words.contains("permission denied") || words.contains("privilege on") {
        "Let an owner run GRANT CREATE ON SCHEMA public TO the user (or ON DATABASE, if the message names one). If \
         the table is there: GRANT SELECT, INSERT, UPDATE ON accounts."
    } else if words.contains("no database or schema specified") {
        // CockroachDB accepts a connection to a database that does not exist.
        "Check the name of the database in the connection string. To create it: CREATE DATABASE."
    } else {
        "If another program has created the table accounts, use another database."
    };
    ConnectError(format!("cannot use the table accounts{words}\n{advice}"))
}

/// Returns the words of the error and its sources, each once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = String::new();
    for cause in successors(Some(error), |&error| error.source()) {
        let cause = cause.to_string();
        // sqlx shows the character of the password that it does not accept.
        let cause = cause
            .split("(ProhibitedCharacter")
            .next()
            .unwrap_or_default()
            .trim();
        if !words.contains(cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// Returns the words of the error, and the advice that fits them.
pub(crate) fn explain(
    hosts: &str,
    system_roots: bool,
    error: &(dyn Error + 'static),
) -> ConnectError {
    let words = words(error);
    let lower = words.to_lowercase();
    let fits = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let row = ADVICE.iter().find(|(texts, _)| fits(texts));
    let advice = match row.map_or("", |(_, advice)| advice) {
        NOT_TRUSTED if system_roots => "\n".to_owned() + NOT_TRUSTED_BY_THE_SYSTEM,
        "" => String::new(),
        advice => "\n".to_owned() + advice,
    };
    ConnectError(format!("could not connect to {hosts}{words}{advice}"))
}

const NOT_TRUSTED: &str = "The file that sslrootcert names, or ~/.postgresql/root.crt, is not the certificate of this \
    cluster's authority: download the cluster's ca.crt. If it is, the server's certificate is not valid.";

const NOT_TRUSTED_BY_THE_SYSTEM: &str = "In a container, install the package ca-certificates in the image. If the \
    cluster has an authority of its own (Advanced, self-hosted), download its ca.crt and name it with sslrootcert.";

/// Pieces of messages, in lower case, each with the advice. The first row that fits decides.
#[rustfmt::skip]
const ADVICE: [(&[&str], &str); 17] = [
    (&["password authentication failed"],
     "Check the user and the password in DATABASE_URL or PGPASSWORD. In a URL, characters such as @ must be encoded \
      (step 3 of README.md). In .env, write single quotes around a value with a $."),
    (&["password missing", "no password supplied"],
     "Put the password into DATABASE_URL, or into PGPASSWORD."),
    (&["saslprep"],
     "sqlx, which SeaORM uses too, does not accept a character of the password. Set another password."),
    (&["scram iteration count"],
     "Set the password again with ALTER USER; on CockroachDB 22.1 and early 22.2, first run SET CLUSTER \
      SETTING server.user_login.password_hashes.default_cost.scram_sha_256 = 10610."),
    (&["does not exist"],
     "Check the names of the database and the user. To create the database: CREATE DATABASE."),
    (&["permission denied for", "privilege on"],
     "Let an owner run GRANT CONNECT ON DATABASE NAME TO the user."),
    (&["name mismatch", "address mismatch", "does not match host name"],
     "Connect by a name that the server's certificate contains."),
    (&["no start line", "no certificate or crl found", "key values mismatch", "no certificate assigned", "pkcs#8", "private key",
       "pem routines", "decoder routines", "permission denied"],
     "sslrootcert, sslcert and sslkey name PEM files that this user can read. The key must fit the certificate. \
      For sqlx and SeaORM: openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW_KEY."),
    (&["client certificate", "certificate required", "bad certificate", "unknown ca", "certificate unknown"],
     "Name your client certificate with sslcert and its key with sslkey. It must be for this user."),
    (&["has expired", "not yet valid"],
     "Renew the certificate of the server or of its authority, and check this machine's clock."),
    (&["certificate verify failed"], NOT_TRUSTED),
    (&["support tls", "support ssl", "ssl negotiation", "sslrequest", "unexpected eof", "early eof", "at eof",
       "remaining on stream", "authentication request", "closed the connection", "reset by peer",
       "wrong version number"],
     "Perhaps this is not CockroachDB's SQL port, which is 26257. If it is, the server offers no TLS, or is \
      stopping: try again."),
    (&["pg_hba.conf", "secure mode", "ssl connection"],
     "The server does not accept this user from this network, or not without TLS: use sslmode=verify-full."),
    (&["timed out", "timeout occurred", "timeout expired"],
     "On a managed cluster, add this machine's address to the IP Allowlist on the Networking page. If it is \
      there, check the state of the cluster: too few live nodes have the same effect."),
    (&["connection refused"],
     "Is the server running, and is this its port? CockroachDB's is 26257. `scripts/local-cluster start` \
      starts a server on this machine."),
    (&["lookup address", "translate host name", "unreachable", "no route to host"],
     "Check the host for typing errors, and this machine's network."),
    (&["too many", "starting up", "shutting down", "slots are reserved", "not accepting"],
     "Try again later. If there are too many connections, close those that are not in use."),
];
