//! Causal attention, of all tokens or the last few: MLX's fused one, or, for prompts on the CPU, one in tiles.
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

/// Most queries in a tile.
const QUERIES: i32 = 128;

/// Most scores in a tile, over all heads: 1 MB.
const SCORES: i32 = 256 * 1024;

/// What each query gathers from the values of its own token and those before; of `window` tokens at most, if there is one.
///
/// Queries are `[1, heads, L, D]`, the last `L` of the `T` tokens that keys and values, `[1, kv_heads, T, D]`, have.
pub fn causal_attention(queries: &Array, keys: &Array, values: &Array, window: Option<i32>) -> Result<Array, Exception> {
    let scale = (queries.dim(3) as f32).powf(-0.5);
    let (new, all) = (queries.dim(2), keys.dim(2));
    // No query sees a token before this one.
    let first = window.map_or(0, |window| (all - new + 1 - window).max(0));
    let (keys, values) = (keys.try_index((.., .., first.., ..))?, values.try_index((.., .., first.., ..))?);
    let window = window.filter(|window| *window < all - first);
    if new == 1 {
        // One query sees all keys.
        scaled_dot_product_attention(queries, keys, values, scale, None, None)
    } else if matches!(Device::try_default()?.get_type()?, DeviceType::Cpu) {
        tiled(queries, &keys, &values, scale, window)
    } else if let Some(window) = window {
        let earlier = all - first - new;
        let mask = visible(earlier..earlier + new, 0..all - first, window)?;
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Array(&mask), None)
    } else {
        scaled_dot_product_attention(queries, keys, values, scale, ScaledDotProductAttentionMask::Causal, None)
    }
}

/// Block by block of queries: the tile of their own tokens, masked, then tiles of earlier ones.
fn tiled(queries: &Array, keys: &Array, values: &Array, scale: f32, window: Option<i32>) -> Result<Array, Exception> {
    let &[_, heads, new, width] = queries.shape() else { return Err(Exception::custom("queries need four axes")) };
    let (kv_heads, all) = (keys.dim(1), keys.dim(2));
    // Scores to base 2; heads that share keys get an axis of their own: [1, K, H / K, L, D].
    let queries = multiply(queries, array!(scale * std::f32::consts::LOG2_E))?;
    let queries = queries.reshape(&[1, kv_heads, heads / kv_heads, new, width])?;
    let keys = swap_axes(expand_dims(keys, 2)?, 3, 4)?;
    let values = expand_dims(values, 2)?;
    let tile = |queries: &Array, tokens: Range<i32>, mask: Option<Array>| {
        let keys = keys.try_index((.., .., .., .., tokens.clone()))?;
        let values = values.try_index((.., .., .., tokens, ..))?;
        Partial::of_tile(queries, &keys, &values, mask.as_ref())
    };
    let window = window.unwrap_or(all);

    let mut blocks = Vec::new();
    for first in (0..new).step_by(QUERIES as usize) {
        let rows = QUERIES.min(new - first);
        let queries = queries.try_index((.., .., .., first..first + rows, ..))?;
        let earlier = all - new + first;
        let own = earlier..earlier + rows;
        let mut block = tile(&queries, own.clone(), Some(mask(own.clone(), own.clone(), window)?))?;
        let columns = (SCORES / (heads * rows)).max(1);
        for start in ((earlier + 1 - window).max(0)..earlier).step_by(columns as usize) {
            let tokens = start..earlier.min(start + columns);
            // The block's last query is the first that does not see a token any more.
            let hidden = start + window < own.end;
            let mask = if hidden { Some(mask(own.clone(), tokens.clone(), window)?) } else { None };
            block = block.merge(tile(&queries, tokens, mask)?)?;
        }
        blocks.push(divide(&block.mixed, &block.sum)?);
    }
    concatenate(&blocks, 3)?.reshape(&[1, heads, new, width])
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

    #[test]
    fn tiles_give_what_the_fused_attention_gives() {
        // Several query blocks and key tiles, a single short block, a first chunk without earlier keys; windows that end
        // within a block, within a tile, and before all earlier tiles.
        let cases = [(4, 2, 300, 2000), (2, 1, 20, 9000), (6, 2, 130, 130), (1, 1, 2, 3)];
        for (heads, kv_heads, new, all) in cases {
            let queries = normal(&[1, heads, new, 16], 1);
            let (keys, values) = (normal(&[1, kv_heads, all, 16], 2), normal(&[1, kv_heads, all, 16], 3));
            for window in [None, Some(1), Some(50), Some(700)] {
                let mask = visible(all - new..all, 0..all, window.unwrap_or(all)).unwrap();
                let mask = ScaledDotProductAttentionMask::Array(&mask);
                let fused = scaled_dot_product_attention(&queries, &keys, &values, 0.25, mask, None).unwrap();
                let ours = causal_attention(&queries, &keys, &values, window).unwrap();
                let difference = largest(&subtract(&fused, ours).unwrap());
                assert!(difference < 1e-5, "{new} of {all} tokens, window {window:?}: differ by {difference}");
            }
        }
    }

    #[test]
    fn one_query_sees_its_window() {
        let (keys, values) = (normal(&[1, 1, 40, 16], 2), normal(&[1, 1, 40, 16], 3));
        let query = normal(&[1, 1, 1, 16], 1);
        let windowed = causal_attention(&query, &keys, &values, Some(8)).unwrap();
        let cut = |a: &Array| a.try_index((.., .., 32.., ..)).unwrap();
        let whole = causal_attention(&query, &cut(&keys), &cut(&values), None).unwrap();
        assert_eq!(largest(&subtract(windowed, whole).unwrap()), 0.0);
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
