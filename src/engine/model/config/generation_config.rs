//! A model's `generation_config.json`: the sampling defaults that it recommends.

use std::path::Path;

use serde::Deserialize;

use crate::engine::EngineError;
use crate::engine::model::json_file::read_json;

/// Sampling parameters for requests that do not set their own.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct GenerationConfig {
    /// `false`: greedy.
    pub do_sample: Option<bool>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    /// Values below 1 mean all tokens.
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
}

impl GenerationConfig {
    /// Reads `generation_config.json` of a model folder; without that file, everything is `None`.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join("generation_config.json");
        if path.exists() { read_json(&path) } else { Ok(Self::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_generation_config_has_no_defaults() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(GenerationConfig::load(dir.path()).unwrap(), GenerationConfig::default());
    }
}
