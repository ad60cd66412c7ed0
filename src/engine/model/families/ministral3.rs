//! Ministral 3 and Devstral Small 2: Mistral's transformer block, whose queries grow with their position (see
//! [`crate::engine::model::rope::QueryScaling`]).

use super::mistral;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::transformer_block::TransformerBlock;
use crate::engine::model::weights::Weights;

/// Attention within the layer's window and a dense MLP.
pub(super) fn block(weights: &mut Weights, layer: usize, config: &Config) -> Result<TransformerBlock, EngineError> {
    mistral::block(weights, layer, config)
}
