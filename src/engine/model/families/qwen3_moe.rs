//! Qwen3 with a mixture of experts (Qwen3-30B-A3B, Qwen3-Coder): Qwen3's attention, and experts in place of the MLP.

use super::qwen3;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::config::Qwen3MoeConfig;
use crate::engine::model::experts::{Experts, Scoring};
use crate::engine::model::layers::Mlp;
use crate::engine::model::transformer_block::{FeedForward, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention, and experts or a dense MLP.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &Qwen3MoeConfig,
) -> Result<TransformerBlock, EngineError> {
    let attention = qwen3::attention(weights, layer, config)?;
    let mlp = format!("model.layers.{layer}.mlp");
    let feed_forward = if own.has_experts(layer) {
        FeedForward::Experts(Box::new(Experts::load(weights, &mlp, config, &own.experts, Scoring::Softmax)?))
    } else {
        FeedForward::Dense(Mlp::load(weights, &mlp, config, false)?)
    };
    TransformerBlock::load(weights, layer, config, attention, feed_forward)
}
