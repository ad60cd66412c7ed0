//! Llama 2 and 3, and what is built on them (Hermes 3, some of DeepSeek's R1 distills).

use serde::Deserialize;

use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::block::{Block, Feed};
use crate::engine::model::layers::{Attention, AttentionBias, Mlp};
use crate::engine::model::weights::Weights;

/// What only Llama's configurations say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Arguments {
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
}

/// Attention and gated MLP, each after a norm.
pub fn block(weights: &mut Weights, layer: usize, config: &Config, arguments: &Arguments) -> Result<Block, EngineError> {
    let bias = AttentionBias { qkv: arguments.attention_bias, output: arguments.attention_bias };
    let path = format!("model.layers.{layer}");
    let attention = Attention::load(weights, layer, config, bias)?;
    let mlp = Mlp::load(weights, &format!("{path}.mlp"), config, arguments.mlp_bias)?;
    Block::load(weights, &path, config, attention, Feed::Dense(mlp))
}
