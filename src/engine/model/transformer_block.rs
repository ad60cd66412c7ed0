//! The pre-norm transformer block: `x + mixer(norm(x))`, then `x + feed_forward(norm(x))`. What mixes tokens is attention, or a
//! recurrent layer. Gemma norms also what is added, and adds some more.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::{add, multiply};

use super::Config;
use super::activation::lazy_gelu;
use super::attention::{Attention, LatentAttention};
use super::batch::Batch;
use super::experts::Experts;
use super::gated_delta_net::GatedDeltaNet;
use super::layers::{Linear, Mlp, RmsNorm};
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
    additions: Additions,
}

/// What blocks of some families have besides.
#[derive(Default)]
pub(super) struct Additions {
    /// Norms of what the mixer and the feed-forward part add.
    pub output_norms: Option<(RmsNorm, RmsNorm)>,
    pub layer_input: Option<LayerInput>,
    /// Factor of the block's whole output, `[1]`.
    pub scale: Option<Array>,
}

/// What a block adds of its own input: `norm(projection(gelu(gate(x)) · input))`.
pub(super) struct LayerInput {
    /// `[P, D]`.
    pub gate: Linear,
    /// `[D, P]`.
    pub projection: Linear,
    pub norm: RmsNorm,
}

/// The part of a transformer block that lets tokens know of those before them.
pub(super) enum TokenMixer {
    Attention(Box<Attention>),
    Latent(Box<LatentAttention>),
    GatedDelta(Box<GatedDeltaNet>),
}

/// The part of a transformer block that computes each token by itself.
pub(super) enum FeedForward {
    Dense(Mlp),
    Experts(Box<Experts>),
    DenseAndExperts(Box<MlpAndExperts>),
}

/// An MLP and experts side by side, whose outputs are normed and added up.
pub(super) struct MlpAndExperts {
    pub mlp: Mlp,
    pub mlp_output_norm: RmsNorm,
    pub experts: Experts,
    pub experts_norm: RmsNorm,
    pub experts_output_norm: RmsNorm,
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
        let norms = [norm("input_layernorm")?, norm("post_attention_layernorm")?];
        Ok(Self::new(norms, mixer, config.slot(layer), feed_forward))
    }

    /// A block of its parts; the norms are those before mixer and feed-forward part. `slot`: see [`Config::slot`].
    pub(super) fn new(
        [mixer_norm, feed_forward_norm]: [RmsNorm; 2],
        mixer: TokenMixer,
        slot: usize,
        feed_forward: FeedForward,
    ) -> Self {
        Self { mixer_norm, mixer, slot, feed_forward_norm, feed_forward, additions: Additions::default() }
    }

    /// The same with what its family has besides.
    pub(super) fn with_additions(self, additions: Additions) -> Self {
        Self { additions, ..self }
    }

    /// Whether it has a state or keys and values of its own, which later tokens need.
    pub(super) fn remembers(&self) -> bool {
        match &self.mixer {
            TokenMixer::Attention(attention) => attention.own.is_some(),
            TokenMixer::Latent(_) | TokenMixer::GatedDelta(_) => true,
        }
    }

    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches, or advances their states. `input`: the
    /// layer's own, if layers have one.
    pub(super) fn forward(&self, x: &Array, input: Option<&Array>, batch: &mut Batch) -> Result<Array, Exception> {
        let Additions { output_norms, layer_input, scale } = &self.additions;
        let (mixer_output_norm, output_norm) = output_norms.as_ref().map(|(mixer, output)| (mixer, output)).unzip();
        let added = |x: &Array, output: Array, norm: Option<&RmsNorm>| match norm {
            Some(norm) => add(x, norm.forward(&output)?),
            None => add(x, output),
        };
        let normed = self.mixer_norm.forward(x)?;
        let mixed = match &self.mixer {
            TokenMixer::Attention(attention) => attention.forward(&normed, self.slot, batch)?,
            TokenMixer::Latent(attention) => attention.forward(&normed, self.slot, batch)?,
            TokenMixer::GatedDelta(net) => net.forward(&normed, self.slot, batch)?,
        };
        let x = added(x, mixed, mixer_output_norm)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let output = match &self.feed_forward {
            FeedForward::Dense(mlp) => mlp.forward(&normed, batch.path())?,
            FeedForward::Experts(experts) => experts.forward(&normed, batch)?,
            FeedForward::DenseAndExperts(both) => both.forward(&x, &normed, batch)?,
        };
        let mut x = added(&x, output, output_norm)?;
        if let (Some(layer), Some(input)) = (layer_input, input) {
            x = layer.added(&x, input, batch)?;
        }
        if let Some(scale) = scale { multiply(x, scale) } else { Ok(x) }
    }

    /// Only appends the new keys and values to the caches, or advances their states.
    pub(super) fn fill(&self, x: &Array, batch: &mut Batch) -> Result<(), Exception> {
        let normed = self.mixer_norm.forward(x)?;
        match &self.mixer {
            TokenMixer::Attention(attention) => attention.fill(&normed, self.slot, batch),
            TokenMixer::Latent(attention) => attention.fill(&normed, self.slot, batch),
            TokenMixer::GatedDelta(net) => net.forward(&normed, self.slot, batch).map(drop),
        }
    }
}

impl MlpAndExperts {
    /// `x` is what the router reads, `normed` what the MLP reads: `[n, R / n, D]` to the same shape.
    fn forward(&self, x: &Array, normed: &Array, batch: &Batch) -> Result<Array, Exception> {
        let dense = self.mlp_output_norm.forward(&self.mlp.forward(normed, batch.path())?)?;
        let chosen = self.experts.routed(&self.experts_norm.forward(x)?, x, batch)?;
        add(dense, self.experts_output_norm.forward(&chosen)?)
    }
}

impl LayerInput {
    /// `x`, `[n, R / n, D]`, and what it adds of the layer's input, `[n, R / n, P]`.
    fn added(&self, x: &Array, input: &Array, batch: &Batch) -> Result<Array, Exception> {
        let gated = multiply(lazy_gelu(&self.gate.forward_on(batch.path(), x)?)?, input)?;
        add(x, self.norm.forward(&self.projection.forward_on(batch.path(), &gated)?)?)
    }
}
