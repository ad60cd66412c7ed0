//! The pre-norm transformer block: `x + mixer(norm(x))`, then `x + feed_forward(norm(x))`. What mixes tokens is attention, or a
//! recurrent layer.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::add;

use super::Config;
use super::attention::Attention;
use super::batch::Batch;
use super::experts::Experts;
use super::gated_delta_net::GatedDeltaNet;
use super::layers::{Mlp, RmsNorm};
use super::weights::Weights;
use crate::engine::EngineError;

/// One of a model's transformer blocks.
pub(super) struct TransformerBlock {
    mixer_norm: RmsNorm,
    mixer: TokenMixer,
    /// The layer's number among those whose mixer is of the same kind.
    slot: usize,
    feed_forward_norm: RmsNorm,
    feed_forward: FeedForward,
}

/// The part of a transformer block that lets tokens know of those before them.
pub(super) enum TokenMixer {
    Attention(Box<Attention>),
    GatedDelta(Box<GatedDeltaNet>),
}

/// The part of a transformer block that computes each token by itself.
pub(super) enum FeedForward {
    Dense(Mlp),
    Experts(Box<Experts>),
}

impl TransformerBlock {
    /// Joins the parts of a transformer block with attention with its norms, `model.layers.<layer>.input_layernorm` and
    /// `post_attention_layernorm`.
    pub(super) fn load(
        weights: &mut Weights,
        layer: usize,
        config: &Config,
        attention: Attention,
        feed_forward: FeedForward,
    ) -> Result<Self, EngineError> {
        Self::load_mixed(weights, layer, config, TokenMixer::Attention(Box::new(attention)), feed_forward)
    }

    /// The same with any mixer.
    pub(super) fn load_mixed(
        weights: &mut Weights,
        layer: usize,
        config: &Config,
        mixer: TokenMixer,
        feed_forward: FeedForward,
    ) -> Result<Self, EngineError> {
        let path = format!("model.layers.{layer}");
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), config.hidden_size, config);
        let (mixer_norm, feed_forward_norm) = (norm("input_layernorm")?, norm("post_attention_layernorm")?);
        Ok(Self { mixer_norm, mixer, slot: config.slot(layer), feed_forward_norm, feed_forward })
    }

    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches, or advances their states.
    pub(super) fn forward(&self, x: &Array, batch: &mut Batch) -> Result<Array, Exception> {
        let normed = self.mixer_norm.forward(x)?;
        let mixed = match &self.mixer {
            TokenMixer::Attention(attention) => attention.forward(&normed, self.slot, batch)?,
            TokenMixer::GatedDelta(net) => net.forward(&normed, self.slot, batch)?,
        };
        let x = add(x, mixed)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let output = match &self.feed_forward {
            FeedForward::Dense(mlp) => mlp.forward(&normed, batch.path())?,
            FeedForward::Experts(experts) => experts.forward(&normed, batch)?,
        };
        add(x, output)
    }

    /// Only appends the new keys and values to the caches, or advances their states.
    pub(super) fn fill(&self, x: &Array, batch: &mut Batch) -> Result<(), Exception> {
        let normed = self.mixer_norm.forward(x)?;
        match &self.mixer {
            TokenMixer::Attention(attention) => attention.fill(&normed, self.slot, batch),
            TokenMixer::GatedDelta(net) => net.forward(&normed, self.slot, batch).map(drop),
        }
    }
}
