//! Qwen2 and Qwen2.5 (and the R1 distills on them): queries, keys and values have a bias.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::{Block, Feed};
use crate::engine::model::layers::{Attention, AttentionBias, Mlp};
use crate::engine::model::weights::Weights;

/// Attention and gated MLP, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<Block, EngineError> {
    let path = format!("model.layers.{layer}");
    let bias = AttentionBias { qkv: true, output: false };
    let attention = Attention::load(weights, layer, config, bias)?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, false)?;
    Block::load(weights, &path, config, attention, Feed::Dense(mlp))
}
