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
    /// Unless `do_sample` is `false`; 0: greedy.
    pub temperature: Option<f32>,
    /// Only the likeliest tokens that together have this probability; 1: all tokens.
    pub top_p: Option<f32>,
    /// Values below 1 mean all tokens.
    pub top_k: Option<i64>,
    /// Only tokens with at least this share of the likeliest token's probability; 0: all tokens.
    pub min_p: Option<f32>,
    /// Divides positive logits of tokens that were there before, and multiplies negative ones; 1: none.
    pub repetition_penalty: Option<f32>,
}

impl GenerationConfig {
    /// The file's name in a model folder.
    pub const FILE: &str = "generation_config.json";

    /// Reads the file of a model folder; without it, everything is `None`.
    pub fn load(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join(Self::FILE);
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
