//! The certificates of a file, such as those of a company's own authority.

use std::fs;
use std::path::Path;

use reqwest::Certificate;

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
