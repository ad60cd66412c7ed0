//! The families of models: what each says about its blocks. The one place that chooses by `model_type`.
//!
//! All are decoders of the same shape (embedding, blocks, norm, head), which [`super::Model`] is; a new family is a new
//! file here and a line in each function below.

mod llama;
mod mistral;
mod qwen2;
mod qwen3;
mod qwen3_moe;

pub use qwen3_moe::Arguments as ExpertArguments;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Config;
use super::block::Block;
use super::weights::Weights;
use crate::engine::EngineError;

/// A family, with what only its own configurations say.
#[derive(Clone, Debug, PartialEq)]
pub enum Family {
    Llama(llama::Arguments),
    Mistral,
    Qwen2,
    Qwen3,
    Qwen3Moe(qwen3_moe::Arguments),
}

const KNOWN: &str = "the engine runs llama, mistral, qwen2, qwen3 and qwen3_moe";

impl Family {
    /// What a `config.json` says; the error names what is unknown or missing.
    pub fn parse(config: &Value) -> Result<Self, String> {
        match config.get("model_type").and_then(Value::as_str) {
            Some("llama") => arguments(config).map(Self::Llama),
            Some("mistral") => Ok(Self::Mistral),
            Some("qwen2") => Ok(Self::Qwen2),
            Some("qwen3") => Ok(Self::Qwen3),
            Some("qwen3_moe") => qwen3_moe::Arguments::parse(config).map(Self::Qwen3Moe),
            Some(other) => Err(format!("model_type {other:?} is not supported; {KNOWN}")),
            None => Err(format!("model_type is missing; {KNOWN}")),
        }
    }

    /// Loads one block's weights.
    pub fn block(&self, weights: &mut Weights, layer: usize, config: &Config) -> Result<Block, EngineError> {
        match self {
            Self::Llama(arguments) => llama::block(weights, layer, config, arguments),
            Self::Mistral => mistral::block(weights, layer, config),
            Self::Qwen2 => qwen2::block(weights, layer, config),
            Self::Qwen3 => qwen3::block(weights, layer, config),
            Self::Qwen3Moe(arguments) => qwen3_moe::block(weights, layer, config, arguments),
        }
    }
}

fn arguments<T: DeserializeOwned>(config: &Value) -> Result<T, String> {
    serde_json::from_value(config.clone()).map_err(|e| e.to_string())
}
