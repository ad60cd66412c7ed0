//! GLM-4.5 to 4.7: attention that turns a part of each head, with biases and, in the larger models, norms on queries and keys;
//! after the first layers experts that are chosen by sigmoids, beside one for all tokens.

use super::qwen3;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::{Attention, AttentionBias};
use crate::engine::model::config::{Glm4MoeConfig, GlmExpertConfig};
use crate::engine::model::experts::{Experts, Scoring, SharedExpert, SigmoidRounding};
use crate::engine::model::layers::Mlp;
use crate::engine::model::transformer_block::{FeedForward, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention, and experts or a dense MLP.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &Glm4MoeConfig,
) -> Result<TransformerBlock, EngineError> {
    let mut attention = Attention::load(weights, layer, config, AttentionBias { qkv: own.attention_bias, output: false })?;
    if own.use_qk_norm {
        let (query, key) = qwen3::norms(weights, layer, config)?;
        attention = attention.with_norms(query, key);
    }
    let feed_forward = feed_forward(weights, layer, config, &own.feed_forward)?;
    TransformerBlock::load(weights, layer, config, attention, feed_forward)
}

/// A dense MLP in the first layers, else experts.
pub(super) fn feed_forward(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &GlmExpertConfig,
) -> Result<FeedForward, EngineError> {
    let path = format!("model.layers.{layer}.mlp");
    if layer < own.first_k_dense_replace {
        return Ok(FeedForward::Dense(Mlp::load(weights, &path, config, false)?));
    }
    let correction = format!("{path}.gate.e_score_correction_bias");
    let scoring = Scoring::sigmoid(weights, &correction, &own.experts, &own.routing, SigmoidRounding::Scores)?;
    let experts = Experts::load(weights, &path, config, &own.experts, scoring)?;
    let shared_width = own.experts.moe_intermediate_size * own.n_shared_experts.unwrap_or(0);
    if shared_width == 0 {
        return Ok(FeedForward::Experts(Box::new(experts)));
    }
    let shared = SharedExpert::load(weights, &path, config.hidden_size, shared_width)?;
    Ok(FeedForward::Experts(Box::new(experts.with_shared(shared))))
}
