//! Attention on the CPU: MLX's arrays handed to our own kernel, where they are in memory.
//!
//! MLX computes all scores, masks all of them and takes their softmax with a scalar exponential, on one core.

use anyclaude_kernels::{Heads, KEYS, Piece, Sequence, causal_attention};
use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::cpu::{in_rows, numbers, written};
use super::kv_cache::{KvPiece, Pieces};

/// Attention of the last tokens of some sequences: each is how many these are, and all its keys and values. Queries are `[R,
/// heads, 1, D]`, one for each of these tokens; to `[R, heads * D]`. Waits until it is computed.
///
/// What a token gets does not depend, to the last bit, on the tokens and sequences computed together with it or on the pieces.
pub fn cpu_attention(queries: &Array, sequences: Vec<(i32, Pieces)>, window: Option<i32>) -> Result<Array, Exception> {
    let sequences: Vec<_> = sequences.into_iter().map(|(new, all)| (new, seen(all, new, window))).collect();
    let &[_, heads, 1, width] = queries.shape() else { return Err(Exception::custom("single queries are needed")) };
    let dtype = queries.dtype();
    let pieces = sequences.iter().flat_map(|(_, all)| all.as_slice());
    let arrays = in_rows(pieces.flat_map(|KvPiece { keys, values, .. }| [keys, values]).chain([queries]))?;
    let mut arrays = arrays.iter();
    let mut next = || numbers(arrays.next().expect("two for each piece, and the queries"));
    let mut in_memory = Vec::with_capacity(sequences.len());
    for (new, all) in &sequences {
        let piece = |KvPiece { tokens, .. }: &KvPiece| {
            Ok(Piece { keys: next()?, values: next()?, tokens: tokens.start as usize..tokens.end as usize })
        };
        let pieces = all.as_slice().iter().map(piece).collect::<Result<_, Exception>>()?;
        in_memory.push(Sequence { new: *new as usize, pieces });
    }
    let new: i32 = sequences.iter().map(|(new, _)| new).sum();
    let shape = Heads { queries: heads as usize, keys: sequences[0].1.as_slice()[0].keys.dim(1) as usize, width: width as usize };
    let queries = next()?;
    let window = window.map(|window| window as usize);
    let mixed = written(&[new, heads * width], |mixed| {
        causal_attention(queries, &in_memory, common(&sequences), shape, window, mixed);
    });
    mixed.as_dtype(dtype)
}

/// The tokens that the new ones see, and what is before them in their block, so that blocks stay as they are.
fn seen(all: Pieces, new: i32, window: Option<i32>) -> Pieces {
    let first = window.map_or(0, |window| (all.tokens() - new + 1 - window).max(0)) / KEYS as i32 * KEYS as i32;
    if first == 0 { all } else { all.range(first..all.tokens()) }
}

/// How many tokens all sequences have the same keys and values of, in the same memory.
fn common(sequences: &[(i32, Pieces)]) -> usize {
    let Some(((_, first), others)) = sequences.split_first() else { return 0 };
    let mut common = 0;
    for (at, piece) in first.as_slice().iter().enumerate() {
        let of_other = |(_, all): &(i32, Pieces)| match all.as_slice().get(at) {
            Some(other) if other.shared == piece.shared && other.tokens.start == piece.tokens.start => other.len(),
            _ => 0,
        };
        let same = others.iter().map(of_other).fold(piece.len(), i32::min);
        if piece.shared.is_none() || same == 0 {
            break;
        }
        common += same;
        if same < piece.len() || others.iter().any(|(_, all)| all.as_slice()[at].len() > same) {
            break;
        }
    }
    common as usize
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::testing::normal;

    const TOKENS: i32 = 600;

    #[test]
    fn what_sequences_have_in_common_is_what_begins_alike_in_the_same_memory() {
        let array = normal(&[1, 1, 300, 4], 1);
        let piece = |tokens, shared| KvPiece { tokens, shared, ..KvPiece::new(array.clone(), array.clone()) };
        let sequence = |pieces: &[(std::ops::Range<i32>, usize)]| {
            let pieces = pieces.iter().map(|(tokens, shared)| piece(tokens.clone(), Some(*shared).filter(|shared| *shared > 0)));
            (1, Pieces::new(pieces.collect()))
        };
        let whole = || sequence(&[(0..300, 1), (0..200, 2), (0..1, 0)]);
        for (other, wanted) in [
            (sequence(&[(0..300, 1), (0..200, 2), (0..5, 0)]), 500),
            (sequence(&[(0..300, 1), (0..50, 2), (0..5, 0)]), 350),
            (sequence(&[(0..200, 1), (0..200, 2)]), 200),
            (sequence(&[(0..300, 1), (0..200, 3)]), 300),
            (sequence(&[(128..300, 1), (0..200, 2)]), 0),
            (sequence(&[(0..300, 0)]), 0),
        ] {
            assert_eq!((common(&[whole(), other]), common(&[whole()])), (wanted, 500));
        }
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
                // Buffers begin before the piece and end after it.
                let piece = |(start, end): (i32, i32)| KvPiece { tokens: start..end, ..KvPiece::new(keys.clone(), values.clone()) };
                Pieces::new(starts.into_iter().zip(ends).map(piece).collect())
            };
            let whole = cpu_attention(&queries, vec![(TOKENS, pieces(&[], TOKENS))], window).unwrap();

            let (start, end) = (chunk.0.min(chunk.1) - 1, chunk.0.max(chunk.1));
            cuts.sort();
            cuts.dedup();
            cuts.retain(|cut| *cut < end);
            let rows = queries.try_index((start..end, .., .., ..)).unwrap();
            let chunk = cpu_attention(&rows, vec![(end - start, pieces(&cuts, end))], window).unwrap();
            let row = (heads * 16) as usize;
            let same = &whole.as_slice::<f32>()[start as usize * row..end as usize * row];
            prop_assert!(same == chunk.as_slice::<f32>());
        }
    }
}
