//! Mistral: Llama's block without biases, in which a token may see only a window of tokens.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::{Block, Feed};
use crate::engine::model::layers::{Attention, AttentionBias, Mlp};
use crate::engine::model::weights::Weights;

/// Attention within the layer's window and gated MLP, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<Block, EngineError> {
    let path = format!("model.layers.{layer}");
    let attention = Attention::load(weights, layer, config, AttentionBias { qkv: false, output: false })?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, false)?;
    Block::load(weights, &path, config, attention, Feed::Dense(mlp))
}
