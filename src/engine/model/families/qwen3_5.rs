//! Qwen3.5 and 3.6, dense or with experts: Qwen3-Next's blocks, with a matrix for each of a gated delta net's projections.

use super::qwen3_next;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::config::HybridConfig;
use crate::engine::model::gated_delta_net::GatedDeltaNet;
use crate::engine::model::transformer_block::TransformerBlock;
use crate::engine::model::weights::Weights;

/// A gated delta net or attention, and experts or a dense MLP.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &HybridConfig,
) -> Result<TransformerBlock, EngineError> {
    qwen3_next::block_with(weights, layer, config, own, GatedDeltaNet::load_apart)
}
