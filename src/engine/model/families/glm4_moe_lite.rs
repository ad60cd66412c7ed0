//! GLM-4.7-Flash: attention through a latent space, and the experts of the larger GLMs.

use super::glm4_moe;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::LatentAttention;
use crate::engine::model::config::GlmLiteConfig;
use crate::engine::model::transformer_block::{TokenMixer, TransformerBlock};
use crate::engine::model::weights::Weights;

/// Attention through a latent space, and experts or a dense MLP.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &GlmLiteConfig,
) -> Result<TransformerBlock, EngineError> {
    let mixer = TokenMixer::Latent(Box::new(LatentAttention::load(weights, layer, config, own.latent)?));
    let feed_forward = glm4_moe::feed_forward(weights, layer, config, &own.feed_forward)?;
    TransformerBlock::load_mixed(weights, layer, config, mixer, feed_forward)
}
