//! Causal attention: MLX's fused one, or, for prompts on the CPU, one in tiles; for a single token, one over pieces.
//!
//! On the CPU, MLX computes the whole score matrix, masks all of it (6 ns a score) and takes its softmax with a scalar
//! exponential (13 ns a score). Tiles need the mask only where keys and queries are the same tokens, stay in the processor's
//! cache, and get their exponential from additions and multiplications, which MLX vectorises: 2 to 3 times faster in all.

use mlx_rs::error::Exception;
use mlx_rs::fast::{ScaledDotProductAttentionMask, scaled_dot_product_attention};
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{
    add, concatenate, divide, expand_dims, full, matmul, maximum, multiply, softmax_axis, subtract, swap_axes, triu,
};
use mlx_rs::{Array, Device, DeviceType, array};

use super::kv_cache::Pieces;

/// Most queries in a tile.
const QUERIES: i32 = 128;

/// Most scores in a tile, over all heads: 1 MB.
const SCORES: i32 = 256 * 1024;

/// What each query gathers from the values of its own token and those before.
///
/// Queries are `[1, heads, L, D]`, the last `L` of the `T` tokens that keys and values, `[1, kv_heads, T, D]`, have.
pub fn causal_attention(queries: &Array, keys: &Pieces, values: &Pieces) -> Result<Array, Exception> {
    let scale = (queries.dim(3) as f32).powf(-0.5);
    let on_cpu = matches!(Device::try_default()?.get_type()?, DeviceType::Cpu);
    match (queries.dim(2), on_cpu) {
        (1, _) => one_query(queries, keys, values, scale, if on_cpu { exp2_softmax } else { mlx_softmax }),
        (_, true) => tiled(queries, keys, values, scale),
        (_, false) => {
            let causal = ScaledDotProductAttentionMask::Causal;
            scaled_dot_product_attention(queries, &keys.whole()?, &values.whole()?, scale, causal, None)
        }
    }
}

/// One query, which sees all keys, piece by piece: nothing that grows with the conversation is copied for a token.
/// `softmax` takes scores to base 2.
fn one_query(
    queries: &Array,
    keys: &Pieces,
    values: &Pieces,
    scale: f32,
    softmax: fn(Array) -> Result<Array, Exception>,
) -> Result<Array, Exception> {
    let &[_, heads, 1, width] = queries.shape() else { return Err(Exception::custom("one query is needed")) };
    let (keys, values) = (keys.as_slice(), values.as_slice());
    let kv_heads = keys[0].dim(1);
    // Heads that share keys are rows of one matrix.
    let scale = Array::from_f32(scale * std::f32::consts::LOG2_E).as_dtype(queries.dtype())?;
    let queries = multiply(queries, scale)?.reshape(&[1, kv_heads, heads / kv_heads, width])?;
    let scores = keys.iter().map(|keys| matmul(&queries, swap_axes(keys, 2, 3)?)).collect::<Result<Vec<_>, _>>()?;
    let weights = softmax(concatenate(&scores, 3)?)?;
    let mut mixed: Option<Array> = None;
    let mut start = 0;
    for values in values {
        let end = start + values.dim(2);
        let part = matmul(weights.try_index((.., .., .., start..end))?, values)?;
        mixed = Some(match mixed {
            Some(before) => add(before, part)?,
            None => part,
        });
        start = end;
    }
    mixed.ok_or_else(|| Exception::custom("there are no values"))?.reshape(&[1, heads, 1, width])
}

/// A softmax over scores to base 2, by MLX.
fn mlx_softmax(scores: Array) -> Result<Array, Exception> {
    let base = Array::from_f32(std::f32::consts::LN_2).as_dtype(scores.dtype())?;
    softmax_axis(multiply(scores, base)?, -1, true)
}

/// A softmax over scores to base 2, from additions and multiplications.
fn exp2_softmax(scores: Array) -> Result<Array, Exception> {
    let weights = exp2(subtract(&scores, scores.max_axis(-1, true)?)?)?;
    divide(&weights, weights.sum_axis(-1, true)?)
}

/// Block by block of queries: the tile of their own tokens, masked, then tiles of earlier ones.
fn tiled(queries: &Array, keys: &Pieces, values: &Pieces, scale: f32) -> Result<Array, Exception> {
    let &[_, heads, new, width] = queries.shape() else { return Err(Exception::custom("queries need four axes")) };
    // The new tokens are in the last piece, perhaps after others.
    let lengths: Vec<i32> = keys.as_slice().iter().map(|keys| keys.dim(2)).collect();
    let (Some(&last), kv_heads) = (lengths.last(), keys.as_slice()[0].dim(1)) else {
        return Err(Exception::custom("there are no keys"));
    };
    // Scores to base 2; heads that share keys get an axis of their own: [1, K, H / K, L, D].
    let queries = multiply(queries, array!(scale * std::f32::consts::LOG2_E))?;
    let queries = queries.reshape(&[1, kv_heads, heads / kv_heads, new, width])?;
    let keys = keys.as_slice().iter().map(|keys| swap_axes(expand_dims(keys, 2)?, 3, 4)).collect::<Result<Vec<_>, _>>()?;
    let values = values.as_slice().iter().map(|values| expand_dims(values, 2)).collect::<Result<Vec<_>, _>>()?;
    let tile = |queries: &Array, piece: usize, start: i32, end: i32, mask: Option<&Array>| {
        let keys = keys[piece].try_index((.., .., .., .., start..end))?;
        let values = values[piece].try_index((.., .., .., start..end, ..))?;
        Partial::of_tile(queries, &keys, &values, mask)
    };

    let mut blocks = Vec::new();
    for first in (0..new).step_by(QUERIES as usize) {
        let rows = QUERIES.min(new - first);
        let queries = queries.try_index((.., .., .., first..first + rows, ..))?;
        let own = last - new + first;
        let mut block = tile(&queries, lengths.len() - 1, own, own + rows, Some(&mask(rows)?))?;
        let columns = (SCORES / (heads * rows)).max(1);
        for (piece, length) in lengths.iter().enumerate() {
            let earlier = if piece + 1 == lengths.len() { own } else { *length };
            for start in (0..earlier).step_by(columns as usize) {
                block = block.merge(tile(&queries, piece, start, earlier.min(start + columns), None)?)?;
            }
        }
        blocks.push(divide(&block.mixed, &block.sum)?);
    }
    concatenate(&blocks, 3)?.reshape(&[1, heads, new, width])
}

/// What is added to the scores of `tokens` queries against their own tokens: very little where a key comes later.
fn mask(tokens: i32) -> Result<Array, Exception> {
    triu(full::<f32>(&[tokens, tokens], array!(-1e30_f32))?, 1)
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

#[cfg(test)]
mod tests {
    use super::*;
    use mlx_rs::random;

    fn normal(shape: &[i32], seed: u64) -> Array {
        random::normal::<f32>(shape, 0.0, 1.5, &random::key(seed).unwrap()).unwrap()
    }

    fn largest(array: &Array) -> f32 {
        array.abs().unwrap().max(false).unwrap().item_exact()
    }

    /// The tokens cut at the given places.
    fn pieces(array: &Array, cuts: &[i32]) -> Pieces {
        let starts = [&[0], cuts].concat();
        let ends = [cuts, &[array.dim(2)]].concat();
        let ranges = starts.into_iter().zip(ends);
        Pieces::new(ranges.map(|(start, end)| array.try_index((.., .., start..end, ..)).unwrap()).collect())
    }

    #[test]
    fn tiles_give_what_the_fused_attention_gives() {
        // Several query blocks and key tiles, a single short block, a first chunk without earlier keys; then in pieces.
        let cases: [(i32, i32, i32, i32, &[i32]); 6] = [
            (4, 2, 300, 2000, &[]),
            (2, 1, 20, 9000, &[]),
            (6, 2, 130, 130, &[]),
            (1, 1, 2, 3, &[]),
            (4, 2, 300, 2000, &[3, 512, 1690]),
            (2, 1, 20, 9000, &[8980]),
        ];
        for (heads, kv_heads, new, all, cuts) in cases {
            let queries = normal(&[1, heads, new, 16], 1);
            let (keys, values) = (normal(&[1, kv_heads, all, 16], 2), normal(&[1, kv_heads, all, 16], 3));
            let causal = ScaledDotProductAttentionMask::Causal;
            let fused = scaled_dot_product_attention(&queries, &keys, &values, 0.25, causal, None).unwrap();
            let ours = tiled(&queries, &pieces(&keys, cuts), &pieces(&values, cuts), 0.25).unwrap();
            let difference = largest(&subtract(&fused, ours).unwrap());
            assert!(difference < 1e-5, "{new} of {all} tokens differ by {difference}");
        }
    }

    #[test]
    fn one_query_over_pieces_gives_what_the_fused_attention_gives() {
        for (heads, kv_heads, all, cuts) in [(4, 2, 900, &[1, 513][..]), (2, 2, 1, &[]), (6, 1, 40, &[39])] {
            let queries = normal(&[1, heads, 1, 16], 1);
            let (keys, values) = (normal(&[1, kv_heads, all, 16], 2), normal(&[1, kv_heads, all, 16], 3));
            let fused = scaled_dot_product_attention(&queries, &keys, &values, 0.25, None, None).unwrap();
            for softmax in [exp2_softmax, mlx_softmax] {
                let ours = one_query(&queries, &pieces(&keys, cuts), &pieces(&values, cuts), 0.25, softmax).unwrap();
                let difference = largest(&subtract(&fused, ours).unwrap());
                assert!(difference < 1e-5, "{all} tokens differ by {difference}");
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
