//! Attention on the CPU path: rows are split among the cores, and our kernel reads keys and values where the cache has them.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;

use super::{Attention, gated};
use crate::engine::model::batch::Batch;
use crate::engine::model::cpu::attention::cpu_attention;
use crate::engine::model::cpu::cores::{by_rows, joined};
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

impl Attention {
    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches.
    pub(super) fn forward_on_cpu(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let Filled { queries, gates, sequences } = self.fill_on_cpu(x, layer, batch)?;
        let attended =
            gated(batch.batched(cpu_attention(&queries, sequences, self.window, self.sinks.as_ref())?)?, gates.as_ref())?;
        let output = self.output.for_parts_of(&attended)?;
        joined(&by_rows(&attended, |attended, _| Ok([output.forward(attended)?]))?, 0)
    }

    /// Appends the new keys and values to the caches.
    pub(super) fn fill_on_cpu(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Filled, Exception> {
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|layer| layer.for_parts_of(x));
        let projections = [query?, key?, value?];
        let parts = by_rows(x, |x, rows| {
            let factors = batch.query_factors().map(|factors| factors.try_index(rows.clone())).transpose()?;
            self.project(x, &projections, &batch.positions().try_index(rows)?, factors.as_ref())
        })?;
        let heads = |output| self.heads(&joined(&parts, output)?);
        let (queries, keys, values) = (heads(0)?, heads(1)?, heads(2)?);
        let mut sequences = Vec::new();
        for (rows, cache) in batch.sequences() {
            // `[L, K, 1, d]` to `[1, K, L, d]`.
            let own = |heads: &Array| heads.try_index(rows.clone())?.transpose_axes(&[2, 1, 0, 3]);
            let kv = cache.append(layer, &own(&keys)?, &own(&values)?)?;
            sequences.push(AttendedSequence { new_tokens: rows.end - rows.start, kv });
        }
        let gates = if self.gated { Some(joined(&parts, 3)?) } else { None };
        Ok(Filled { queries, gates, sequences })
    }

    /// Queries, keys and values of `[n, R / n, D]`, by the projections of these: `[n, R / n, H · d]` and twice
    /// `[n, R / n, K · d]`. RoPE is applied to queries and keys, by each row's position; queries are multiplied by `factors`,
    /// `[R]`, if there are any. Last come the gates, `[n, R / n, H · d]`; without gates, the values again.
    fn project(
        &self,
        x: &Array,
        [query, key, value]: &[Linear; 3],
        positions: &Array,
        factors: Option<&Array>,
    ) -> Result<[Array; 4], Exception> {
        let (query_norm, key_norm) = self.norms();
        let rotated = |projected: &Array, norm: Option<&RmsNorm>| {
            let normed = norm.map(|norm| norm.for_each_part(projected)).transpose()?;
            self.rope.rotate(&self.heads(normed.as_ref().unwrap_or(projected))?, positions)
        };
        let flat = |heads: Array| heads.reshape(&[x.dim(0), x.dim(1), -1]);
        let (queries, gates) = self.queries_and_gates(query.forward(x)?)?;
        let values = value.forward(x)?;
        let gates = gates.unwrap_or_else(|| values.clone());
        let queries = Self::scaled(rotated(&queries, query_norm)?, factors)?;
        Ok([flat(queries)?, flat(rotated(&key.forward(x)?, key_norm)?)?, values, gates])
    }

    /// `[n, R / n, heads · d]` to `[R, heads, 1, d]`: to MLX, each row is a sequence of one token.
    fn heads(&self, x: &Array) -> Result<Array, Exception> {
        x.reshape(&[x.dim(0) * x.dim(1), -1, 1, self.head_dim])
    }
}
