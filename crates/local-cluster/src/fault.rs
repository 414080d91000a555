//! The faults that a server can be started with.

/// A server configuration that makes clients with default settings fail to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server does not offer TLS.
    NoTls,
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is for the host `elsewhere.example`.
    OtherName,
    /// The root certificate has not signed the server's certificate.
    UnknownAuthority,
    /// The server requires a client certificate in addition to the password.
    ClientCertificate,
}
