//! MiniMax-M2: attention with norms over all heads' queries and over all heads' keys, which turns a part of each head; in every
//! layer experts that are chosen by sigmoids.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::{Attention, AttentionBias};
use crate::engine::model::config::MiniMaxConfig;
use crate::engine::model::experts::{Experts, Scoring, SigmoidRounding};
use crate::engine::model::layers::RmsNorm;
use crate::engine::model::transformer_block::{FeedForward, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention and experts.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &MiniMaxConfig,
) -> Result<TransformerBlock, EngineError> {
    let mut attention = Attention::load(weights, layer, config, AttentionBias { qkv: false, output: false })?;
    if own.use_qk_norm {
        let mut norm = |name: &str, heads: usize| {
            RmsNorm::load(weights, &format!("model.layers.{layer}.self_attn.{name}"), heads * config.head_dim, config)
        };
        attention = attention.with_norms(norm("q_norm", config.heads)?, norm("k_norm", config.kv_heads)?);
    }
    let path = format!("model.layers.{layer}.block_sparse_moe");
    let correction = format!("{path}.e_score_correction_bias");
    let scoring = Scoring::sigmoid(weights, &correction, &own.experts, &own.routing, SigmoidRounding::Weights)?;
    let experts = Experts::load(weights, &path, config, &own.experts, scoring)?;
    TransformerBlock::load(weights, layer, config, attention, FeedForward::Experts(Box::new(experts)))
}
