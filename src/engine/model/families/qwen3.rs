//! Dense Qwen3: no biases; each head's queries and keys go through a norm.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::{Block, Feed};
use crate::engine::model::layers::{Attention, AttentionBias, Mlp, RmsNorm};
use crate::engine::model::weights::Weights;

/// Attention and gated MLP, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<Block, EngineError> {
    let path = format!("model.layers.{layer}");
    let attention = attention(weights, layer, config)?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, false)?;
    Block::load(weights, &path, config, attention, Feed::Dense(mlp))
}

/// Attention whose queries and keys are normed head by head.
pub fn attention(weights: &mut Weights, layer: usize, config: &Config) -> Result<Attention, EngineError> {
    let plain = Attention::load(weights, layer, config, AttentionBias { qkv: false, output: false })?;
    let mut norm =
        |name: &str| RmsNorm::load(weights, &format!("model.layers.{layer}.self_attn.{name}"), config.head_dim, config);
    Ok(Attention { norms: Some((norm("q_norm")?, norm("k_norm")?)), ..plain })
}
