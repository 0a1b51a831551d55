//! TLS for the door: certificate and key from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

/// Where certificate and key are, and whether a connection may do without.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// PEM file with the server's certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// PEM file with the key of the certificate.
    pub key: PathBuf,
    /// Refuse connections that are not encrypted.
    pub required: bool,
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the {what} in `{}`: {why}", path.display())]
    Read { what: &'static str, path: PathBuf, why: String },
    #[error("certificate `{}` and key `{}` cannot be used: {why}", certificate.display(), key.display())]
    Unusable { certificate: PathBuf, key: PathBuf, why: String },
}

/// TLS, ready to use.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) required: bool,
    /// For channel binding.
    pub(crate) certificate_pem: Vec<u8>,
}

impl Tls {
    pub(crate) fn load(settings: &TlsSettings) -> Result<Self, TlsError> {
        let read = |what, path: &Path, why: &dyn std::fmt::Display| TlsError::Read {
            what,
            path: path.to_owned(),
            why: why.to_string(),
        };
        let unusable = |why: &dyn std::fmt::Display| TlsError::Unusable {
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
            why: why.to_string(),
        };
        let certificate = |why: &dyn std::fmt::Display| read("certificate", &settings.certificate, why);
        let certificate_pem = std::fs::read(&settings.certificate).map_err(|e| certificate(&e))?;
        let chain = CertificateDer::pem_slice_iter(&certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| certificate(&e))?;
        if chain.is_empty() {
            return Err(certificate(&"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|e| read("key", &settings.key, &e))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(&e))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|e| unusable(&e))?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), required: settings.required, certificate_pem })
    }
}
