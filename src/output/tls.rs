//! Certificates and keys that outputs are configured with. Every error names the output, the key of the configuration and the file.

use super::http::Authorities;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs;
use std::path::{Path, PathBuf};
use ureq::tls::{PemItem, parse_pem};

/// Files in the folder of authorities that are longer than this are none.
const LONGEST_PEM: u64 = 4 << 20;

/// The certificates of those who may vouch for a server, at least one.
pub fn authorities(output: &str, from: &Authorities) -> Result<Vec<CertificateDer<'static>>, String> {
    match from {
        Authorities::File(path) => certificates(output, "the authority's certificate", path),
        Authorities::Folder(folder) => {
            let entries =
                fs::read_dir(folder).map_err(|error| format!("{output}.ca_path: {}: {error}", folder.display()))?;
            let is_short = |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= LONGEST_PEM);
            let mut found = Vec::new();
            let mut known = std::collections::HashSet::new();
            for path in entries.flatten().map(|entry| entry.path()).filter(is_short) {
                // What is no certificate is none of ours: keys, lists.
                let pem = fs::read(&path).unwrap_or_default();
                found.extend(in_pem(&pem).filter(|certificate| known.insert(certificate.to_vec())));
            }
            if found.is_empty() {
                let hint = format!("install ca-certificates, or name the authority with {output}.ca_cert");
                return Err(format!("{output}.ca_path: no certificate in {}: {hint}", folder.display()));
            }
            Ok(found)
        }
    }
}

/// Certificates and key of a client, which belong together.
pub fn client(
    output: &str,
    certificate: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = certificates(output, "client_cert", certificate)?;
    let failed = |error: &dyn std::fmt::Display| format!("{output}: client_key: {}: {error}", key.display());
    let pem = fs::read(key).map_err(|error| failed(&error))?;
    // What would be found out with the first connection only: whether the key is one, and the certificate's.
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| failed(&error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).map_err(|error| failed(&error))?;
    Ok((chain, key))
}

fn in_pem(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    parse_pem(pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(CertificateDer::from(certificate.der().to_vec())),
        _ => None,
    })
}

/// All certificates of a file, at least one.
fn certificates(output: &str, what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(path).map_err(|error| format!("{output}: {what}: {}: {error}", path.display()))?;
    let found: Vec<_> = in_pem(&pem).collect();
    if found.is_empty() {
        return Err(format!("{output}: {what}: {}: no PEM certificate in it", path.display()));
    }
    Ok(found)
}
