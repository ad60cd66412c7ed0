//! Qwen3.5 and 3.6, dense or with experts: Qwen3-Next's blocks, with a matrix for each of a gated delta net's projections.

use super::qwen3_next;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::config::HybridConfig;
use crate::engine::model::gated_delta_net::GatedDeltaNet;
use crate::engine::model::transformer_block::{TokenMixer, TransformerBlock};
use crate::engine::model::weights::Weights;

/// A gated delta net or attention, and experts or a dense MLP.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &HybridConfig,
) -> Result<TransformerBlock, EngineError> {
    let mixer = if own.recurrent[layer] {
        TokenMixer::GatedDelta(Box::new(GatedDeltaNet::load_apart(weights, layer, config, own.delta)?))
    } else {
        TokenMixer::Attention(Box::new(qwen3_next::attention(weights, layer, config)?))
    };
    let feed_forward = qwen3_next::feed_forward(weights, layer, config, own)?;
    TransformerBlock::load_mixed(weights, layer, config, mixer, feed_forward)
}
