//! The layers that families share: projection, norm, attention with what some add to it, gated MLP.
//!
//! Shapes: `R` rows, one for each new token of every sequence (see [`Batch`]), `L` new tokens of one sequence, `H` heads,
//! `K` key/value heads, `D` head width.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::fast::rms_norm;
use mlx_rs::ops::add;
use mlx_rs::ops::indexing::TryIndexOp;

use super::Config;
use super::activation::swiglu;
use super::attention::causal_attention;
use super::batch::Batch;
use super::cores::{by_rows, joined};
use super::kv_cache::Pieces;
use super::matrix::Matrix;
use super::rope::Rope;
use super::weights::Weights;
use crate::engine::EngineError;

/// A projection, with or without a bias.
pub struct Linear {
    pub weight: Matrix,
    pub bias: Option<Array>,
}

impl Linear {
    /// `<path>.weight`, `[output, input]`, and, if `bias` says so, `<path>.bias`.
    pub fn load(weights: &mut Weights, path: &str, input: usize, output: usize, bias: bool) -> Result<Self, EngineError> {
        Ok(Self {
            weight: weights.matrix(path, &[output, input])?,
            bias: if bias { Some(weights.vector(&format!("{path}.bias"), output)?) } else { None },
        })
    }

    /// `[blocks, rows, input]` to `[blocks, rows, output]`.
    pub fn forward(&self, x: &Array) -> Result<Array, Exception> {
        let product = self.weight.apply(x)?;
        match &self.bias {
            Some(bias) => add(product, bias),
            None => Ok(product),
        }
    }
}

/// Root-mean-square norm over the last axis.
pub struct RmsNorm {
    weight: Array,
    eps: f32,
}

impl RmsNorm {
    /// `<path>.weight`, one per element of a vector of `width`.
    pub fn load(weights: &mut Weights, path: &str, width: usize, config: &Config) -> Result<Self, EngineError> {
        Ok(Self { weight: weights.vector(&format!("{path}.weight"), width)?, eps: config.rms_norm_eps })
    }

    /// Any shape to the same.
    pub fn forward(&self, x: &Array) -> Result<Array, Exception> {
        rms_norm(x, Some(&self.weight), self.eps)
    }
}

/// Attention of each token to itself and those before it.
pub struct Attention {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    /// Norm of each head's queries, and of its keys.
    pub norms: Option<(RmsNorm, RmsNorm)>,
    pub rope: Rope,
    pub head_dim: i32,
    /// How many tokens a token sees, itself included; `None`: all before it.
    pub window: Option<i32>,
}

/// Which of attention's projections have a bias.
pub struct AttentionBias {
    /// Queries, keys and values.
    pub qkv: bool,
    pub output: bool,
}

impl Attention {
    /// The plain kind, without norms: a layer's `self_attn.q_proj`, `k_proj`, `v_proj`, `o_proj`.
    pub fn load(weights: &mut Weights, layer: usize, config: &Config, bias: AttentionBias) -> Result<Self, EngineError> {
        let path = format!("model.layers.{layer}.self_attn");
        let (width, hidden) = (config.head_dim, config.hidden_size);
        let (queries, keys) = (config.heads * width, config.kv_heads * width);
        Ok(Self {
            query: Linear::load(weights, &format!("{path}.q_proj"), hidden, queries, bias.qkv)?,
            key: Linear::load(weights, &format!("{path}.k_proj"), hidden, keys, bias.qkv)?,
            value: Linear::load(weights, &format!("{path}.v_proj"), hidden, keys, bias.qkv)?,
            output: Linear::load(weights, &format!("{path}.o_proj"), queries, hidden, bias.output)?,
            norms: None,
            rope: Rope::new(&config.rope, width)?,
            head_dim: width as i32,
            window: config.windows[layer],
        })
    }

    /// `[blocks, rows, hidden]` to the same; the new tokens' keys and values go into their caches.
    pub fn forward(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let (queries, sequences) = self.fill(x, layer, batch)?;
        let mixed = causal_attention(&queries, sequences, self.window)?;
        joined(&by_rows(&batch.blocks(mixed)?, |mixed, _| Ok([self.output.forward(mixed)?]))?, 0)
    }

    /// Puts the new tokens' keys and values into their caches. Gives the queries, and how many new tokens and which keys and
    /// values each sequence has.
    pub fn fill(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<(Array, Vec<(i32, Pieces)>), Exception> {
        let positions = batch.positions();
        let parts = by_rows(x, |x, rows| self.project(x, &positions.try_index(rows)?))?;
        let heads = |output| self.heads(&joined(&parts, output)?);
        let (queries, keys, values) = (heads(0)?, heads(1)?, heads(2)?);
        let mut sequences = Vec::new();
        for (rows, cache) in batch.sequences() {
            let own = |heads: &Array| heads.try_index(rows.clone())?.transpose_axes(&[2, 1, 0, 3]);
            sequences.push((rows.end - rows.start, cache.append(layer, &own(&keys)?, &own(&values)?)?));
        }
        Ok((queries, sequences))
    }

    /// Queries, keys and values, turned by their rows' positions: `[blocks, rows, hidden]` to `[blocks, rows, heads * D]` each.
    fn project(&self, x: &Array, positions: &Array) -> Result<[Array; 3], Exception> {
        let (query_norm, key_norm) = self.norms.as_ref().map(|(query, key)| (query, key)).unzip();
        let turned = |projection: &Linear, norm: Option<&RmsNorm>| {
            let heads = self.heads(&projection.forward(x)?)?;
            let heads = if let Some(norm) = norm { norm.forward(&heads)? } else { heads };
            self.rope.rotate(&heads, positions)?.reshape(&[x.dim(0), x.dim(1), -1])
        };
        Ok([turned(&self.query, query_norm)?, turned(&self.key, key_norm)?, self.value.forward(x)?])
    }

    /// `[blocks, rows, heads * D]` to `[R, heads, 1, D]`: each row is a sequence of one token.
    fn heads(&self, x: &Array) -> Result<Array, Exception> {
        x.reshape(&[x.dim(0) * x.dim(1), -1, 1, self.head_dim])
    }
}

/// The gated MLP: `down(silu(gate(x)) * up(x))`.
pub struct Mlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Mlp {
    /// `<path>.gate_proj`, `up_proj`, `down_proj`.
    pub fn load(weights: &mut Weights, path: &str, config: &Config, bias: bool) -> Result<Self, EngineError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            gate: Linear::load(weights, &format!("{path}.gate_proj"), hidden, inner, bias)?,
            up: Linear::load(weights, &format!("{path}.up_proj"), hidden, inner, bias)?,
            down: Linear::load(weights, &format!("{path}.down_proj"), inner, hidden, bias)?,
        })
    }

    /// `[blocks, rows, hidden]` to the same.
    pub fn forward(&self, x: &Array) -> Result<Array, Exception> {
        let inner = swiglu(&by_rows(x, |x, _| Ok([self.gate.forward(x)?, self.up.forward(x)?]))?)?;
        joined(&by_rows(&inner, |inner, _| Ok([self.down.forward(inner)?]))?, 0)
    }
}
