//! How the transformer blocks of the model families differ; apart from them, all families are decoders of the shape of
//! [`super::Model`].
//!
//! A new family is a new file here, a line below, and a variant of [`Family`].

mod gemma4;
mod glm4_moe;
mod glm4_moe_lite;
mod gpt_oss;
mod llama;
mod minimax;
mod mistral;
mod qwen2;
mod qwen3;
mod qwen3_5;
mod qwen3_moe;
mod qwen3_next;

use super::Config;
use super::config::Family;
use super::transformer_block::TransformerBlock;
use super::weights::Weights;
use crate::engine::EngineError;

/// Loads one transformer block.
pub(super) fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<TransformerBlock, EngineError> {
    match &config.family {
        Family::Llama(own) => llama::block(weights, layer, config, own),
        Family::Mistral => mistral::block(weights, layer, config),
        Family::Qwen2 => qwen2::block(weights, layer, config),
        Family::Qwen3 => qwen3::block(weights, layer, config),
        Family::Qwen3Moe(own) => qwen3_moe::block(weights, layer, config, own),
        Family::Qwen3Next(own) => qwen3_next::block(weights, layer, config, own),
        Family::MiniMax(own) => minimax::block(weights, layer, config, own),
        Family::GptOss(experts) => gpt_oss::block(weights, layer, config, experts),
        Family::Gemma4(own) => gemma4::block(weights, layer, config, own),
        Family::Glm4MoeLite(own) => glm4_moe_lite::block(weights, layer, config, own),
        Family::Glm4Moe(own) => glm4_moe::block(weights, layer, config, own),
        Family::Qwen3_5(own) => qwen3_5::block(weights, layer, config, own),
    }
}
