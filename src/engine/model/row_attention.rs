//! Attention of single tokens where MLX computes it and not our kernel. They are of one sequence or of several, and go over the
//! pieces that their keys and values are in: nothing that grows with the conversation is copied for a token.
//!
//! What a token gathers does not depend, to the last bit, on those beside it: every product, sum and difference is what
//! it would be for the token alone. What is gained is that keys and values which several tokens see (conversations that
//! begin alike, tokens of one sequence) come from memory once, and that there are fewer operations.

use std::collections::HashMap;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{add, concatenate, matmul, multiply, softmax_axis, swap_axes};

use super::kv_cache::{KvPiece, Pieces};

/// What each query gathers from the keys and values that it sees, `[rows, heads * D]`.
///
/// Queries are `[R, heads, 1, D]`, one for each row in `seen`.
pub fn row_attention(queries: &Array, seen: &[Pieces]) -> Result<Array, Exception> {
    let &[_, heads, 1, width] = queries.shape() else { return Err(Exception::custom("single queries are needed")) };
    let scale = Array::from_f32((width as f32).powf(-0.5)).as_dtype(queries.dtype())?;
    // Heads that share keys are rows of one matrix.
    let kv_heads = seen[0].as_slice()[0].keys.dim(1);
    let queries = multiply(queries, scale)?.reshape(&[-1, kv_heads, heads / kv_heads, width])?;
    let stretches = stretches(seen);
    let softmax = |scores: Array| softmax_axis(scores, -1, true);
    let weights = scores(&queries, &stretches, seen.len())?.into_iter().map(softmax).collect::<Result<Vec<_>, _>>()?;

    let mut mixed: Vec<Option<Array>> = vec![None; seen.len()];
    let mut starts = vec![0; seen.len()];
    for Stretch { rows, pieces } in &stretches {
        let end = |start: i32| start + pieces.iter().map(|piece| piece.len()).sum::<i32>();
        let own = |row: &usize| weights[*row].try_index((.., .., .., starts[*row]..end(starts[*row])));
        let weights = joined(rows.iter().map(own).collect::<Result<_, _>>()?, 0)?;
        let so_far = rows.iter().filter_map(|row| mixed[*row].take()).collect::<Vec<_>>();
        let mut sum = if so_far.is_empty() { None } else { Some(joined(so_far, 0)?) };
        let mut start = 0;
        for piece in pieces {
            let end = start + piece.len();
            let part = matmul(weights.try_index((.., .., .., start..end))?, piece.values()?)?;
            sum = Some(match sum {
                Some(before) => add(before, part)?,
                None => part,
            });
            start = end;
        }
        for (place, row) in rows.iter().enumerate() {
            mixed[*row] = sum.as_ref().map(|sum| nth(sum, place, rows.len())).transpose()?;
            starts[*row] += start;
        }
    }
    joined(mixed.into_iter().flatten().collect(), 0)?.reshape(&[seen.len() as i32, heads * width])
}

/// Pieces one after the other that the same rows see.
struct Stretch<'a> {
    rows: Vec<usize>,
    pieces: Vec<&'a KvPiece>,
}

/// All pieces, each once for all rows that see it and see the same before it; in the order in which each row sees them.
fn stretches(seen: &[Pieces]) -> Vec<Stretch<'_>> {
    let mut nodes: Vec<(&KvPiece, Vec<usize>)> = Vec::new();
    let mut known = HashMap::new();
    for (row, pieces) in seen.iter().enumerate() {
        let mut before = None;
        for piece in pieces.as_slice() {
            let place = piece.shared.map(|shared| (before, shared, piece.tokens.clone()));
            let node = place.as_ref().and_then(|place| known.get(place).copied()).unwrap_or_else(|| {
                nodes.push((piece, Vec::new()));
                known.extend(place.map(|place| (place, nodes.len() - 1)));
                nodes.len() - 1
            });
            nodes[node].1.push(row);
            before = Some(node);
        }
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for (piece, rows) in nodes {
        match stretches.last_mut() {
            Some(last) if last.rows == rows => last.pieces.push(piece),
            _ => stretches.push(Stretch { rows, pieces: vec![piece] }),
        }
    }
    stretches
}

/// Each row's scores against all keys that it sees, `[1, kv_heads, heads / kv_heads, T]`.
fn scores(queries: &Array, stretches: &[Stretch], rows: usize) -> Result<Vec<Array>, Exception> {
    let mut scores = vec![Vec::new(); rows];
    for Stretch { rows, pieces } in stretches {
        let own = rows.iter().map(|row| nth(queries, *row, queries.dim(0) as usize)).collect::<Result<_, _>>()?;
        let queries = joined(own, 0)?;
        let parts = pieces.iter().map(|piece| matmul(&queries, swap_axes(piece.keys()?, 2, 3)?));
        let all = joined(parts.collect::<Result<_, _>>()?, 3)?;
        for (place, row) in rows.iter().enumerate() {
            scores[*row].push(nth(&all, place, rows.len())?);
        }
    }
    scores.into_iter().map(|parts| joined(parts, 3)).collect()
}

/// One row of several, along the first axis.
fn nth(rows: &Array, row: usize, of: usize) -> Result<Array, Exception> {
    let row = row as i32;
    if of == 1 { Ok(rows.clone()) } else { rows.try_index((row..row + 1, .., .., ..)) }
}

/// Several arrays, one after the other along an axis.
fn joined(parts: Vec<Array>, axis: i32) -> Result<Array, Exception> {
    if let [only] = &parts[..] { Ok(only.clone()) } else { concatenate(&parts, axis) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{largest, normal};
    use mlx_rs::fast::scaled_dot_product_attention;
    use mlx_rs::ops::subtract;

    /// A piece of so many tokens, that of all rows that say the same number; 0: that of no other.
    fn piece(kv_heads: i32, tokens: i32, shared: usize) -> KvPiece {
        let array = |seed: u64| normal(&[1, kv_heads, tokens, 16], 1000 * seed + 100 * shared as u64 + tokens as u64);
        KvPiece { shared: Some(shared).filter(|shared| *shared > 0), ..KvPiece::new(array(1), array(2)) }
    }

    #[test]
    fn a_query_over_pieces_gathers_what_the_fused_attention_gives() {
        for (heads, kv_heads, sizes) in [(4, 2, &[1, 512, 387][..]), (2, 2, &[1]), (6, 1, &[39, 1])] {
            let queries = normal(&[1, heads, 1, 16], 1);
            let pieces: Vec<KvPiece> = sizes.iter().map(|tokens| piece(kv_heads, *tokens, 0)).collect();
            let seen = Pieces::new(pieces);
            let (keys, values) = seen.whole().unwrap();
            let fused = scaled_dot_product_attention(&queries, keys, values, 0.25, None, None).unwrap();
            let fused = fused.reshape(&[1, heads * 16]).unwrap();
            let ours = row_attention(&queries, std::slice::from_ref(&seen)).unwrap();
            let difference = largest(&subtract(&fused, ours).unwrap());
            assert!(difference < 1e-5, "{sizes:?} tokens differ by {difference}");
        }
    }

    #[test]
    fn rows_that_see_the_same_pieces_gather_what_each_would_alone() {
        // Pieces by their size and who shares them: a beginning in common, branches, a piece shared after something else.
        let rows: [&[(i32, usize)]; 5] = [
            &[(100, 1), (64, 2), (3, 0)],
            &[(100, 1), (64, 2), (4, 0)],
            &[(100, 1), (50, 3), (64, 2), (9, 0)],
            &[(7, 0)],
            &[(100, 1), (50, 3)],
        ];
        let seen = rows.map(|row| Pieces::new(row.iter().map(|(tokens, shared)| piece(2, *tokens, *shared)).collect()));
        let queries = normal(&[8, 4, 1, 16], 1);
        let together = row_attention(&queries, &seen).unwrap();
        for (row, seen) in seen.into_iter().enumerate() {
            let alone = row_attention(&nth(&queries, row, 8).unwrap(), &[seen]).unwrap();
            let of_row = together.try_index((row as i32..row as i32 + 1, ..)).unwrap();
            assert_eq!(largest(&subtract(of_row, alone).unwrap()), 0.0, "row {row}");
        }
    }

    #[test]
    fn shared_pieces_are_read_once() {
        let rows: [&[(i32, usize)]; 3] = [&[(8, 1), (8, 2), (3, 0)], &[(8, 1), (8, 2), (3, 0)], &[(8, 1), (5, 0)]];
        let seen = rows.map(|row| Pieces::new(row.iter().map(|(tokens, shared)| piece(1, *tokens, *shared)).collect()));
        let found: Vec<(Vec<usize>, usize)> = stretches(&seen).into_iter().map(|it| (it.rows, it.pieces.len())).collect();
        assert_eq!(found, [(vec![0, 1, 2], 1), (vec![0, 1], 1), (vec![0], 1), (vec![1], 1), (vec![2], 1)]);
    }
}
