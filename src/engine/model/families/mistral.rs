//! Mistral, Ministral 3 and Devstral Small 2: Llama's transformer block without biases, often with sliding-window attention. That
//! Ministral's queries grow with their position is said by its RoPE's configuration.

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
