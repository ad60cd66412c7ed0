//! Attention of a prompt's tokens on the CPU: MLX's arrays handed to our own kernel, where they are in memory.
//!
//! MLX computes all scores, masks all of them and takes their softmax with a scalar exponential, on one core.

use anyclaude_kernels::{Heads, Piece, causal_attention};
use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;

use super::cpu::{in_rows, numbers, written};
use super::kv_cache::{KvPiece, Pieces};

/// Attention of the last tokens of a sequence, to which the queries belong: `[new, heads, 1, D]` to `[new, heads * D]`.
/// Waits until it is computed.
///
/// What a token gets does not depend, to the last bit, on the tokens computed together with it or on the pieces.
pub fn cpu_attention(queries: &Array, all: &Pieces, window: Option<i32>) -> Result<Array, Exception> {
    let &[new, heads, 1, width] = queries.shape() else { return Err(Exception::custom("single queries are needed")) };
    let dtype = queries.dtype();
    let queries = in_rows(queries)?;
    let pieces = all.as_slice().iter().map(|KvPiece { keys, values, .. }| Ok((in_rows(keys)?, in_rows(values)?)));
    let pieces = pieces.collect::<Result<Vec<_>, Exception>>()?;
    eval(pieces.iter().flat_map(|(keys, values)| [keys, values]).chain([&queries]))?;

    let kv_heads = pieces[0].0.dim(1) as usize;
    let pieces = pieces.iter().map(|(keys, values)| Ok(Piece { keys: numbers(keys)?, values: numbers(values)? }));
    let pieces = pieces.collect::<Result<Vec<_>, Exception>>()?;
    let shape = Heads { queries: heads as usize, keys: kv_heads, width: width as usize };
    let (queries, window) = (numbers(&queries)?, window.map(|window| window as usize));
    let mixed = written(&[new, heads * width], |mixed| causal_attention(queries, &pieces, shape, window, mixed));
    mixed.as_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::testing::normal;

    const TOKENS: i32 = 600;

    /// Some tokens of `[1, heads, tokens, D]`.
    fn part(array: &Array, tokens: std::ops::Range<i32>) -> Array {
        array.try_index((.., .., tokens, ..)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn neither_chunks_nor_pieces_change_a_bit(
            mut cuts in prop::collection::vec(1..TOKENS, 0..6),
            chunk in (1..TOKENS, 1..TOKENS),
            window in prop::option::of(1..TOKENS),
            (kv_heads, group) in (1..3, 1..4),
        ) {
            let heads = kv_heads * group;
            let queries = normal(&[TOKENS, heads, 1, 16], 1);
            let (keys, values) = (normal(&[1, kv_heads, TOKENS, 16], 2), normal(&[1, kv_heads, TOKENS, 16], 3));
            let pieces = |cuts: &[i32], end: i32| {
                let starts = [&[0], cuts].concat();
                let ends = [cuts, &[end]].concat();
                let piece = |(start, end)| KvPiece { keys: part(&keys, start..end), values: part(&values, start..end), shared: None };
                Pieces::new(starts.into_iter().zip(ends).map(piece).collect())
            };
            let whole = cpu_attention(&queries, &pieces(&[], TOKENS), window).unwrap();

            let (start, end) = (chunk.0.min(chunk.1) - 1, chunk.0.max(chunk.1));
            cuts.sort();
            cuts.dedup();
            cuts.retain(|cut| *cut < end);
            let rows = queries.try_index((start..end, .., .., ..)).unwrap();
            let chunk = cpu_attention(&rows, &pieces(&cuts, end), window).unwrap();
            let row = (heads * 16) as usize;
            let same = &whole.as_slice::<f32>()[start as usize * row..end as usize * row];
            prop_assert!(same == chunk.as_slice::<f32>());
        }
    }
}
