//! Causal grouped-query attention with RoPE: its projections, and what both compute paths have in common.
//!
//! `on_cpu` computes it by our kernel, `fused` by MLX's fused operation.
//!
//! Shapes: `R` rows, the new tokens of all sequences; `n` their batch axis (see `batch`); `L` new tokens of one sequence; `T` its
//! tokens in all; `D` hidden size; `H` query heads; `K` key/value heads; `d` head width.

mod fused;
mod on_cpu;

use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::Config;
use super::batch::Batch;
use super::compute_path::ComputePath;
use super::layers::{Linear, RmsNorm};
use super::rope::Rope;
use super::weights::Weights;
use crate::engine::EngineError;

/// Causal grouped-query attention (Vaswani et al. 2017; Ainslie et al. 2023): `H / K` query heads share a key/value head. A token
/// attends to itself and the tokens before it.
pub(super) struct Attention {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    /// RMSNorm of each head's query and key, before RoPE (Qwen3).
    pub query_key_norms: Option<(RmsNorm, RmsNorm)>,
    pub rope: Rope,
    pub head_dim: i32,
    /// Sliding window: how many tokens a token sees, itself included; `None`: all before it.
    pub window: Option<i32>,
}

/// Which projections of attention have a bias.
pub(super) struct AttentionBias {
    /// Queries, keys and values.
    pub qkv: bool,
    pub output: bool,
}

impl Attention {
    /// Loads a layer's `self_attn.q_proj`, `k_proj`, `v_proj` and `o_proj`; no query and key norms.
    pub(super) fn load(weights: &mut Weights, layer: usize, config: &Config, bias: AttentionBias) -> Result<Self, EngineError> {
        let path = format!("model.layers.{layer}.self_attn");
        let (width, hidden) = (config.head_dim, config.hidden_size);
        let (queries, keys) = (config.heads * width, config.kv_heads * width);
        Ok(Self {
            query: Linear::load(weights, &format!("{path}.q_proj"), hidden, queries, bias.qkv)?,
            key: Linear::load(weights, &format!("{path}.k_proj"), hidden, keys, bias.qkv)?,
            value: Linear::load(weights, &format!("{path}.v_proj"), hidden, keys, bias.qkv)?,
            output: Linear::load(weights, &format!("{path}.o_proj"), queries, hidden, bias.output)?,
            query_key_norms: None,
            rope: Rope::new(&config.rope, width)?,
            head_dim: width as i32,
            window: config.windows[layer],
        })
    }

    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches.
    pub(super) fn forward(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        match batch.path() {
            ComputePath::Cpu => self.forward_on_cpu(x, layer, batch),
            ComputePath::Gpu => self.forward_fused(x, layer, batch),
        }
    }

    /// Only appends the new keys and values to the caches.
    pub(super) fn fill(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<(), Exception> {
        match batch.path() {
            ComputePath::Cpu => self.fill_on_cpu(x, layer, batch).map(drop),
            ComputePath::Gpu => self.fill_fused(x, layer, batch).map(drop),
        }
    }

    /// The norms of queries and of keys, if there are any.
    fn norms(&self) -> (Option<&RmsNorm>, Option<&RmsNorm>) {
        self.query_key_norms.as_ref().map(|(query, key)| (query, key)).unzip()
    }
}
