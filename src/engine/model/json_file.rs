//! Reading a JSON file of a model folder.

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::engine::EngineError;
use crate::files::open_regular;

/// Reads and parses the file; the error names it.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, EngineError> {
    let failed = |reason: String| EngineError::ModelFile { path: path.into(), reason };
    let text = open_regular(path).and_then(io::read_to_string).map_err(|e| failed(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| failed(e.to_string()))
}
