//! Qwen3-Next and Qwen3-Coder-Next: three gated delta nets, then attention, in turn. Attention has norms on queries and keys,
//! rotates only the first dimensions of a head and gates its output. Experts, beside one that computes every token.

use super::qwen3;
use crate::engine::EngineError;
use crate::engine::model::Config;
use crate::engine::model::attention::Attention;
use crate::engine::model::config::{DeltaConfig, HybridConfig, SharedExpertConfig};
use crate::engine::model::experts::{Experts, Scoring, SharedExpert};
use crate::engine::model::gated_delta_net::GatedDeltaNet;
use crate::engine::model::layers::Mlp;
use crate::engine::model::transformer_block::{FeedForward, TokenMixer, TransformerBlock};
use crate::engine::model::weights::Weights;

/// A gated delta net or attention, and experts or a dense MLP.
pub(super) fn block(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &HybridConfig,
) -> Result<TransformerBlock, EngineError> {
    block_with(weights, layer, config, own, GatedDeltaNet::load_by_key_head)
}

/// Loads a gated delta net of this layer and these sizes.
pub(super) type LoadDeltaNet = fn(&mut Weights, usize, &Config, DeltaConfig) -> Result<GatedDeltaNet, EngineError>;

/// The same block, where the projections of its gated delta net may be kept in another way.
pub(super) fn block_with(
    weights: &mut Weights,
    layer: usize,
    config: &Config,
    own: &HybridConfig,
    load_delta_net: LoadDeltaNet,
) -> Result<TransformerBlock, EngineError> {
    let mixer = if own.recurrent[layer] {
        TokenMixer::GatedDelta(Box::new(load_delta_net(weights, layer, config, own.delta)?))
    } else {
        TokenMixer::Attention(Box::new(attention(weights, layer, config)?))
    };
    let feed_forward = feed_forward(weights, layer, config, own)?;
    TransformerBlock::load_mixed(weights, layer, config, mixer, feed_forward)
}

/// Attention with query and key norms and output gates.
fn attention(weights: &mut Weights, layer: usize, config: &Config) -> Result<Attention, EngineError> {
    let gated = Attention::load_gated(weights, layer, config)?;
    let (query, key) = qwen3::norms(weights, layer, config)?;
    Ok(gated.with_norms(query, key))
}

/// Experts beside a shared one, where the layer has them; else a dense MLP.
fn feed_forward(weights: &mut Weights, layer: usize, config: &Config, own: &HybridConfig) -> Result<FeedForward, EngineError> {
    let path = format!("model.layers.{layer}.mlp");
    match &own.experts {
        Some(SharedExpertConfig { routed, shared_width }) if routed.has_experts(layer) => {
            let experts = Experts::load(weights, &path, config, &routed.experts, Scoring::Softmax)?;
            let shared = SharedExpert::load_gated(weights, &path, config.hidden_size, *shared_width)?;
            Ok(FeedForward::Experts(Box::new(experts.with_shared(shared))))
        }
        _ => Ok(FeedForward::Dense(Mlp::load(weights, &path, config, false)?)),
    }
}
