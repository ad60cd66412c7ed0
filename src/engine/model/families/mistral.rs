//! Mistral: Llama's block without biases, in which a token may see only a window of tokens.

use super::llama;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::Block;
use crate::engine::model::weights::Weights;

/// Attention within the layer's window and gated MLP, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<Block, EngineError> {
    llama::block(weights, layer, config, &llama::Arguments::default())
}
