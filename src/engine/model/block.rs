//! A decoder's block: attention and a feed-forward part, each after a norm and added to what came in.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::add;

use super::Config;
use super::batch::Batch;
use super::experts::Experts;
use super::layers::{Attention, Mlp, RmsNorm};
use super::weights::Weights;
use crate::engine::EngineError;

/// One of a model's blocks.
pub struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_norm: RmsNorm,
    feed: Feed,
}

/// What computes each token by itself.
pub enum Feed {
    Dense(Mlp),
    Experts(Experts),
}

impl Block {
    /// Puts a block's parts together with their norms, `<path>.input_layernorm` and `<path>.post_attention_layernorm`.
    pub fn load(
        weights: &mut Weights,
        path: &str,
        config: &Config,
        attention: Attention,
        feed: Feed,
    ) -> Result<Self, EngineError> {
        let mut norm = |name: &str| RmsNorm::load(weights, &format!("{path}.{name}"), config.hidden_size, config);
        Ok(Self { attention_norm: norm("input_layernorm")?, attention, feed_norm: norm("post_attention_layernorm")?, feed })
    }

    /// `[blocks, rows, hidden]` to the same; the new tokens' keys and values go into their caches.
    pub fn forward(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let x = add(x, self.attention.forward(&self.attention_norm.forward(x)?, layer, batch)?)?;
        let normed = self.feed_norm.forward(&x)?;
        let fed = match &self.feed {
            Feed::Dense(mlp) => mlp.forward(&normed)?,
            Feed::Experts(experts) => experts.forward(&normed, batch)?,
        };
        add(x, fed)
    }

    /// Nothing but the new tokens' keys and values, into their caches.
    pub fn fill(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<(), Exception> {
        self.attention.fill(&self.attention_norm.forward(x)?, layer, batch).map(drop)
    }
}
