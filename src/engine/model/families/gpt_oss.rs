//! gpt-oss: attention with biases and a sink for each head, within a window in every other layer; in every layer experts with
//! biases and clamped SwiGLU, weighed by the softmax over the chosen.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::{Attention, AttentionBias};
use crate::engine::model::config::ExpertConfig;
use crate::engine::model::experts::{ExpertMlps, Experts, Router, Scoring};
use crate::engine::model::transformer_block::{FeedForward, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention and experts.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    experts: &ExpertConfig,
) -> Result<TransformerBlock, EngineError> {
    let path = format!("model.layers.{layer}");
    let mut attention = Attention::load(weights, layer, config, AttentionBias { qkv: true, output: true })?;
    attention.sinks = Some(weights.vector(&format!("{path}.self_attn.sinks"), config.heads)?);
    let router = Router::load(weights, &format!("{path}.mlp.router"), config, experts, Scoring::SoftmaxOfChosen)?;
    let mlps = ExpertMlps::load_clamped(weights, &format!("{path}.mlp.experts"), config, experts)?;
    let experts = Experts::new(router, mlps);
    TransformerBlock::load(weights, layer, config, attention, FeedForward::Experts(Box::new(experts)))
}
