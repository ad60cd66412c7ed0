//! Attention through a latent space (DeepSeek-V2, 2024): of a token only a latent vector and one key for RoPE are kept, from which
//! every head's key and value would be made.
//!
//! They are not made: a head's matrix from latents to keys is applied to its query instead, and that from latents to values to
//! what it has attended to. So all heads share one key, the latent and what RoPE turns, whose beginning is its value: attention is
//! that of many query heads with one key/value head. For a few queries this takes far fewer operations; for a whole chunk of a
//! prompt about as many (decision 038).
//!
//! Shapes as in `attention`; also `c` width of a latent, `r` numbers that RoPE turns, `e` numbers of a query that it does not, `v`
//! width of a value.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{concatenate, swap_axes};

use super::Scores;
use super::fused::{FusedInput, attend, joined, parted};
use crate::engine::EngineError;
use crate::engine::model::batch::{Attended, Batch};
use crate::engine::model::compute_path::ComputePath;
use crate::engine::model::config::LatentConfig;
use crate::engine::model::cpu::attention::cpu_attention;
use crate::engine::model::kv_buffer::LayerKv;
use crate::engine::model::kv_spans::AttendedSequence;
use crate::engine::model::layers::{Linear, RmsNorm};
use crate::engine::model::matrix::Matrix;
use crate::engine::model::rope::Rope;
use crate::engine::model::weights::{HEAD_MATRICES, JOINED_HEAD_MATRICES, Weights};
use crate::engine::model::{Config, KvCache};

/// Attention of `H` heads through a latent space.
pub(in crate::engine::model) struct LatentAttention {
    query: QueryProjection,
    /// To the latent and the key for RoPE, `[c + r, D]`.
    latent: Linear,
    latent_norm: RmsNorm,
    /// Each head's queries to the latent space, `[H, c, e]`.
    to_latent: Matrix,
    /// The latent space to each head's values, `[H, v, c]`.
    to_values: Matrix,
    output: Linear,
    rope: Rope,
    sizes: LatentConfig,
    heads: i32,
}

/// How queries are projected.
enum QueryProjection {
    /// At once.
    Whole(Linear),
    /// Through a narrower space, in which they are normed.
    Narrow { down: Linear, norm: RmsNorm, up: Linear },
}

impl QueryProjection {
    fn load(weights: &mut Weights, path: &str, config: &Config, sizes: &LatentConfig) -> Result<Self, EngineError> {
        let (hidden, queries) = (config.hidden_size, config.heads * sizes.query_width());
        Ok(match sizes.q_lora_rank {
            None => Self::Whole(Linear::load(weights, &format!("{path}.q_proj"), hidden, queries, false)?),
            Some(rank) => Self::Narrow {
                down: Linear::load(weights, &format!("{path}.q_a_proj"), hidden, rank, sizes.attention_bias)?,
                norm: RmsNorm::load(weights, &format!("{path}.q_a_layernorm"), rank, config)?,
                up: Linear::load(weights, &format!("{path}.q_b_proj"), rank, queries, false)?,
            },
        })
    }

    fn forward(&self, x: &Array, path: ComputePath) -> Result<Array, Exception> {
        match self {
            Self::Whole(projection) => projection.forward_on(path, x),
            Self::Narrow { down, norm, up } => up.forward_on(path, &norm.forward(&down.forward_on(path, x)?)?),
        }
    }
}

impl LatentAttention {
    /// Loads a layer's `self_attn`.
    pub(in crate::engine::model) fn load(
        weights: &mut Weights,
        layer: usize,
        config: &Config,
        sizes: LatentConfig,
    ) -> Result<Self, EngineError> {
        let path = format!("model.layers.{layer}.self_attn");
        let (hidden, bias) = (config.hidden_size, sizes.attention_bias);
        let (to_latent, to_values) = head_matrices(weights, &path, config.heads, &sizes)?;
        Ok(Self {
            query: QueryProjection::load(weights, &path, config, &sizes)?,
            latent: Linear::load(weights, &format!("{path}.kv_a_proj_with_mqa"), hidden, sizes.key_width(), bias)?,
            latent_norm: RmsNorm::load(weights, &format!("{path}.kv_a_layernorm"), sizes.kv_lora_rank, config)?,
            to_latent,
            to_values,
            output: Linear::load(weights, &format!("{path}.o_proj"), config.heads * sizes.v_head_dim, hidden, bias)?,
            rope: Rope::new(&config.rope)?.interleaved(),
            sizes,
            heads: config.heads as i32,
        })
    }

    /// `[n, R / n, D]` to the same shape. Appends the new keys to the caches.
    pub(in crate::engine::model) fn forward(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let path = batch.path();
        let queries = self.queries(x, batch)?;
        let keys = self.keys(x, batch)?;
        let attended = match path {
            ComputePath::Cpu => self.attend_on_cpu(&queries, &keys, layer, batch)?,
            ComputePath::Gpu => self.attend_fused(queries, keys, layer, batch)?,
        };
        let values = self.to_values.apply_to_heads(&attended)?;
        self.output.forward_on(path, &values.transpose_axes(&[0, 2, 1, 3])?.reshape(&[x.dim(0), x.dim(1), -1])?)
    }

    /// Only appends the new keys to the caches.
    pub(in crate::engine::model) fn fill(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<(), Exception> {
        let keys = self.keys(x, batch)?;
        match batch.path() {
            ComputePath::Cpu => self.append_on_cpu(&keys, layer, batch).map(drop),
            ComputePath::Gpu => self.append_fused(keys, layer, batch).map(drop),
        }
    }

    /// Queries in the latent space and what RoPE has turned of them, `[n, H, R / n, c + r]`.
    fn queries(&self, x: &Array, batch: &Batch) -> Result<Array, Exception> {
        let projected = self.query.forward(x, batch.path())?;
        let heads = projected.reshape(&[x.dim(0), x.dim(1), self.heads, -1])?.transpose_axes(&[0, 2, 1, 3])?;
        let parts = heads.split_at_indices(&[self.sizes.qk_nope_head_dim as i32], -1)?;
        let turned = self.rope.rotate_from(&parts[1], batch.starts())?;
        concatenate(&[self.to_latent.apply_to_heads(&parts[0])?, turned], -1)
    }

    /// The key of all heads, `[n, 1, R / n, c + r]`.
    fn keys(&self, x: &Array, batch: &Batch) -> Result<Array, Exception> {
        let projected = self.latent.forward_on(batch.path(), x)?;
        let parts = projected.split_at_indices(&[self.sizes.kv_lora_rank as i32], -1)?;
        let one_head = |part: &Array| part.reshape(&[x.dim(0), 1, x.dim(1), -1]);
        let turned = self.rope.rotate_from(&one_head(&parts[1])?, batch.starts())?;
        concatenate(&[one_head(&self.latent_norm.forward(&parts[0])?)?, turned], -1)
    }

    fn scores(&self) -> Scores<'_> {
        let scale = (self.sizes.query_width() as f32).powf(-0.5);
        Scores { scale, window: None, sinks: None, value_width: Some(self.sizes.kv_lora_rank as i32) }
    }

    fn append_on_cpu(&self, keys: &Array, layer: usize, batch: &mut Batch) -> Result<Vec<AttendedSequence>, Exception> {
        // The rows of all sequences, `[1, 1, R, c + r]`.
        let keys = keys.reshape(&[1, 1, -1, keys.dim(3)])?;
        let append = |(rows, cache): (Range<i32>, &mut KvCache)| {
            let new = LayerKv { keys: keys.try_index((.., .., rows.clone(), ..))?, values: None };
            Ok(AttendedSequence { new_tokens: rows.end - rows.start, kv: cache.append(layer, &new)? })
        };
        batch.sequences().map(append).collect()
    }

    /// What the queries' heads have attended to, `[n, H, R / n, c]`.
    fn attend_on_cpu(&self, queries: &Array, keys: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let sequences = self.append_on_cpu(keys, layer, batch)?;
        let (groups, rows) = (queries.dim(0), queries.dim(2));
        let queries = queries.transpose_axes(&[0, 2, 1, 3])?.reshape(&[groups * rows, self.heads, 1, queries.dim(3)])?;
        let attended = cpu_attention(&queries, sequences, self.scores())?;
        attended.reshape(&[groups, rows, self.heads, -1])?.transpose_axes(&[0, 2, 1, 3])
    }

    fn append_fused(&self, keys: Array, layer: usize, batch: &mut Batch) -> Result<Vec<Attended>, Exception> {
        let new = parted(keys, &batch.part_sizes())?.into_iter().map(|keys| LayerKv { keys, values: None });
        batch.append(layer, None, &new.collect::<Vec<_>>())
    }

    /// The same by MLX's fused operation.
    fn attend_fused(&self, queries: Array, keys: Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let of_group = queries.dim(2);
        let queries = parted(queries, &batch.part_sizes())?;
        let attended = self.append_fused(keys, layer, batch)?;
        let input = |(queries, Attended { kv, mask })| attend(&FusedInput { queries, kv, mask }, self.scores());
        joined(queries.into_iter().zip(attended).map(input).collect::<Result<Vec<_>, _>>()?, of_group)
    }
}

/// The matrices between heads and latent space: two stacks, as MLX stores them, or both of each head in one matrix, the first
/// turned, as Hugging Face does.
fn head_matrices(weights: &mut Weights, path: &str, heads: usize, sizes: &LatentConfig) -> Result<(Matrix, Matrix), EngineError> {
    let LatentConfig { kv_lora_rank: latent, qk_nope_head_dim: keys, v_head_dim: values, .. } = *sizes;
    let joined = format!("{path}.{JOINED_HEAD_MATRICES}");
    if !weights.has(&format!("{joined}.weight")) {
        let [to_latent, to_values] = HEAD_MATRICES.map(|name| format!("{path}.{name}"));
        let to_latent = weights.head_matrices(&to_latent, &[heads, latent, keys])?;
        return Ok((to_latent, weights.head_matrices(&to_values, &[heads, values, latent])?));
    }
    let both = weights.unpacked(&joined, &[heads * (keys + values), latent])?;
    let both = both.reshape(&[heads as i32, (keys + values) as i32, latent as i32])?;
    let parts = both.split_at_indices(&[keys as i32], 1)?;
    Ok((weights.plain(swap_axes(&parts[0], -1, -2)?.contiguous()?), weights.plain(parts[1].contiguous()?)))
}
