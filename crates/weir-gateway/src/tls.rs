//! TLS for doors: certificate and key from PEM files, and the authority whose certificates clients have to show.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use x509_certificate::X509Certificate;

/// Where certificates and the key are.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// PEM file with the server's certificate, followed by those of its issuers.
    pub certificate: PathBuf,
    /// PEM file with the key of the certificate.
    pub key: PathBuf,
    /// PEM file with the certificates of those who issue certificates of clients. When given, every client has to show
    /// one, of the user as whom she logs in.
    pub client_ca: Option<PathBuf>,
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
pub struct Tls {
    pub acceptor: TlsAcceptor,
    pub required: bool,
    /// Clients have to show a certificate.
    pub mutual: bool,
    /// For channel binding.
    pub certificate_pem: Vec<u8>,
}

impl Tls {
    /// `protocols` are offered by ALPN (RFC 7301).
    pub fn load(settings: &TlsSettings, protocols: &[&str]) -> Result<Self, TlsError> {
        let unusable = |why: &dyn std::fmt::Display| TlsError::Unusable {
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
            why: why.to_string(),
        };
        let (certificate_pem, chain) = certificates("certificate", &settings.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|e| read("key", &settings.key, &e))?;
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable(&e))?;
        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let what = "certificates of issuers";
                let mut roots = RootCertStore::empty();
                for root in certificates(what, path)?.1 {
                    roots.add(root).map_err(|e| read(what, path, &e))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|e| read(what, path, &e))?)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|e| unusable(&e))?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            // A client that could do without encryption could do without a certificate.
            required: settings.required || settings.client_ca.is_some(),
            mutual: settings.client_ca.is_some(),
            certificate_pem,
        })
    }
}

/// Whose certificate a client showed: the one common name of its subject. The chain was verified when the connection
/// was made; `None` when there is no certificate, or not one such name.
pub fn common_name(chain: Option<&[CertificateDer<'_>]>) -> Option<String> {
    let certificate = X509Certificate::from_der(chain?.first()?.as_ref()).ok()?;
    let one = certificate.subject_name().iter_common_name().count() == 1;
    certificate.subject_common_name().filter(|_| one)
}

fn certificates(what: &'static str, path: &Path) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), TlsError> {
    let pem = std::fs::read(path).map_err(|e| read(what, path, &e))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| read(what, path, &e))?;
    if found.is_empty() {
        return Err(read(what, path, &"there is no certificate in it"));
    }
    Ok((pem, found))
}

fn read(what: &'static str, path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::Read { what, path: path.to_owned(), why: why.to_string() }
}
