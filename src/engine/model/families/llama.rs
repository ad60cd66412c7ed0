//! Llama 2 and 3, and models built on them (Hermes 3, some of DeepSeek's R1 distills): biases where the configuration says so.

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::{Attention, AttentionBias};
use crate::engine::model::config::LlamaConfig;
use crate::engine::model::layers::Mlp;
use crate::engine::model::transformer_block::{FeedForward, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention and a dense MLP.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &LlamaConfig,
) -> Result<TransformerBlock, EngineError> {
    let bias = AttentionBias { qkv: own.attention_bias, output: own.attention_bias };
    let path = format!("model.layers.{layer}");
    let attention = Attention::load(weights, layer, config, bias)?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, own.mlp_bias)?;
    TransformerBlock::load(weights, layer, config, attention, FeedForward::Dense(mlp))
}
