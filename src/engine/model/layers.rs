//! The layers that all families share: linear projection, RMSNorm, grouped-query attention with RoPE, SwiGLU MLP.
//!
//! Shapes: `R` rows, the new tokens of all sequences; `n` their batch axis (see [`Batch`]); `L` new tokens of one sequence;
//! `D` hidden size; `H` query heads; `K` key/value heads; `d` head width; `F` width inside the MLP.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::fast::rms_norm;
use mlx_rs::ops::add;
use mlx_rs::ops::indexing::TryIndexOp;

use super::Config;
use super::activation::swiglu;
use super::attention::causal_attention;
use super::batch::Batch;
use super::cpu::cores::{by_rows, joined};
use super::kv_spans::AttendedSequence;
use super::matrix::Matrix;
use super::rope::Rope;
use super::weights::Weights;
use crate::engine::EngineError;

/// A linear projection: `x · weightᵀ + bias`.
pub(super) struct Linear {
    pub weight: Matrix,
    pub bias: Option<Array>,
}

impl Linear {
    /// Loads `<path>.weight`, `[output, input]`, and with `bias` also `<path>.bias`, `[output]`.
    pub(super) fn load(weights: &mut Weights, path: &str, input: usize, output: usize, bias: bool) -> Result<Self, EngineError> {
        Ok(Self {
            weight: weights.matrix(path, &[output, input])?,
            bias: if bias { Some(weights.vector(&format!("{path}.bias"), output)?) } else { None },
        })
    }

    /// `[n, R / n, input]` to `[n, R / n, output]`.
    pub(super) fn forward(&self, x: &Array) -> Result<Array, Exception> {
        let product = self.weight.apply(x)?;
        match &self.bias {
            Some(bias) => add(product, bias),
            None => Ok(product),
        }
    }
}

/// RMSNorm over the last axis: `x / sqrt(mean(x²) + eps) · weight` (Zhang and Sennrich 2019).
pub(super) struct RmsNorm {
    weight: Array,
    eps: f32,
}

impl RmsNorm {
    /// Loads `<path>.weight`, `[width]`.
    pub(super) fn load(weights: &mut Weights, path: &str, width: usize, config: &Config) -> Result<Self, EngineError> {
        Ok(Self { weight: weights.vector(&format!("{path}.weight"), width)?, eps: config.rms_norm_eps })
    }

    /// Any shape `[.., width]` to the same.
    pub(super) fn forward(&self, x: &Array) -> Result<Array, Exception> {
        rms_norm(x, Some(&self.weight), self.eps)
    }
}

/// Causal grouped-query attention (Vaswani et al. 2017; Ainslie et al. 2023): `H / K` query heads share a key/value head.
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
        let (queries, sequences) = self.fill(x, layer, batch)?;
        let attended = causal_attention(&queries, sequences, self.window)?;
        joined(&by_rows(&batch.batched(attended)?, |attended, _| Ok([self.output.forward(attended)?]))?, 0)
    }

    /// Appends the new keys and values to the caches. Returns the queries, `[R, H, 1, d]`, and what they attend to.
    pub(super) fn fill(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<(Array, Vec<AttendedSequence>), Exception> {
        let positions = batch.positions();
        let parts = by_rows(x, |x, rows| self.project(x, &positions.try_index(rows)?))?;
        let heads = |output| self.heads(&joined(&parts, output)?);
        let (queries, keys, values) = (heads(0)?, heads(1)?, heads(2)?);
        let mut sequences = Vec::new();
        for (rows, cache) in batch.sequences() {
            // `[L, K, 1, d]` to `[1, K, L, d]`.
            let own = |heads: &Array| heads.try_index(rows.clone())?.transpose_axes(&[2, 1, 0, 3]);
            let kv = cache.append(layer, &own(&keys)?, &own(&values)?)?;
            sequences.push(AttendedSequence { new_tokens: rows.end - rows.start, kv });
        }
        Ok((queries, sequences))
    }

    /// Queries, keys and values of `[n, R / n, D]`: `[n, R / n, H · d]` and twice `[n, R / n, K · d]`. RoPE is applied to
    /// queries and keys, by each row's position.
    fn project(&self, x: &Array, positions: &Array) -> Result<[Array; 3], Exception> {
        let (query_norm, key_norm) = self.query_key_norms.as_ref().map(|(query, key)| (query, key)).unzip();
        let rotated = |projection: &Linear, norm: Option<&RmsNorm>| {
            let heads = self.heads(&projection.forward(x)?)?;
            let heads = if let Some(norm) = norm { norm.forward(&heads)? } else { heads };
            self.rope.rotate(&heads, positions)?.reshape(&[x.dim(0), x.dim(1), -1])
        };
        Ok([rotated(&self.query, query_norm)?, rotated(&self.key, key_norm)?, self.value.forward(x)?])
    }

    /// `[n, R / n, heads · d]` to `[R, heads, 1, d]`: to MLX, each row is a sequence of one token.
    fn heads(&self, x: &Array) -> Result<Array, Exception> {
        x.reshape(&[x.dim(0) * x.dim(1), -1, 1, self.head_dim])
    }
}

/// The gated MLP with SwiGLU (Shazeer 2020): `down(silu(gate(x)) · up(x))`.
pub(super) struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    /// Loads `<path>.gate_proj`, `up_proj` and `down_proj`.
    pub(super) fn load(weights: &mut Weights, path: &str, config: &Config, bias: bool) -> Result<Self, EngineError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            gate: Linear::load(weights, &format!("{path}.gate_proj"), hidden, inner, bias)?,
            up: Linear::load(weights, &format!("{path}.up_proj"), hidden, inner, bias)?,
            down: Linear::load(weights, &format!("{path}.down_proj"), inner, hidden, bias)?,
        })
    }

    /// `[n, R / n, D]` to `[n, R / n, F]` to `[n, R / n, D]`.
    pub(super) fn forward(&self, x: &Array) -> Result<Array, Exception> {
        let inner = swiglu(&by_rows(x, |x, _| Ok([self.gate.forward(x)?, self.up.forward(x)?]))?)?;
        joined(&by_rows(&inner, |inner, _| Ok([self.down.forward(inner)?]))?, 0)
    }
}
