//! Attention on the GPU path: MLX's fused operation, once for each layer and each sequence or each sequences of joint buffers, over
//! buffers in which the keys and values of a sequence lie side by side. How many operations a token takes does not depend on how
//! long its sequence is.

use std::ops::Range;

use mlx_rs::error::Exception;
use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{add, arange, concatenate, expand_dims, gt, le, logical_and};
use mlx_rs::{Array, array};

use super::{Attention, Scores, gated};
use crate::engine::model::batch::{Attended, Batch};
use crate::engine::model::kv_buffer::LayerKv;
use crate::engine::model::layers::RmsNorm;

/// Most bytes of scores that are made at once. They are made only where MLX has no fused kernel.
const MOST_SCORE_BYTES: usize = 256 << 20;

/// The widths of heads for whose prefill MLX has one on Metal, if values are as wide as keys. Newer versions of MLX may have one for
/// more widths, such as 96; a bound costs these no more than a few operations.
const FUSED_WIDTHS: [i32; 3] = [64, 80, 128];

/// Matrix products are computed in tiles of this many rows, so a part has a multiple of it where that many fit; a part with fewer
/// would leave the rest of its last tile unused.
const TILE: usize = 32;

/// The queries of the new tokens of one sequence, or of `S` that share buffers, and the keys and values that they attend to.
pub(super) struct FusedInput {
    /// Queries of the new tokens, `[S, H, L, d]`.
    pub queries: Array,
    /// Of the tokens, the new ones included, `[S, K, T, width]`.
    pub kv: LayerKv,
    /// Which of several sequences' tokens each query sees, `[S, 1, L, T]`.
    pub mask: Option<Array>,
}

impl Attention {
    /// `[n, R / n, D]` to the same shape. Appends the new keys and values to the caches.
    pub(super) fn forward_fused(&self, x: &Array, layer: usize, batch: &mut Batch) -> Result<Array, Exception> {
        let (inputs, gates) = self.fill_fused(x, layer, batch)?;
        let outputs = inputs.iter().map(|input| attend(input, self.scores())).collect::<Result<Vec<_>, _>>()?;
        let heads = joined(outputs, x.dim(1))?;
        let attended = heads.transpose_axes(&[0, 2, 1, 3])?.reshape(&[x.dim(0), x.dim(1), -1])?;
        self.output.forward(&gated(attended, gates.as_ref())?)
    }

    /// Appends the new keys and values to the caches. Returns what each sequence attends with and to, and the gates,
    /// `[n, R / n, H · d]`, if there are any.
    pub(super) fn fill_fused(
        &self,
        x: &Array,
        layer: usize,
        batch: &mut Batch,
    ) -> Result<(Vec<FusedInput>, Option<Array>), Exception> {
        let rotated = |projected: &Array, norm| self.rope.rotate_from(&self.heads_of(projected, norm)?, batch.starts());
        let (queries, gates) = self.queries_and_gates(self.query.forward(x)?)?;
        let queries = Self::scaled(rotated(&queries, self.query_norm.as_ref())?, batch.query_factors())?;
        let sizes = batch.part_sizes();
        let attended = match &self.own {
            Some(own) => {
                let (keys, values) = own.project(x)?;
                let keys = rotated(&keys, own.key_norm.as_ref())?;
                let values = own.normed_values(self.heads_of(&values, None)?)?;
                let (keys, values) = (parted(keys, &sizes)?, parted(values, &sizes)?);
                let of_part = |(keys, values)| LayerKv { keys, values: Some(values) };
                batch.append(layer, self.window, &keys.into_iter().zip(values).map(of_part).collect::<Vec<_>>())?
            }
            None => batch.attended(layer, self.window)?,
        };
        let input = |(queries, Attended { kv, mask })| FusedInput { queries, kv, mask };
        let inputs = parted(queries, &sizes)?.into_iter().zip(attended).map(input).collect();
        Ok((inputs, gates))
    }

    /// The heads of a projection, `[n, R / n, heads · d]` to `[n, heads, R / n, d]`.
    fn heads_of(&self, projected: &Array, norm: Option<&RmsNorm>) -> Result<Array, Exception> {
        let normed = norm.map(|norm| norm.for_each_part(projected)).transpose()?;
        let heads = projected.dim(2) / self.head_dim;
        let heads = normed.as_ref().unwrap_or(projected).reshape(&[projected.dim(0), projected.dim(1), heads, self.head_dim])?;
        heads.transpose_axes(&[0, 2, 1, 3])
    }
}

/// The parts of `[n, heads, R / n, d]`, each `[S, heads, L, d]`; `sizes` has `S` and `L` of each.
pub(super) fn parted(heads: Array, sizes: &[[i32; 2]]) -> Result<Vec<Array>, Exception> {
    let of_group = heads.dim(2);
    let ends = sizes.iter().scan(0, |end, [sequences, rows]| {
        *end += sequences * rows / of_group;
        Some(*end)
    });
    let cuts: Vec<i32> = ends.take(sizes.len().saturating_sub(1)).collect();
    let parts = if cuts.is_empty() { vec![heads] } else { heads.split_at_indices(&cuts, 0)? };
    let part = |(part, [sequences, rows]): (Array, &[i32; 2])| {
        if part.dim(2) == *rows {
            return Ok(part);
        }
        // Groups of one row: `[S · L, heads, 1, d]`.
        part.reshape(&[*sequences, *rows, part.dim(1), part.dim(3)])?.transpose_axes(&[0, 2, 1, 3])
    };
    parts.into_iter().zip(sizes).map(part).collect()
}

/// The way back from [`parted`], to groups of `of_group` rows.
pub(super) fn joined(parts: Vec<Array>, of_group: i32) -> Result<Array, Exception> {
    let part = |part: Array| {
        if part.dim(2) == of_group {
            return Ok(part);
        }
        part.transpose_axes(&[0, 2, 1, 3])?.reshape(&[-1, part.dim(1), 1, part.dim(3)])
    };
    let mut parts = parts.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
    if let [_] = &parts[..] { Ok(parts.remove(0)) } else { concatenate(&parts, 0) }
}

/// The attention output of the new tokens of a part, `[S, H, L, d]`. A token attends to what the mask says; without one, to itself
/// and the tokens before it, with a `window` to at most that many in all. With `sinks`, `[H]`, it also attends to nothing.
pub(super) fn attend(input: &FusedInput, scores: Scores) -> Result<Array, Exception> {
    let width = input.queries.dim(3);
    let at_once = if is_fused(width, scores.value_width) { i32::MAX } else { rows_at_once(input, MOST_SCORE_BYTES) };
    attend_in_parts(input, scores, at_once)
}

/// Whether MLX has a fused prefill kernel for keys of this width, and for values of another one if that is given.
fn is_fused(width: i32, value_width: Option<i32>) -> bool {
    FUSED_WIDTHS.contains(&width) && value_width.is_none_or(|values| values == width)
}

/// How many new tokens may attend at once so that the scores take at most this many bytes; at least one.
fn rows_at_once(FusedInput { queries, kv, .. }: &FusedInput, most_bytes: usize) -> i32 {
    let of_row = [queries.dim(0), queries.dim(1), kv.keys.dim(2)].iter().map(|size| *size as usize).product::<usize>();
    let rows = most_bytes / (of_row * queries.item_size()).max(1);
    let rows = if rows > TILE { rows / TILE * TILE } else { rows.max(1) };
    i32::try_from(rows).unwrap_or(i32::MAX)
}

/// The same, at most this many new tokens at once, each part with the keys up to its last token.
fn attend_in_parts(input: &FusedInput, scores: Scores, at_once: i32) -> Result<Array, Exception> {
    let FusedInput { queries, kv, mask } = input;
    let (new, tokens) = (queries.dim(2), kv.keys.dim(2));
    if mask.is_some() || new <= at_once {
        return attend_whole(input, scores);
    }
    let part = |start: i32| {
        let end = (start + at_once).min(new);
        let seen = |array: &Array| array.try_index((.., .., 0..tokens - new + end, ..));
        let kv = LayerKv { keys: seen(&kv.keys)?, values: kv.values.as_ref().map(seen).transpose()? };
        attend_whole(&FusedInput { queries: queries.try_index((.., .., start..end, ..))?, kv, mask: None }, scores)
    };
    concatenate(&(0..new).step_by(at_once as usize).map(part).collect::<Result<Vec<_>, _>>()?, 2)
}

/// The same by one operation.
fn attend_whole(
    FusedInput { queries, kv, mask }: &FusedInput,
    Scores { scale, window, sinks, value_width }: Scores,
) -> Result<Array, Exception> {
    let LayerKv { keys, values } = kv;
    let values = match (values, value_width) {
        (Some(values), _) => values.clone(),
        (None, Some(width)) => keys.try_index((.., .., .., 0..width))?,
        (None, None) => keys.clone(),
    };
    let values = &values;
    let (new, tokens) = (queries.dim(2), keys.dim(2));
    if let Some(mask) = mask {
        return scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Array(mask), sinks);
    }
    let Some(window) = window.filter(|window| *window < tokens) else {
        // A single new token sees all tokens: no mask.
        let mask = (new > 1).then_some(ScaledDotProductAttentionMask::Causal);
        return scaled_dot_product_attention(queries, keys, values, scale, mask, sinks);
    };
    // No query sees a token before this one.
    let first = (tokens - new + 1 - window).max(0);
    let seen = |array: &Array| array.try_index((.., .., first..tokens, ..));
    let (keys, values) = (seen(keys)?, seen(values)?);
    if new == 1 {
        return scaled_dot_product_attention(queries, keys, values, scale, None, sinks);
    }
    let mask = window_mask(tokens - new - first..tokens - first, 0..tokens - first, window)?;
    scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Array(&mask), sinks)
}

/// The mask `[queries, keys]` of a sliding window: true where a key is at its query's position or up to `window - 1` before.
fn window_mask(queries: Range<i32>, keys: Range<i32>, window: i32) -> Result<Array, Exception> {
    let queries = expand_dims(arange::<i32, i32>(queries.start, queries.end, 1)?, 1)?;
    let keys = arange::<i32, i32>(keys.start, keys.end, 1)?;
    logical_and(le(&keys, &queries)?, gt(add(&keys, array!(window))?, &queries)?)
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::subtract;

    use super::*;
    use crate::engine::model::cpu::attention::cpu_attention;
    use crate::engine::model::kv_spans::{AttendedSequence, KvSpan, KvSpans};
    use crate::engine::testing::{largest, normal};

    /// Keys and values as spans that are cut at the given tokens.
    fn spans(keys: &Array, values: &Array, cuts: &[i32]) -> KvSpans {
        let starts = [&[0], cuts].concat();
        let ends = [cuts, &[keys.dim(2)]].concat();
        let part = |array: &Array, start, end| array.try_index((.., .., start..end, ..)).unwrap();
        let span = |(start, end)| KvSpan::new(LayerKv { keys: part(keys, start, end), values: Some(part(values, start, end)) });
        KvSpans::new(starts.into_iter().zip(ends).map(span).collect())
    }

    #[test]
    fn both_paths_give_what_an_explicit_mask_gives() {
        // (H, K, d, L, T, cuts): several query tiles and key tiles, a single short tile, a first prefill chunk, a single token,
        // three query heads per key/value head, an odd width; windows that end within a key tile and many tiles earlier; one span
        // and several.
        type AttentionCase<'a> = (i32, i32, i32, i32, i32, &'a [i32]);
        let cases: [AttentionCase; 9] = [
            (4, 2, 16, 300, 2000, &[]),
            (2, 1, 16, 20, 9000, &[]),
            (6, 2, 16, 130, 130, &[]),
            (1, 1, 16, 2, 3, &[]),
            (4, 2, 16, 1, 600, &[512]),
            (4, 2, 64, 300, 2000, &[3, 1010, 1690]),
            (2, 1, 16, 20, 9000, &[8980]),
            (4, 2, 16, 7, 600, &[512]),
            (3, 1, 21, 100, 400, &[128, 256]),
        ];
        for (heads, kv_heads, width, new, all, cuts) in cases {
            let queries = normal(&[1, heads, new, width], 1);
            let (keys, values) = (normal(&[1, kv_heads, all, width], 2), normal(&[1, kv_heads, all, width], 3));
            let sinks = normal(&[heads], 4);
            for (window, sinks) in
                [(None, None), (Some(1), None), (Some(50), Some(&sinks)), (Some(700), None), (None, Some(&sinks))]
            {
                let mask = window_mask(all - new..all, 0..all, window.unwrap_or(all)).unwrap();
                let mask = ScaledDotProductAttentionMask::Array(&mask);
                let scores = Scores { scale: (width as f32).powf(-0.5), window, sinks, value_width: None };
                let whole = scaled_dot_product_attention(&queries, &keys, &values, scores.scale, mask, sinks).unwrap();
                // `[1, H, L, d]` to `[L, H · d]`.
                let in_rows = |heads: Array| heads.transpose_axes(&[2, 1, 0, 3]).unwrap().reshape(&[new, -1]).unwrap();

                let kv = LayerKv { keys: keys.clone(), values: Some(values.clone()) };
                let input = FusedInput { queries: queries.clone(), kv, mask: None };
                let fused = in_rows(attend(&input, scores).unwrap());
                let attended = AttendedSequence { new_tokens: new, kv: spans(&keys, &values, cuts) };
                let on_cpu = cpu_attention(&queries.transpose_axes(&[2, 1, 0, 3]).unwrap(), vec![attended], scores).unwrap();
                let whole = in_rows(whole);
                for (path, ours) in [("fused", fused), ("kernel", on_cpu)] {
                    let difference = largest(&subtract(&whole, ours).unwrap());
                    let what = format!("{path}: {new} of {all} tokens, window {window:?}, sinks: {}", sinks.is_some());
                    assert!(difference < 3e-5, "{what}: differ by {difference}");
                }
            }
        }
    }

    #[test]
    fn new_tokens_attend_in_parts_as_they_do_at_once() {
        let sinks = normal(&[4], 4);
        for (window, sinks, value_width) in
            [(None, None, None), (Some(50), None, None), (Some(900), Some(&sinks), None), (None, None, Some(100))]
        {
            let values = value_width.is_none().then(|| normal(&[1, 2, 700, 136], 3));
            let kv = LayerKv { keys: normal(&[1, 2, 700, 136], 2), values };
            let input = FusedInput { queries: normal(&[1, 4, 300, 136], 1), kv, mask: None };
            let scores = Scores { scale: 0.05, window, sinks, value_width };
            let whole = attend_whole(&input, scores).unwrap();
            for at_once in [1, 64, 299] {
                let difference = largest(&subtract(&whole, attend_in_parts(&input, scores, at_once).unwrap()).unwrap());
                assert!(difference < 1e-5, "{at_once} at once, window {window:?}: differ by {difference}");
            }
        }
    }

    #[test]
    fn scores_are_bounded_where_no_kernel_avoids_them() {
        let fused = |widths: &[i32]| widths.iter().map(|width| is_fused(*width, None)).collect::<Vec<_>>();
        assert_eq!(fused(&[64, 80, 128]), [true; 3]);
        assert_eq!(fused(&[16, 100, 112, 192, 256, 512, 576]), [false; 7]);
        assert_eq!([Some(128), Some(64)].map(|values| is_fused(128, values)), [true, false]);
    }

    #[test]
    fn scores_take_no_more_than_their_bound() {
        let input = |heads, new, tokens| {
            let zeros = |shape: &[i32]| mlx_rs::ops::zeros::<f32>(shape).unwrap();
            let kv = LayerKv { keys: zeros(&[1, 1, tokens, 1]), values: None };
            FusedInput { queries: zeros(&[1, heads, new, 1]), kv, mask: None }
        };
        for (heads, tokens, rows) in [(32, 100_000, 20), (8, 100_000, 64), (8, 4_096, 2_048), (32, 10_000_000, 1)] {
            let found = rows_at_once(&input(heads, 2_048, tokens), MOST_SCORE_BYTES);
            assert_eq!(found, rows, "{heads} heads, {tokens} tokens");
            assert!(found == 1 || (found * heads) as usize * tokens as usize * 4 <= MOST_SCORE_BYTES);
        }
    }

    #[test]
    fn sequences_are_parted_and_joined_in_their_order() {
        // Groups of rows `[n, R / n]`, and each part's sequences and rows.
        let cases = [
            (1, 3, &[[1, 3]][..]),
            (4, 1, &[[1, 1]; 4]),
            (2, 3, &[[1, 3], [1, 3]]),
            (6, 1, &[[1, 2], [1, 1], [1, 3]]),
            (4, 1, &[[4, 1]]),
            (4, 2, &[[1, 2], [3, 2]]),
            (9, 1, &[[1, 1], [2, 3], [2, 1]]),
        ];
        for (groups, of_group, sizes) in cases {
            let heads = normal(&[groups, 2, of_group, 4], 1);
            let parts = parted(heads.clone(), sizes).unwrap();
            assert!(parts.iter().zip(sizes).all(|(part, [s, rows])| part.shape() == [*s, 2, *rows, 4]));
            let back = joined(parts, of_group).unwrap();
            assert_eq!(back.shape(), heads.shape());
            assert_eq!(largest(&subtract(&back, &heads).unwrap()), 0.0);
        }
    }
}
