//! Causal attention: of a prompt's tokens by MLX's fused one or, on the CPU, by one in tiles; of single tokens by
//! [`row_attention`].
//!
//! On the CPU, MLX computes the whole score matrix, masks all of it (6 ns a score) and takes its softmax with a scalar
//! exponential (13 ns a score). Tiles need the mask only where keys and queries are the same tokens, stay in the processor's
//! cache, and get their exponential from additions and multiplications, which MLX vectorises: 2 to 3 times faster in all.

use std::ops::Range;

use mlx_rs::error::Exception;
use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{
    add, arange, concatenate, divide, expand_dims, full, gt, le, logical_and, matmul, maximum, multiply, select, subtract,
    swap_axes,
};
use mlx_rs::{Array, Device, DeviceType, array};

use super::batch::FEW;
use super::kv_cache::{KvPiece, Pieces};
use super::row_attention::row_attention;

/// Most queries in a tile.
const QUERIES: i32 = 128;

/// Most scores in a tile, over all heads: 1 MB.
const SCORES: i32 = 256 * 1024;

/// What each query gathers from the values of its own token and those before, of `window` tokens at most, if there is one:
/// `[rows, heads * D]`.
///
/// Queries are `[R, heads, 1, D]`, the first ones those of the sequences' new tokens. A sequence is how many it has, and
/// all its keys and values.
pub fn causal_attention(queries: &Array, sequences: Vec<(i32, Pieces)>, window: Option<i32>) -> Result<Array, Exception> {
    if let [(new, all)] = &sequences[..]
        && *new > FEW as i32
    {
        let &[_, heads, _, width] = queries.shape() else { return Err(Exception::custom("queries need four axes")) };
        let mixed = prompt_attention(&queries.transpose_axes(&[2, 1, 0, 3])?, all, window)?;
        return mixed.transpose_axes(&[2, 1, 0, 3])?.reshape(&[*new, heads * width]);
    }
    let seen = sequences.iter().flat_map(|(new, all)| {
        (0..*new).map(move |row| {
            let end = all.tokens() - new + row + 1;
            all.range(window.map_or(0, |window| (end - window).max(0))..end)
        })
    });
    row_attention(queries, &seen.collect::<Result<Vec<_>, _>>()?)
}

/// Of many tokens of one sequence: queries are `[1, heads, L, D]`, the last `L` of the `T` tokens of keys and values.
fn prompt_attention(queries: &Array, all: &Pieces, window: Option<i32>) -> Result<Array, Exception> {
    let scale = (queries.dim(3) as f32).powf(-0.5);
    let (new, tokens) = (queries.dim(2), all.tokens());
    // No query sees a token before this one.
    let first = window.map_or(0, |window| (tokens - new + 1 - window).max(0));
    let seen = all.range(first..tokens)?;
    let window = window.filter(|window| *window < tokens - first);
    if matches!(Device::try_default()?.get_type()?, DeviceType::Cpu) {
        return tiled(queries, &seen, scale, window);
    }
    let (keys, values) = seen.whole()?;
    if let Some(window) = window {
        let earlier = tokens - first - new;
        let mask = visible(earlier..earlier + new, 0..tokens - first, window)?;
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Array(&mask), None)
    } else {
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Causal, None)
    }
}

/// Block by block of queries: the tile of their own tokens, masked, then tiles of earlier ones. Tiles end where pieces do.
fn tiled(queries: &Array, seen: &Pieces, scale: f32, window: Option<i32>) -> Result<Array, Exception> {
    let &[_, heads, new, width] = queries.shape() else { return Err(Exception::custom("queries need four axes")) };
    let (kv_heads, all) = (seen.as_slice()[0].keys.dim(1), seen.tokens());
    // Scores to base 2; heads that share keys get an axis of their own: [1, K, H / K, L, D].
    let queries = multiply(queries, array!(scale * std::f32::consts::LOG2_E))?;
    let queries = queries.reshape(&[1, kv_heads, heads / kv_heads, new, width])?;
    let pieces = Piece::all(seen)?;
    let window = window.unwrap_or(all);

    let mut blocks = Vec::new();
    for first in (0..new).step_by(QUERIES as usize) {
        let rows = QUERIES.min(new - first);
        let queries = queries.try_index((.., .., .., first..first + rows, ..))?;
        let earlier = all - new + first;
        let own = earlier..earlier + rows;
        // The new tokens were appended together: the last piece has them all.
        let mut block = pieces[pieces.len() - 1].tile(&queries, own.clone(), Some(mask(own.clone(), own.clone(), window)?))?;
        let columns = (SCORES / (heads * rows)).max(1);
        for piece in &pieces {
            let seen = piece.tokens.start.max(earlier + 1 - window)..piece.tokens.end.min(earlier);
            for start in seen.clone().step_by(columns as usize) {
                let tokens = start..seen.end.min(start + columns);
                // The block's last query is the first that does not see a token any more.
                let hidden = start + window < own.end;
                let mask = if hidden { Some(mask(own.clone(), tokens.clone(), window)?) } else { None };
                block = block.merge(piece.tile(&queries, tokens, mask)?)?;
            }
        }
        blocks.push(divide(&block.mixed, &block.sum)?);
    }
    concatenate(&blocks, 3)?.reshape(&[1, heads, new, width])
}

/// The keys and values of some of the tokens, ready to be cut into tiles.
struct Piece {
    /// Their places among all tokens.
    tokens: Range<i32>,
    /// `[1, K, 1, D, tokens]`
    keys: Array,
    /// `[1, K, 1, tokens, D]`
    values: Array,
}

impl Piece {
    fn all(seen: &Pieces) -> Result<Vec<Self>, Exception> {
        let mut end = 0;
        let piece = |piece: &KvPiece| {
            let start = end;
            end += piece.tokens();
            let keys = swap_axes(expand_dims(&piece.keys, 2)?, 3, 4)?;
            Ok(Self { tokens: start..end, keys, values: expand_dims(&piece.values, 2)? })
        };
        seen.as_slice().iter().map(piece).collect()
    }

    /// What the queries gather from some of the tokens, given by their places among all.
    fn tile(&self, queries: &Array, tokens: Range<i32>, mask: Option<Array>) -> Result<Partial, Exception> {
        let within = tokens.start - self.tokens.start..tokens.end - self.tokens.start;
        let keys = self.keys.try_index((.., .., .., .., within.clone()))?;
        let values = self.values.try_index((.., .., .., within, ..))?;
        Partial::of_tile(queries, &keys, &values, mask.as_ref())
    }
}

/// What is added to the scores of queries against keys, both given by their places: very little where a key is not visible.
fn mask(queries: Range<i32>, keys: Range<i32>, window: i32) -> Result<Array, Exception> {
    select(visible(queries, keys, window)?, array!(0.0_f32), array!(-1e30_f32))
}

/// Which keys are at most `window - 1` places before each query, and not after it.
fn visible(queries: Range<i32>, keys: Range<i32>, window: i32) -> Result<Array, Exception> {
    let queries = expand_dims(arange::<i32, i32>(queries.start, queries.end, 1)?, 1)?;
    let keys = arange::<i32, i32>(keys.start, keys.end, 1)?;
    logical_and(le(&keys, &queries)?, gt(add(&keys, array!(window))?, &queries)?)
}

/// A softmax over some of the keys, so far without its denominator.
struct Partial {
    /// Each query's highest score.
    max: Array,
    /// Sum of the weights, which are powers of two of scores less `max`.
    sum: Array,
    /// Weighted sum of the values.
    mixed: Array,
}

impl Partial {
    fn of_tile(queries: &Array, keys: &Array, values: &Array, mask: Option<&Array>) -> Result<Self, Exception> {
        let mut scores = matmul(queries, keys)?;
        if let Some(mask) = mask {
            scores = add(scores, mask)?;
        }
        let max = scores.max_axis(-1, true)?;
        let weights = exp2(subtract(scores, &max)?)?;
        Ok(Self { sum: weights.sum_axis(-1, true)?, mixed: matmul(&weights, values)?, max })
    }

    fn merge(self, other: Self) -> Result<Self, Exception> {
        let max = maximum(&self.max, &other.max)?;
        let (ours, theirs) = (exp2(subtract(&self.max, &max)?)?, exp2(subtract(&other.max, &max)?)?);
        let sum = add(multiply(&self.sum, &ours)?, multiply(&other.sum, &theirs)?)?;
        let mixed = add(multiply(&self.mixed, &ours)?, multiply(&other.mixed, &theirs)?)?;
        Ok(Self { max, sum, mixed })
    }
}

/// 2 to the power of numbers that are not above 0, to 3e-7 of the result. What is below -126 counts as -126.
pub fn exp2(x: Array) -> Result<Array, Exception> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{largest, normal};

    /// The tokens cut at the given places.
    fn pieces(keys: &Array, values: &Array, cuts: &[i32]) -> Pieces {
        let starts = [&[0], cuts].concat();
        let ends = [cuts, &[keys.dim(2)]].concat();
        let part = |array: &Array, start, end| array.try_index((.., .., start..end, ..)).unwrap();
        let piece = |(start, end)| KvPiece { keys: part(keys, start, end), values: part(values, start, end), shared: None };
        Pieces::new(starts.into_iter().zip(ends).map(piece).collect())
    }

    #[test]
    fn tiles_give_what_the_fused_attention_gives() {
        // Several query blocks and key tiles, a single short block, a first chunk without earlier keys; windows that end
        // within a block, within a tile, and before all earlier tiles; in one piece and in several.
        let cases: [(i32, i32, i32, i32, &[i32]); 7] = [
            (4, 2, 300, 2000, &[]),
            (2, 1, 20, 9000, &[]),
            (6, 2, 130, 130, &[]),
            (1, 1, 2, 3, &[]),
            (4, 2, 300, 2000, &[3, 1010, 1690]),
            (2, 1, 20, 9000, &[8980]),
            (4, 2, 7, 600, &[512]),
        ];
        for (heads, kv_heads, new, all, cuts) in cases {
            let queries = normal(&[1, heads, new, 16], 1);
            let (keys, values) = (normal(&[1, kv_heads, all, 16], 2), normal(&[1, kv_heads, all, 16], 3));
            for window in [None, Some(1), Some(50), Some(700)] {
                let mask = visible(all - new..all, 0..all, window.unwrap_or(all)).unwrap();
                let mask = ScaledDotProductAttentionMask::Array(&mask);
                let fused = scaled_dot_product_attention(&queries, &keys, &values, 0.25, mask, None).unwrap();
                let fused = fused.transpose_axes(&[2, 1, 0, 3]).unwrap().reshape(&[new, heads * 16]).unwrap();
                let rows = queries.transpose_axes(&[2, 1, 0, 3]).unwrap();
                let ours = causal_attention(&rows, vec![(new, pieces(&keys, &values, cuts))], window).unwrap();
                let difference = largest(&subtract(&fused, ours).unwrap());
                assert!(difference < 1e-5, "{new} of {all} tokens, window {window:?}: differ by {difference}");
            }
        }
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
