//! Qwen2 and Qwen2.5 (and R1 distills built on them): Q, K and V projections have a bias.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::{Attention, AttentionBias};
use crate::engine::model::layers::Mlp;
use crate::engine::model::transformer_block::{FeedForward, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention and a dense MLP.
pub(super) fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<TransformerBlock, EngineError> {
    let path = format!("model.layers.{layer}");
    let bias = AttentionBias { qkv: true, output: false };
    let attention = Attention::load(weights, layer, config, bias)?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, false)?;
    TransformerBlock::load(weights, layer, config, attention, FeedForward::Dense(mlp))
}
