//! TLS of both sides, from the files that the configuration names.
//!
//! The system's authorities and, besides, `tlsclient.cacertfile`. Invariant: verification is left out only where
//! `checkcert` is false and mutual TLS is not wanted.

use super::config::Section;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// What clients need, read when the first one asks.
pub struct Tls {
    cacertfile: PathBuf,
    /// It, when it is there.
    authorities: OnceLock<Option<PathBuf>>,
    mutual: Files,
    roots: OnceLock<Result<Arc<RootCertStore>, String>>,
}

/// Files of one identity.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authorities: PathBuf,
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path)
        .map_err(|error| failed(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(&error))?;
    if found.is_empty() { Err(failed(&"no certificate in PEM form is in it")) } else { Ok(found) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(ring::default_provider())).clone()
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

impl Tls {
    pub fn new(core: &Section) -> Arc<Tls> {
        let directory = Path::new(core.text("mutualtlsfilespath"));
        let file = |key: &str, name: &str| match core.text(key) {
            "" => directory.join(name),
            path => PathBuf::from(path),
        };
        Arc::new(Tls {
            cacertfile: core.text("tlsclient.cacertfile").into(),
            authorities: OnceLock::new(),
            mutual: Files {
                certificate: file("mutualtlsclient.certfile", "client.crt"),
                key: file("mutualtlsclient.keyfile", "client.key"),
                authorities: file("mutualtlsclient.cacertfile", "ca.crt"),
            },
            roots: OnceLock::new(),
        })
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, String> {
        let read = || {
            let mut roots = RootCertStore::empty();
            // Some of the system's certificates may be of a form that is not understood.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if let Some(path) = self.authorities() {
                add(&mut roots, path).map_err(|error| format!("tlsclient.cacertfile: {error}"))?;
            }
            Ok(Arc::new(roots))
        };
        self.roots.get_or_init(read).clone()
    }

    /// The file of further authorities. One that is not there is no error, for Falcosidekick's example of a configuration names
    /// one: without it fewer servers are believed, not more.
    pub fn authorities(&self) -> Option<&Path> {
        let look = || {
            let path = Some(&self.cacertfile).filter(|path| !path.as_os_str().is_empty())?;
            if matches!(path.try_exists(), Ok(false)) {
                let path = path.display();
                tracing::warn!(
                    "tlsclient.cacertfile: there is no {path}: only servers of the system's authorities are accepted"
                );
                return None;
            }
            Some(path.clone())
        };
        self.authorities.get_or_init(look).as_deref()
    }

    /// The identity of mutual TLS.
    pub fn mutual(&self) -> &Files {
        &self.mutual
    }

    /// For a client. `mutual` overrides `check`, and `files` the identity that `mutualtlsclient` names.
    pub fn client(&self, check: bool, mutual: bool, files: Option<&Files>) -> Result<ClientConfig, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        if mutual {
            let files = files.unwrap_or(&self.mutual);
            let mut roots = RootCertStore::empty();
            add(&mut roots, &files.authorities)?;
            return builder
                .with_root_certificates(roots)
                .with_client_auth_cert(certificates(&files.certificate)?, key(&files.key)?)
                .map_err(|error| format!("{}: {error}", files.certificate.display()));
        }
        if check {
            return Ok(builder.with_root_certificates(self.roots()?).with_no_client_auth());
        }
        Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified)).with_no_client_auth())
    }
}

/// For a client of one server, from PEM texts: its authorities (the system's where none are given), and a certificate with
/// its key. Without `check` whoever answers is believed.
pub fn client_of(
    authorities: Option<&[u8]>,
    certificate: Option<(&[u8], &[u8])>,
    check: bool,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if check {
        let mut roots = RootCertStore::empty();
        match authorities {
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Some(pem) => {
                for found in CertificateDer::pem_slice_iter(pem) {
                    let added = found.map_err(|error| error.to_string()).map(|found| roots.add(found));
                    added?.map_err(|error| format!("certificate authority: {error}"))?;
                }
            }
        }
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified))
    };
    let Some((certificate, key)) = certificate else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("client certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("client key: {error}"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| format!("client certificate: {error}"))
}

/// For the server; with `mutual`, clients must have a certificate of the authorities. `protocol`: what is spoken, by the
/// name TLS has for it.
pub fn server(files: &Files, mutual: bool, protocol: &[u8]) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        add(&mut roots, &files.authorities)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| format!("{}: {error}", files.authorities.display()))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder
        .with_single_cert(certificates(&files.certificate)?, key(&files.key)?)
        .map_err(|error| format!("{}: {error}", files.certificate.display()))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// `checkcert: false`: whoever answers is believed.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
