//! The header of a safetensors file: what the file holds, without reading its numbers.
//!
//! The format: 8 bytes, the little-endian length of the header; the header, which is JSON; then the numbers of all tensors.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use crate::files::open_regular;

/// Bytes before the header.
const LENGTH_BYTES: u64 = 8;

/// The format's own limit of a header, in bytes.
const HEADER_LIMIT: u64 = 100_000_000;

/// The header of a safetensors file, read.
#[derive(Debug)]
pub(crate) struct TensorFile {
    /// Size of the file, in bytes.
    pub bytes: u64,
    /// Free text by name.
    #[cfg_attr(not(feature = "mlx"), allow(dead_code, reason = "only the engine reads it"))]
    pub metadata: HashMap<String, String>,
    /// The shapes of all tensors, in no order.
    pub shapes: Vec<Vec<u64>>,
}

/// Why a file is no whole safetensors file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TensorFileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the file is cut: {bytes} bytes of {needed}")]
    Cut { bytes: u64, needed: u64 },
    #[error("not a safetensors file: its header would have {0} bytes")]
    HeaderLength(u64),
    #[error("not a safetensors file: {0}")]
    Header(serde_json::Error),
}

#[derive(Deserialize)]
struct Header {
    /// MLX writes `null` if there is none.
    #[serde(rename = "__metadata__")]
    metadata: Option<HashMap<String, String>>,
    #[serde(flatten)]
    tensors: HashMap<String, TensorEntry>,
}

#[derive(Deserialize)]
struct TensorEntry {
    shape: Vec<u64>,
    /// First byte and end, counted from the end of the header.
    data_offsets: (u64, u64),
}

impl TensorFile {
    /// Reads a file's header and checks that the file is as long as the header says.
    pub(crate) fn open(path: &Path) -> Result<Self, TensorFileError> {
        let mut file = open_regular(path)?;
        let bytes = file.metadata()?.len();
        let check = |needed: u64| if needed > bytes { Err(TensorFileError::Cut { bytes, needed }) } else { Ok(()) };
        check(LENGTH_BYTES)?;
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_LIMIT {
            return Err(TensorFileError::HeaderLength(length));
        }
        check(LENGTH_BYTES + length)?;
        let mut header = Vec::new();
        file.take(length).read_to_end(&mut header)?;
        let Header { metadata, tensors } = serde_json::from_slice(&header).map_err(TensorFileError::Header)?;
        let data_bytes = tensors.values().map(|tensor| tensor.data_offsets.1).max().unwrap_or(0);
        check((LENGTH_BYTES + length).saturating_add(data_bytes))?;
        let metadata = metadata.unwrap_or_default();
        Ok(Self { bytes, metadata, shapes: tensors.into_values().map(|tensor| tensor.shape).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
    }

    fn open(bytes: &[u8]) -> Result<TensorFile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        std::fs::write(&path, bytes).unwrap();
        TensorFile::open(&path).map_err(|error| error.to_string())
    }

    const TWO: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3,4],"data_offsets":[0,48]},"b":{"dtype":"F32","shape":[5],"data_offsets":[48,68]}}"#;

    #[test]
    fn a_header_says_what_the_file_holds() {
        let mut found = open(&file(TWO, 68)).unwrap();
        found.shapes.sort();
        assert_eq!((found.bytes, found.metadata["format"].as_str()), (8 + TWO.len() as u64 + 68, "pt"));
        assert_eq!(found.shapes, [vec![3, 4], vec![5]]);
        for header in ["{}", r#"{"__metadata__":null}"#] {
            assert!(open(&file(header, 0)).unwrap().metadata.is_empty());
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = file(TWO, 68);
        for length in 0..whole.len() {
            let error = open(&whole[..length]).unwrap_err();
            assert!(error.starts_with(&format!("the file is cut: {length} bytes of ")), "{error}");
        }
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(open(&[255; 20]).unwrap_err(), format!("not a safetensors file: its header would have {} bytes", u64::MAX));
        let error = open(&file("[1]", 0)).unwrap_err();
        insta::assert_snapshot!(error, @"not a safetensors file: invalid type: sequence, expected struct Header at line 1 column 0");
    }
}
