//! Causal attention: on the CPU by our own kernel; else of a prompt's tokens by MLX's fused one, of single tokens by
//! [`row_attention`].

use std::ops::Range;

use mlx_rs::error::Exception;
use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::{add, arange, expand_dims, gt, le, logical_and};
use mlx_rs::{Array, array};

use super::batch::FEW;
use super::cpu;
use super::cpu_attention::cpu_attention;
use super::kv_cache::Pieces;
use super::row_attention::row_attention;

/// What each query gathers from the values of its own token and those before, of `window` tokens at most, if there is one:
/// `[rows, heads * D]`.
///
/// Queries are `[R, heads, 1, D]`, one for each of the sequences' new tokens. A sequence is how many it has, and all its keys and
/// values.
pub fn causal_attention(queries: &Array, sequences: Vec<(i32, Pieces)>, window: Option<i32>) -> Result<Array, Exception> {
    if cpu::is_default()? {
        return cpu_attention(queries, sequences, window);
    }
    if let [(new, all)] = &sequences[..]
        && *new > FEW as i32
    {
        return fused_attention(queries, all, window);
    }
    let seen = sequences.iter().flat_map(|(new, all)| {
        (0..*new).map(move |row| {
            let end = all.tokens() - new + row + 1;
            all.range(window.map_or(0, |window| (end - window).max(0))..end)
        })
    });
    row_attention(queries, &seen.collect::<Vec<_>>())
}

/// MLX's attention of the last tokens of a sequence, to which the queries belong.
fn fused_attention(queries: &Array, all: &Pieces, window: Option<i32>) -> Result<Array, Exception> {
    let &[new, heads, 1, width] = queries.shape() else { return Err(Exception::custom("single queries are needed")) };
    let (scale, tokens) = ((width as f32).powf(-0.5), all.tokens());
    // No query sees a token before this one.
    let first = window.map_or(0, |window| (tokens - new + 1 - window).max(0));
    let (keys, values) = all.range(first..tokens).whole()?;
    let queries = queries.transpose_axes(&[2, 1, 0, 3])?;
    let mixed = if let Some(window) = window.filter(|window| *window < tokens - first) {
        let earlier = tokens - first - new;
        let mask = visible(earlier..earlier + new, 0..tokens - first, window)?;
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Array(&mask), None)
    } else {
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Causal, None)
    };
    mixed?.transpose_axes(&[2, 1, 0, 3])?.reshape(&[new, heads * width])
}

/// Which keys are at most `window - 1` places before each query, and not after it.
fn visible(queries: Range<i32>, keys: Range<i32>, window: i32) -> Result<Array, Exception> {
    let queries = expand_dims(arange::<i32, i32>(queries.start, queries.end, 1)?, 1)?;
    let keys = arange::<i32, i32>(keys.start, keys.end, 1)?;
    logical_and(le(&keys, &queries)?, gt(add(&keys, array!(window))?, &queries)?)
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use mlx_rs::ops::subtract;

    use super::*;
    use crate::engine::model::kv_cache::KvPiece;
    use crate::engine::testing::{largest, normal};

    /// The tokens cut at the given places.
    fn pieces(keys: &Array, values: &Array, cuts: &[i32]) -> Pieces {
        let starts = [&[0], cuts].concat();
        let ends = [cuts, &[keys.dim(2)]].concat();
        let part = |array: &Array, start, end| array.try_index((.., .., start..end, ..)).unwrap();
        let piece = |(start, end)| KvPiece::new(part(keys, start, end), part(values, start, end));
        Pieces::new(starts.into_iter().zip(ends).map(piece).collect())
    }

    /// Attention of the last tokens, `[new, heads * D]`, from queries as the model has them: `[new, heads, 1, D]`.
    type Attend = fn(&Array, &Pieces, Option<i32>) -> Result<Array, Exception>;

    #[test]
    fn ours_and_the_fused_one_give_what_the_whole_matrix_gives() {
        // Several query blocks and key blocks, a single short block, a first chunk without earlier keys, heads that share keys
        // in threes, an odd width; windows that end within a block and before many; in one piece and in several.
        type Case<'a> = (i32, i32, i32, i32, i32, &'a [i32]);
        let cases: [Case; 8] = [
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
                let mask = visible(all - new..all, 0..all, window.unwrap_or(all)).unwrap();
                let mask = ScaledDotProductAttentionMask::Array(&mask);
                let turned = queries.transpose_axes(&[2, 1, 0, 3]).unwrap();
                let whole = scaled_dot_product_attention(&turned, &keys, &values, (width as f32).powf(-0.5), mask, None);
                let whole = whole.unwrap().transpose_axes(&[2, 1, 0, 3]).unwrap().reshape(&[new, heads * width]).unwrap();
                let by_kernel: Attend =
                    |queries, all, window| cpu_attention(queries, vec![(queries.dim(0), all.range(0..all.tokens()))], window);
                for attend in [by_kernel, fused_attention] {
                    let ours = attend(&queries, &pieces(&keys, &values, cuts), window).unwrap();
                    let difference = largest(&subtract(&whole, ours).unwrap());
                    assert!(difference < 3e-5, "{new} of {all} tokens, window {window:?}: differ by {difference}");
                }
            }
        }
    }
}
