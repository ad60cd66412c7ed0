//! Mistral: Llama's transformer block without biases, usually with sliding-window attention.

use super::llama;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::config::LlamaConfig;
use crate::engine::model::transformer_block::TransformerBlock;
use crate::engine::model::weights::Weights;

/// Attention within the layer's window and a dense MLP.
pub(super) fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<TransformerBlock, EngineError> {
    llama::block(weights, layer, config, &LlamaConfig::default())
}
