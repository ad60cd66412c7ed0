//! The certificates of a file, such as those of a company's own authority, and whether one is missing.

use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use reqwest::Certificate;
use rustls::CertificateError;

use super::error::RecordError;

/// Reads the certificates of a PEM file.
///
/// # Errors
/// The file cannot be read, or has no certificates.
pub fn read_authorities(file: &Path) -> Result<Vec<Certificate>, RecordError> {
    let refuse = |reason: String| RecordError::Authorities { file: file.to_owned(), reason };
    let pem = fs::read(file).map_err(|error| refuse(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => Err(refuse("it has no certificate".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(refuse(error.to_string())),
    }
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CertificateFault {
    /// Nobody who is trusted vouches for it.
    UnknownAuthority,
    /// Anything else: it has expired, or is for another name.
    Other,
}

impl CertificateFault {
    /// `None` if the error has nothing to do with a certificate.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            match error.downcast_ref::<rustls::Error>() {
                Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => return Some(Self::UnknownAuthority),
                Some(rustls::Error::InvalidCertificate(_)) => return Some(Self::Other),
                _ => {}
            }
            // A system's error does not name what it holds as its source.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(held) => Some(held),
                None => error.source(),
            };
        }
        None
    }
}
