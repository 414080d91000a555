//! The OpenSSL connector for `postgres` and `tokio-postgres`.

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslVersion};
use openssl::x509::store::{X509Lookup, X509StoreBuilder};

use crate::parameters::Parameters;

/// Returns a connector that verifies the chain and the host's name. With `sslmode=disable` the
/// driver does not use it.
pub(crate) fn connector(parameters: &Parameters) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    // The lowest version that libpq accepts.
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    if let Some(file) = parameters
        .get("sslrootcert")
        .filter(|file| *file != "system")
    {
        // `set_ca_file` would trust the operating system's certificates too.
        let mut store = X509StoreBuilder::new()?;
        store
            .add_lookup(X509Lookup::file())?
            .load_cert_file(file, SslFiletype::PEM)?;
        builder.set_cert_store(store.build());
    }
    if let (Some(certificate), Some(key)) = (parameters.get("sslcert"), parameters.get("sslkey")) {
        builder.set_certificate_chain_file(certificate)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
        builder.check_private_key()?;
    }
    Ok(builder.build())
}
