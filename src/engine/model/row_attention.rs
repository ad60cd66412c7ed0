//! Attention of single tokens, of one sequence or of several, over the pieces that their keys and values are in: nothing that
//! grows with the conversation is copied for a token.
//!
//! What a token gathers does not depend, to the last bit, on those beside it: every product, sum and difference is what
//! it would be for the token alone. What is gained is that keys and values which several tokens see (conversations that
//! begin alike, tokens of one sequence) come from memory once, and that there are fewer operations.

use std::collections::HashMap;

use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{add, concatenate, divide, full, matmul, maximum, multiply, softmax_axis, subtract, swap_axes};
use mlx_rs::{Array, array};

use super::cpu;
use super::kv_cache::{KvPiece, Pieces};

/// About so many scores go through the exponential at once: more would not stay in the processor's cache.
const TOGETHER: usize = 32 * 1024;

/// Turns the scores, to base 2, of each token into weights that add up to 1.
type Softmax = fn(Vec<Array>) -> Result<Vec<Array>, Exception>;

/// What each query gathers from the keys and values that it sees, `[rows, heads * D]`.
///
/// Queries are `[R, heads, 1, D]`, of which the first are those of the rows in `seen`.
pub fn row_attention(queries: &Array, seen: &[Pieces]) -> Result<Array, Exception> {
    attend(queries, seen, if cpu::is_default()? { exp2_softmax } else { mlx_softmax })
}

fn attend(queries: &Array, seen: &[Pieces], softmax: Softmax) -> Result<Array, Exception> {
    let &[_, heads, 1, width] = queries.shape() else { return Err(Exception::custom("single queries are needed")) };
    let scale = (width as f32).powf(-0.5) * std::f32::consts::LOG2_E;
    let scale = Array::from_f32(scale).as_dtype(queries.dtype())?;
    // Heads that share keys are rows of one matrix.
    let kv_heads = seen[0].as_slice()[0].keys.dim(1);
    let queries = multiply(queries, scale)?.reshape(&[-1, kv_heads, heads / kv_heads, width])?;
    let stretches = stretches(seen);
    let weights = softmax(scores(&queries, &stretches, seen.len())?)?;

    let mut mixed: Vec<Option<Array>> = vec![None; seen.len()];
    let mut starts = vec![0; seen.len()];
    for Stretch { rows, pieces } in &stretches {
        let end = |start: i32| start + pieces.iter().map(|piece| piece.tokens()).sum::<i32>();
        let own = |row: &usize| weights[*row].try_index((.., .., .., starts[*row]..end(starts[*row])));
        let weights = joined(rows.iter().map(own).collect::<Result<_, _>>()?, 0)?;
        let so_far = rows.iter().filter_map(|row| mixed[*row].take()).collect::<Vec<_>>();
        let mut sum = if so_far.is_empty() { None } else { Some(joined(so_far, 0)?) };
        let mut start = 0;
        for piece in pieces {
            let end = start + piece.tokens();
            let part = matmul(weights.try_index((.., .., .., start..end))?, &piece.values)?;
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
    let mut known: HashMap<(Option<usize>, usize), usize> = HashMap::new();
    for (row, pieces) in seen.iter().enumerate() {
        let mut before = None;
        for piece in pieces.as_slice() {
            let place = piece.shared.map(|shared| (before, shared));
            let node = place.and_then(|place| known.get(&place).copied()).unwrap_or_else(|| {
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
        let parts = pieces.iter().map(|piece| matmul(&queries, swap_axes(&piece.keys, 2, 3)?));
        let all = joined(parts.collect::<Result<_, _>>()?, 3)?;
        for (place, row) in rows.iter().enumerate() {
            scores[*row].push(nth(&all, place, rows.len())?);
        }
    }
    scores.into_iter().map(|parts| joined(parts, 3)).collect()
}

/// A softmax by MLX.
fn mlx_softmax(scores: Vec<Array>) -> Result<Vec<Array>, Exception> {
    let base = |scores: &Array| Array::from_f32(std::f32::consts::LN_2).as_dtype(scores.dtype());
    scores.into_iter().map(|scores| softmax_axis(multiply(&scores, base(&scores)?)?, -1, true)).collect()
}

/// A softmax from additions and multiplications, which go over the scores of several rows at once.
fn exp2_softmax(scores: Vec<Array>) -> Result<Vec<Array>, Exception> {
    let (mut weights, mut rest) = (Vec::with_capacity(scores.len()), &scores[..]);
    while !rest.is_empty() {
        let mut left = TOGETHER;
        let fits = rest.iter().take_while(|scores| {
            let fits = left > 0;
            left = left.saturating_sub(scores.size());
            fits
        });
        let (rows, others) = rest.split_at(fits.count());
        weights.extend(exp2_softmax_together(rows)?);
        rest = others;
    }
    Ok(weights)
}

fn exp2_softmax_together(scores: &[Array]) -> Result<Vec<Array>, Exception> {
    let lowered = scores.iter().map(|scores| subtract(scores, scores.max_axis(-1, true)?)).collect::<Result<_, _>>()?;
    let powers = exp2(joined(lowered, 3)?)?;
    let mut end = 0;
    let of_row = |row: &Array| {
        end += row.dim(3);
        // A sum over numbers that lie otherwise in memory may be another.
        let weights = match scores {
            [_] => powers.clone(),
            _ => powers.try_index((.., .., .., end - row.dim(3)..end))?.contiguous()?,
        };
        divide(&weights, weights.sum_axis(-1, true)?)
    };
    scores.iter().map(of_row).collect()
}

/// 2 to the power of numbers that are not above 0, to 3e-7 of the result. What is below -126 counts as -126.
fn exp2(x: Array) -> Result<Array, Exception> {
    /// Adding it to a small number leaves the nearest whole number in the sum's lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    /// 2^x between -0.5 and 0.5 (minimax in the relative error), the highest power first.
    const POLYNOMIAL: [f32; 6] = [0.001_327_647_1, 0.009_675_541, 0.055_507_13, 0.240_221_2, 0.693_146_94, 1.000_000_1];
    let x = maximum(x, array!(-126.0_f32))?;
    let rounded = add(&x, array!(ROUNDER))?;
    let fraction = subtract(x, subtract(&rounded, array!(ROUNDER))?)?;
    let [highest, rest @ ..] = POLYNOMIAL;
    let mut power = full::<f32>(&[1], array!(highest))?;
    for coefficient in rest {
        power = add(multiply(power, &fraction)?, array!(coefficient))?;
    }
    // The whole number goes where a float keeps its exponent: 23 bits up. What else `rounded` holds is shifted out.
    let exponent = multiply(rounded.view::<i32>()?, array!(1 << 23))?;
    add(exponent, power.view::<i32>()?)?.view::<f32>()
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

    /// A piece of so many tokens, that of all rows that say the same number; 0: that of no other.
    fn piece(kv_heads: i32, tokens: i32, shared: usize) -> KvPiece {
        let array = |seed: u64| normal(&[1, kv_heads, tokens, 16], 1000 * seed + 100 * shared as u64 + tokens as u64);
        KvPiece { keys: array(1), values: array(2), shared: Some(shared).filter(|shared| *shared > 0) }
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
            for softmax in [exp2_softmax as Softmax, mlx_softmax] {
                let ours = attend(&queries, std::slice::from_ref(&seen), softmax).unwrap();
                let difference = largest(&subtract(&fused, ours).unwrap());
                assert!(difference < 1e-5, "{sizes:?} tokens differ by {difference}");
            }
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

    #[test]
    fn exp2_is_as_good_as_the_exact_one_and_never_overflows() {
        let numbers: Vec<f32> = (0..=12_600).map(|n| n as f32 * -0.01).collect();
        let powers = exp2(Array::from_slice(&numbers, &[numbers.len() as i32])).unwrap();
        for (x, power) in numbers.iter().zip(powers.as_slice::<f32>()) {
            let exact = f64::from(*x).exp2();
            assert!((f64::from(*power) / exact - 1.0).abs() < 4e-7, "2^{x} is {exact}, not {power}");
        }
        let far = exp2(Array::from_slice(&[-1e30, f32::NEG_INFINITY], &[2])).unwrap();
        assert!(far.as_slice::<f32>().iter().all(|power| (0.0..1e-37).contains(power)));
    }
}
