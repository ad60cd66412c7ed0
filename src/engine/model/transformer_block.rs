//! The pre-norm transformer block: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::add;

use super::Config;
use super::attention::Attention;
use super::batch::Batch;
use super::experts::Experts;
use super::layers::{Mlp, RmsNorm};
use super::weights::Weights;
use crate::engine::EngineError;

/// One of a model's transformer blocks.
pub(super) struct TransformerBlock {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_forward_norm: RmsNorm,
    feed_forward: FeedForward,
}

/// The part of a transformer block that computes each token by itself.
pub(super) enum FeedForward {
    Dense(Mlp),
    Experts(Experts),
}

impl TransformerBlock {
    /// Joins the parts of a transformer block with its norms, `<path>.input_layernorm` and `<path>.post_attention_layernorm`.
    pub(super) fn load(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        attention: Attention,
        feed_forward: FeedForward,
    ) -> Result<Self, EngineError> {
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), config.hidden_size, config);
        let (attention_norm, feed_forward_norm) = (norm("input_layernorm")?, norm("post_attention_layernorm")?);
        Ok(Self { attention_norm, attention, feed_forward_norm, feed_forward })
    }

    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches.
    pub(super) fn forward(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let x = add(x, self.attention.forward(&self.attention_norm.forward(x)?, layer, batch)?)?;
        let normed = self.feed_forward_norm.forward(&x)?;
        let output = match &self.feed_forward {
            FeedForward::Dense(mlp) => mlp.forward(&normed, batch.path())?,
            FeedForward::Experts(experts) => experts.forward(&normed, batch)?,
        };
        add(x, output)
    }

    /// Only appends the new keys and values to the caches.
    pub(super) fn fill(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<(), Exception> {
        self.attention.fill(&self.attention_norm.forward(x)?, layer, batch)
    }
}
