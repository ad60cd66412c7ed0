//! Dense Qwen3: no biases; each head's queries and keys go through a norm.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::{Block, Feed};
use crate::engine::model::layers::{Attention, AttentionBias, Mlp, RmsNorm};
use crate::engine::model::weights::Weights;

/// Attention and gated MLP, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<Block, EngineError> {
    let path = format!("model.layers.{layer}");
    let attention = attention(weights, &format!("{path}.self_attn"), config)?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, false)?;
    Block::load(weights, &path, config, attention, Feed::Dense(mlp))
}

/// Attention whose queries and keys are normed head by head.
pub fn attention(weights: &mut Weights, path: &str, config: &Config) -> Result<Attention, EngineError> {
    let plain = Attention::load(weights, path, config, AttentionBias { qkv: false, output: false })?;
    let query_norm = RmsNorm::load(weights, &format!("{path}.q_norm"), config.head_dim, config)?;
    let key_norm = RmsNorm::load(weights, &format!("{path}.k_norm"), config.head_dim, config)?;
    Ok(Attention { norms: Some((query_norm, key_norm)), ..plain })
}
