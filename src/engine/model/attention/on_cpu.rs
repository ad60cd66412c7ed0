//! Attention on the CPU path: rows are split among the cores, and our kernel reads keys and values where the cache has them.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;

use super::Attention;
use crate::engine::model::batch::Batch;
use crate::engine::model::cpu::attention::cpu_attention;
use crate::engine::model::cpu::cores::{by_rows, joined};
use crate::engine::model::kv_spans::AttendedSequence;
use crate::engine::model::layers::{Linear, RmsNorm};

impl Attention {
    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches.
    pub(super) fn forward_on_cpu(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let (queries, sequences) = self.fill_on_cpu(x, layer, batch)?;
        let attended = cpu_attention(&queries, sequences, self.window)?;
        joined(&by_rows(&batch.batched(attended)?, |attended, _| Ok([self.output.forward(attended)?]))?, 0)
    }

    /// Appends the new keys and values to the caches. Returns the queries, `[R, H, 1, d]`, and what they attend to.
    pub(super) fn fill_on_cpu(
        &self,
        x: &Array,
        layer: usize,
        batch: &mut Batch,
    ) -> Result<(Array, Vec<AttendedSequence>), Exception> {
        let parts = by_rows(x, |x, rows| self.project(x, &batch.positions().try_index(rows)?))?;
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
        let (query_norm, key_norm) = self.norms();
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
