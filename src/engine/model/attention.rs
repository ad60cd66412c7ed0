//! Causal grouped-query attention. On the CPU our own kernel computes it; on a GPU, MLX's fused operation does for prefill
//! and [`row_attention`] for decoding.
//!
//! Shapes: `R` rows, `L` new tokens and `T` tokens in all of a sequence, `H` query heads, `K` key/value heads, `d` head width.

use std::ops::Range;

use mlx_rs::error::Exception;
use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::{add, arange, expand_dims, gt, le, logical_and};
use mlx_rs::{Array, array};

use super::batch::MAX_ROW_EXACT;
use super::cpu;
use super::cpu::attention::cpu_attention;
use super::kv_spans::{AttendedSequence, KvSpans};
use super::row_attention::row_attention;

/// The attention output, `[R, H · d]`, of queries `[R, H, 1, d]`: one for each new token of the sequences, in order. A token
/// attends to itself and the tokens before it, with a `window` to at most that many in all.
pub(super) fn causal_attention(
    queries: &Array,
    sequences: Vec<AttendedSequence>,
    window: Option<i32>,
) -> Result<Array, Exception> {
    if cpu::is_default()? {
        return cpu_attention(queries, sequences, window);
    }
    if let [AttendedSequence { new_tokens, kv }] = &sequences[..]
        && *new_tokens > MAX_ROW_EXACT as i32
    {
        return fused_attention(queries, kv, window);
    }
    let visible = sequences.iter().flat_map(|AttendedSequence { new_tokens, kv }| {
        (0..*new_tokens).map(move |row| {
            let end = kv.tokens() - new_tokens + row + 1;
            kv.slice(window.map_or(0, |window| (end - window).max(0))..end)
        })
    });
    row_attention(queries, &visible.collect::<Vec<_>>())
}

/// MLX's fused attention of the last `L` tokens of one sequence, to which the queries `[L, H, 1, d]` belong.
fn fused_attention(queries: &Array, kv: &KvSpans, window: Option<i32>) -> Result<Array, Exception> {
    let &[new, heads, 1, width] = queries.shape() else { return Err(Exception::custom("queries must be [L, H, 1, d]")) };
    let (scale, tokens) = ((width as f32).powf(-0.5), kv.tokens());
    // No query attends to a token before this one.
    let first = window.map_or(0, |window| (tokens - new + 1 - window).max(0));
    let (keys, values) = kv.slice(first..tokens).concatenated()?;
    let queries = queries.transpose_axes(&[2, 1, 0, 3])?;
    let output = if let Some(window) = window.filter(|window| *window < tokens - first) {
        let earlier = tokens - first - new;
        let mask = window_mask(earlier..earlier + new, 0..tokens - first, window)?;
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Array(&mask), None)
    } else {
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Causal, None)
    };
    output?.transpose_axes(&[2, 1, 0, 3])?.reshape(&[new, heads * width])
}

/// The mask `[queries, keys]` of a sliding window: true where a key is at its query's position or up to `window - 1` before.
fn window_mask(queries: Range<i32>, keys: Range<i32>, window: i32) -> Result<Array, Exception> {
    let queries = expand_dims(arange::<i32, i32>(queries.start, queries.end, 1)?, 1)?;
    let keys = arange::<i32, i32>(keys.start, keys.end, 1)?;
    logical_and(le(&keys, &queries)?, gt(add(&keys, array!(window))?, &queries)?)
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use mlx_rs::ops::subtract;

    use super::*;
    use crate::engine::model::kv_spans::KvSpan;
    use crate::engine::testing::{largest, normal};

    /// Keys and values as spans that are cut at the given tokens.
    fn spans(keys: &Array, values: &Array, cuts: &[i32]) -> KvSpans {
        let starts = [&[0], cuts].concat();
        let ends = [cuts, &[keys.dim(2)]].concat();
        let part = |array: &Array, start, end| array.try_index((.., .., start..end, ..)).unwrap();
        let span = |(start, end)| KvSpan::new(part(keys, start, end), part(values, start, end));
        KvSpans::new(starts.into_iter().zip(ends).map(span).collect())
    }

    /// Attention of the last `L` tokens: queries `[L, H, 1, d]` to `[L, H · d]`.
    type Attend = fn(&Array, &KvSpans, Option<i32>) -> Result<Array, Exception>;

    #[test]
    fn both_implementations_give_what_an_explicit_mask_gives() {
        // (H, K, d, L, T, cuts): several query tiles and key tiles, a single short tile, a first prefill chunk, three query heads
        // per key/value head, an odd width; windows that end within a key tile and many tiles earlier; one span and several.
        type AttentionCase<'a> = (i32, i32, i32, i32, i32, &'a [i32]);
        let cases: [AttentionCase; 8] = [
            (4, 2, 16, 300, 2000, &[]),
            (2, 1, 16, 20, 9000, &[]),
            (6, 2, 16, 130, 130, &[]),
            (1, 1, 16, 2, 3, &[]),
            (4, 2, 64, 300, 2000, &[3, 1010, 1690]),
            (2, 1, 16, 20, 9000, &[8980]),
            (4, 2, 16, 7, 600, &[512]),
            (3, 1, 21, 100, 400, &[128, 256]),
        ];
        for (heads, kv_heads, width, new, all, cuts) in cases {
            let queries = normal(&[new, heads, 1, width], 1);
            let (keys, values) = (normal(&[1, kv_heads, all, width], 2), normal(&[1, kv_heads, all, width], 3));
            for window in [None, Some(1), Some(50), Some(700)] {
                let mask = window_mask(all - new..all, 0..all, window.unwrap_or(all)).unwrap();
                let mask = ScaledDotProductAttentionMask::Array(&mask);
                let turned = queries.transpose_axes(&[2, 1, 0, 3]).unwrap();
                let whole = scaled_dot_product_attention(&turned, &keys, &values, (width as f32).powf(-0.5), mask, None);
                let whole = whole.unwrap().transpose_axes(&[2, 1, 0, 3]).unwrap().reshape(&[new, heads * width]).unwrap();
                let by_kernel: Attend = |queries, kv, window| {
                    let kv = kv.slice(0..kv.tokens());
                    cpu_attention(queries, vec![AttendedSequence { new_tokens: queries.dim(0), kv }], window)
                };
                for attend in [by_kernel, fused_attention] {
                    let ours = attend(&queries, &spans(&keys, &values, cuts), window).unwrap();
                    let difference = largest(&subtract(&whole, ours).unwrap());
                    assert!(difference < 3e-5, "{new} of {all} tokens, window {window:?}: differ by {difference}");
                }
            }
        }
    }
}
