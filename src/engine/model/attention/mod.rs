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
use mlx_rs::ops::{multiply, sigmoid};

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
    /// RMSNorm of queries and of keys, before RoPE: of each head's (Qwen3), or of all heads' together (MiniMax).
    pub query_key_norms: Option<(RmsNorm, RmsNorm)>,
    /// Whether the query projection also gives gates, one for each number of the attention output (Qwen3-Next): for each head
    /// its query, then its gates.
    pub gated: bool,
    pub rope: Rope,
    pub head_dim: i32,
    /// Sliding window: how many tokens a token sees, itself included; `None`: all before it.
    pub window: Option<i32>,
    /// For each query head, the score of a key without a value that every query sees, `[H]` (gpt-oss; Xiao et al. 2023).
    pub sinks: Option<Array>,
}

/// The attention output times the sigmoids of its gates, if there are any.
fn gated(attended: Array, gates: Option<&Array>) -> Result<Array, Exception> {
    if let Some(gates) = gates { multiply(attended, sigmoid(gates)?) } else { Ok(attended) }
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
        Self::load_with(weights, layer, config, bias, false)
    }

    /// The same with output gates.
    pub(super) fn load_gated(weights: &mut Weights, layer: usize, config: &Config) -> Result<Self, EngineError> {
        Self::load_with(weights, layer, config, AttentionBias { qkv: false, output: false }, true)
    }

    fn load_with(
        weights: &mut Weights,
        layer: usize,
        config: &Config,
        bias: AttentionBias,
        gated: bool,
    ) -> Result<Self, EngineError> {
        let path = format!("model.layers.{layer}.self_attn");
        let (width, hidden) = (config.head_dim, config.hidden_size);
        let (queries, keys) = (config.heads * width, config.kv_heads * width);
        let queries_and_gates = if gated { 2 * queries } else { queries };
        Ok(Self {
            query: Linear::load(weights, &format!("{path}.q_proj"), hidden, queries_and_gates, bias.qkv)?,
            key: Linear::load(weights, &format!("{path}.k_proj"), hidden, keys, bias.qkv)?,
            value: Linear::load(weights, &format!("{path}.v_proj"), hidden, keys, bias.qkv)?,
            output: Linear::load(weights, &format!("{path}.o_proj"), queries, hidden, bias.output)?,
            query_key_norms: None,
            gated,
            rope: Rope::new(&config.rope)?,
            head_dim: width as i32,
            window: config.windows[layer],
            sinks: None,
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

    /// What the query projection gives, as queries `[n, R / n, H · d]` and, where there are gates, these, `[n, R / n, H · d]`:
    /// before norms and RoPE.
    fn queries_and_gates(&self, projected: Array) -> Result<(Array, Option<Array>), Exception> {
        if !self.gated {
            return Ok((projected, None));
        }
        let (groups, rows) = (projected.dim(0), projected.dim(1));
        let flat = |heads: &Array| heads.reshape(&[groups, rows, -1]);
        let halves = projected.reshape(&[groups, rows, -1, 2 * self.head_dim])?.split_equal(2, -1)?;
        Ok((flat(&halves[0])?, Some(flat(&halves[1])?)))
    }

    /// Rotated queries `[n', H, L', d]` times their rows' factors, `[R]` with `n' · L' = R`.
    fn scaled(queries: Array, factors: Option<&Array>) -> Result<Array, Exception> {
        let Some(factors) = factors else { return Ok(queries) };
        let factors = factors.reshape(&[queries.dim(0), 1, queries.dim(2), 1])?;
        multiply(&queries, factors.as_dtype(queries.dtype())?)
    }

    /// The norms of queries and of keys, if there are any.
    fn norms(&self) -> (Option<&RmsNorm>, Option<&RmsNorm>) {
        self.query_key_norms.as_ref().map(|(query, key)| (query, key)).unzip()
    }
}
