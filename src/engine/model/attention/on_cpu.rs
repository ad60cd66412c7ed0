//! Attention on the CPU path: rows are split among the cores, and our kernel reads keys and values where the cache has them.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;

use super::{Attention, KeysAndValues, gated};
use crate::engine::model::batch::Batch;
use crate::engine::model::compute_path::ComputePath;
use crate::engine::model::cpu::attention::cpu_attention;
use crate::engine::model::cpu::cores::{by_rows, joined};
use crate::engine::model::kv_buffer::LayerKv;
use crate::engine::model::kv_spans::AttendedSequence;
use crate::engine::model::layers::{Linear, RmsNorm};

/// What the new tokens attend with and to.
pub(super) struct Filled {
    /// `[R, H, 1, d]`.
    queries: Array,
    /// `[n, R / n, H · d]`, where there are gates.
    gates: Option<Array>,
    sequences: Vec<AttendedSequence>,
}

/// The projections of [`Attention`], for parts of an input.
struct Projections {
    query: Linear,
    own: Option<KeysAndValues>,
}

impl Attention {
    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches.
    pub(super) fn forward_on_cpu(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let Filled { queries, gates, sequences } = self.fill_on_cpu(x, layer, batch)?;
        let attended = gated(batch.batched(cpu_attention(&queries, sequences, self.scores())?)?, gates.as_ref())?;
        self.output.forward_on(ComputePath::Cpu, &attended)
    }

    /// Appends the new keys and values to the caches.
    pub(super) fn fill_on_cpu(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Filled, Exception> {
        let projections = Projections {
            query: self.query.for_parts_of(x)?,
            own: self.own.as_ref().map(|own| own.for_parts_of(x)).transpose()?,
        };
        let parts = by_rows(x, |x, rows| {
            let factors = batch.query_factors().map(|factors| factors.try_index(rows.clone())).transpose()?;
            self.project(x, &projections, &batch.positions().try_index(rows)?, factors.as_ref())
        })?;
        let heads = |output| self.heads(&joined(&parts, output)?);
        let (queries, keys, values) = (heads(0)?, heads(1)?, heads(2)?);
        let mut sequences = Vec::new();
        for (rows, cache) in batch.sequences() {
            let new_tokens = rows.end - rows.start;
            // `[L, K, 1, d]` to `[1, K, L, d]`.
            let own = |heads: &Array| heads.try_index(rows.clone())?.transpose_axes(&[2, 1, 0, 3]);
            let kv = match &self.own {
                Some(_) => cache.append(layer, &LayerKv { keys: own(&keys)?, values: Some(own(&values)?) })?,
                None => cache.spans(layer, new_tokens as usize)?,
            };
            sequences.push(AttendedSequence { new_tokens, kv });
        }
        let gates = if self.gated { Some(joined(&parts, 3)?) } else { None };
        Ok(Filled { queries, gates, sequences })
    }

    /// Queries, keys and values of `[n, R / n, D]`, by the projections of these: `[n, R / n, H · d]` and twice
    /// `[n, R / n, K · d]`. RoPE is applied to queries and keys, by each row's position; queries are multiplied by `factors`,
    /// `[R]`, if there are any. Last come the gates, `[n, R / n, H · d]`. The queries stand in for what there is not.
    fn project(
        &self,
        x: &Array,
        Projections { query, own }: &Projections,
        positions: &Array,
        factors: Option<&Array>,
    ) -> Result<[Array; 4], Exception> {
        let rotated = |projected: &Array, norm: Option<&RmsNorm>| {
            let normed = norm.map(|norm| norm.for_each_part(projected)).transpose()?;
            self.rope.rotate(&self.heads(normed.as_ref().unwrap_or(projected))?, positions)
        };
        let flat = |heads: Array| heads.reshape(&[x.dim(0), x.dim(1), -1]);
        let (queries, gates) = self.queries_and_gates(query.forward(x)?)?;
        let queries = flat(Self::scaled(rotated(&queries, self.query_norm.as_ref())?, factors)?)?;
        let gates = gates.unwrap_or_else(|| queries.clone());
        let Some(own) = own else { return Ok([queries.clone(), queries.clone(), queries, gates]) };
        let (keys, values) = own.project(x)?;
        let values = own.normed_values(self.heads(&values)?)?;
        Ok([queries, flat(rotated(&keys, own.key_norm.as_ref())?)?, flat(values)?, gates])
    }

    /// `[n, R / n, heads · d]` to `[R, heads, 1, d]`: to MLX, each row is a sequence of one token.
    fn heads(&self, x: &Array) -> Result<Array, Exception> {
        x.reshape(&[x.dim(0) * x.dim(1), -1, 1, self.head_dim])
    }
}
