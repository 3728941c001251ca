//! libpq's sslmodes as rustls configurations.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::settings::SslMode;

/// Why the CA file of `sslmode: verify-*` cannot be used.
#[derive(Debug)]
pub enum TlsError {
    Read { path: PathBuf, source: pem::Error },
    Certificate { path: PathBuf, source: Error },
    Empty { path: PathBuf },
    Setup(Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, what) = match self {
            TlsError::Read { path, .. } => (path, "is not a PEM file that can be read"),
            TlsError::Certificate { path, .. } => (path, "has a certificate that is not valid"),
            TlsError::Empty { path } => (path, "has no certificate in it"),
            TlsError::Setup(_) => return f.write_str("TLS cannot be set up"),
        };
        write!(f, "probe.sslrootcert: {} {what}", path.display())
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::Read { source, .. } => Some(source),
            TlsError::Certificate { source, .. } | TlsError::Setup(source) => Some(source),
            TlsError::Empty { .. } => None,
        }
    }
}

/// `None` for `disable`.
pub(super) fn client_config(mode: &SslMode) -> Result<Option<ClientConfig>, TlsError> {
    let trust = match mode {
        SslMode::Disable => return Ok(None),
        SslMode::Prefer | SslMode::Require => Trust::Anyone,
        SslMode::VerifyCa(ca) => Trust::Signed { by: Authorities::read(ca)?, name: false },
        SslMode::VerifyFull(ca) => Trust::Signed { by: Authorities::read(ca)?, name: true },
    };
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Verifier { trust, algorithms: algorithms(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Some(config))
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

/// Whose word is taken for who the server is.
#[derive(Debug)]
enum Trust {
    /// `prefer` and `require`: encryption against listeners, no proof of identity.
    Anyone,
    /// `verify-ca`, and `verify-full` with the name checked too.
    Signed { by: Authorities, name: bool },
}

#[derive(Debug)]
struct Authorities {
    roots: RootCertStore,
    /// The file's certificates as they are: a self-signed server certificate may be its own root,
    /// which libpq accepts and the usual verification does not.
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    fn read(path: &Path) -> Result<Self, TlsError> {
        let unreadable = |source| TlsError::Read { path: path.to_owned(), source };
        let certificates: Vec<_> =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable)?;
        if certificates.is_empty() {
            return Err(TlsError::Empty { path: path.to_owned() });
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let invalid = |source| TlsError::Certificate { path: path.to_owned(), source };
            roots.add(certificate.clone()).map_err(invalid)?;
        }
        Ok(Authorities { roots, certificates })
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Signed { by, name } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !by.certificates.iter().any(|trusted| trusted == end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &by.roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if *name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // Whoever it is, it must have the key of the certificate that it shows.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
