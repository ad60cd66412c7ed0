//! Reading a JSON file of a model folder.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::engine::EngineError;

/// Reads and parses the file; the error names it.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, EngineError> {
    let failed = |reason: String| EngineError::ModelFile { path: path.into(), reason };
    let text = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))
}
