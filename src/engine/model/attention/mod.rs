//! Causal grouped-query attention with RoPE: its projections, and what both compute paths have in common.
//!
//! `on_cpu` computes it by our kernel, `fused` by MLX's fused operation.
//!
//! Shapes: `R` rows, the new tokens of all sequences; `n` their batch axis (see `batch`); `L` new tokens of one sequence; `T` its
//! tokens in all; `D` hidden size; `H` query heads; `K` key/value heads; `d` head width.

mod fused;
mod latent;
mod on_cpu;

pub(super) use self::latent::LatentAttention;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::fast::rms_norm;
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
    /// `None`: it attends to the keys and values of an earlier layer (Gemma 4).
    pub own: Option<KeysAndValues>,
    pub output: Linear,
    /// RMSNorm of queries, before RoPE: of each head's (Qwen3), or of all heads' together (MiniMax).
    pub query_norm: Option<RmsNorm>,
    /// Whether the query projection also gives gates, one for each number of the attention output (Qwen3-Next): for each head
    /// its query, then its gates.
    pub gated: bool,
    pub rope: Rope,
    pub head_dim: i32,
    /// Factor of all scores.
    pub scale: f32,
    /// Sliding window: how many tokens a token sees, itself included; `None`: all before it.
    pub window: Option<i32>,
    /// For each query head, the score of a key without a value that every query sees, `[H]` (gpt-oss; Xiao et al. 2023).
    pub sinks: Option<Array>,
}

/// How a layer projects its keys and values.
pub(super) struct KeysAndValues {
    pub key: Linear,
    /// `None`: a value is its key as projected.
    pub value: Option<Linear>,
    /// RMSNorm of keys, before RoPE, like that of queries.
    pub key_norm: Option<RmsNorm>,
    /// RMSNorm of each head's value, without a weight: what is added to the mean square (Gemma 4).
    pub value_norm_eps: Option<f32>,
}

/// How queries score keys.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a> {
    /// Factor of all scores, sinks apart.
    pub scale: f32,
    /// See [`Attention::window`].
    pub window: Option<i32>,
    /// See [`Attention::sinks`].
    pub sinks: Option<&'a Array>,
    /// Where values are in their keys: numbers of a value.
    pub value_width: Option<i32>,
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
    /// Loads a layer's `self_attn.q_proj`, `k_proj`, `v_proj` and `o_proj`; no norms.
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
        let query = Linear::load(weights, &format!("{path}.q_proj"), hidden, queries_and_gates, bias.qkv)?;
        let key = Linear::load(weights, &format!("{path}.k_proj"), hidden, keys, bias.qkv)?;
        let value = Linear::load(weights, &format!("{path}.v_proj"), hidden, keys, bias.qkv)?;
        Ok(Self {
            query,
            own: Some(KeysAndValues { key, value: Some(value), key_norm: None, value_norm_eps: None }),
            output: Linear::load(weights, &format!("{path}.o_proj"), queries, hidden, bias.output)?,
            query_norm: None,
            gated,
            rope: Rope::new(&config.rope)?,
            head_dim: width as i32,
            scale: (width as f32).powf(-0.5),
            window: config.windows[layer],
            sinks: None,
        })
    }

    /// The same with norms of queries and of keys.
    pub(super) fn with_norms(self, query: RmsNorm, key: RmsNorm) -> Self {
        let own = self.own.map(|own| KeysAndValues { key_norm: Some(key), ..own });
        Self { query_norm: Some(query), own, ..self }
    }

    fn scores(&self) -> Scores<'_> {
        Scores { scale: self.scale, window: self.window, sinks: self.sinks.as_ref(), value_width: None }
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
}

impl KeysAndValues {
    /// Keys, before norm and RoPE, and values, before their norm, of `[n, R / n, D]`.
    fn project(&self, x: &Array) -> Result<(Array, Array), Exception> {
        let keys = self.key.forward(x)?;
        let values = if let Some(value) = &self.value { value.forward(x)? } else { keys.clone() };
        Ok((keys, values))
    }

    /// The same with its matrices for parts of `x`: see [`Linear::for_parts_of`].
    fn for_parts_of(&self, x: &Array) -> Result<Self, Exception> {
        Ok(Self {
            key: self.key.for_parts_of(x)?,
            value: self.value.as_ref().map(|value| value.for_parts_of(x)).transpose()?,
            key_norm: self.key_norm.clone(),
            value_norm_eps: self.value_norm_eps,
        })
    }

    /// Values `[.., d]`, normed if the family does so.
    fn normed_values(&self, values: Array) -> Result<Array, Exception> {
        if let Some(eps) = self.value_norm_eps { rms_norm(values, None, eps) } else { Ok(values) }
    }
}
