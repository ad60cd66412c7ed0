//! Dense Qwen3: no biases; an RMSNorm on each head's query and key, before RoPE.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::{Attention, AttentionBias};
use crate::engine::model::layers::{Mlp, RmsNorm};
use crate::engine::model::transformer_block::{FeedForward, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention and a dense MLP.
pub(super) fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<TransformerBlock, EngineError> {
    let path = format!("model.layers.{layer}");
    let attention = attention(weights, layer, config)?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, false)?;
    TransformerBlock::load(weights, layer, config, attention, FeedForward::Dense(mlp))
}

/// Attention with query and key norms.
pub(super) fn attention(weights: &mut Weights, layer: usize, config: &Config) -> Result<Attention, EngineError> {
    let plain = Attention::load(weights, layer, config, AttentionBias { qkv: false, output: false })?;
    let (query, key) = norms(weights, layer, config)?;
    Ok(plain.with_norms(query, key))
}

/// The norms of queries and of keys.
pub(super) fn norms(weights: &mut Weights, layer: usize, config: &Config) -> Result<(RmsNorm, RmsNorm), EngineError> {
    let mut norm =
        |name: &str| RmsNorm::load(weights, &format!("model.layers.{layer}.self_attn.{name}"), config.head_dim, config);
    Ok((norm("q_norm")?, norm("k_norm")?))
}
