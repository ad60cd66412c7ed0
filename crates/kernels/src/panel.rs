//! Queries in the lanes of vectors, and the state of their online softmax.

use std::array::from_fn;
use std::ops::Range;

use pulp::{Simd, bytemuck};

use crate::exp2::exp2;

/// Rows computed together in the inner loops: with more, their sums would not fit into the registers.
const UNROLLED_ROWS: usize = 8;

/// The highest score before any key, where there is no sink: lower than any real score, but finite, so that differences are never
/// NaN.
const LOWEST: f32 = -1e30;

/// One number per lane, in `V` vectors.
pub(crate) type LaneRow<S, const V: usize> = [<S as Simd>::f32s; V];

/// Queries, one per lane, and what they have attended to so far.
pub(crate) struct Panel<S: Simd, const V: usize> {
    /// The queries, scaled so that scores are to base 2: `width` rows.
    queries: Vec<LaneRow<S, V>>,
    sight: Sight,
    /// Each query's highest score so far.
    max: LaneRow<S, V>,
    /// Sum of the weights so far, `2^(score - max)`: the softmax's denominator.
    sum: LaneRow<S, V>,
    /// Sum of the values so far, each by its weight: a row for each of a value's numbers.
    weighted: Vec<LaneRow<S, V>>,
}

/// Which tokens queries see.
pub(crate) struct Sight {
    /// Each query's position in its sequence.
    pub positions: Vec<usize>,
    /// Sliding window: how many tokens a query sees, its own included.
    pub window: usize,
}

/// Keys and values of consecutive tokens.
pub(crate) struct KeyTile<'a> {
    pub tokens: Range<usize>,
    /// `[tokens, width]`.
    pub keys: &'a [f32],
    /// One value begins every `value_stride` numbers.
    pub values: &'a [f32],
    pub value_stride: usize,
}

impl<S: Simd, const V: usize> Panel<S, V> {
    /// Most queries.
    pub(crate) const LANES: usize = V * S::F32_LANES;

    /// A panel that has attended to nothing but its sinks: the score of each query's, if there are any.
    #[inline(always)]
    pub(crate) fn new(simd: S, queries: &[&[f32]], sinks: Option<&[f32]>, sight: Sight, scale: f32, value_width: usize) -> Self {
        let width = queries[0].len();
        let scale = scale * std::f32::consts::LOG2_E;
        let mut rows = vec![Self::zero(simd); width];
        for (lane, query) in queries.iter().enumerate() {
            for (row, number) in rows.iter_mut().zip(*query) {
                numbers_mut::<S, V>(row)[lane] = number * scale;
            }
        }
        let (mut max, mut sum) = ([simd.splat_f32s(LOWEST); V], Self::zero(simd));
        for (lane, sink) in sinks.unwrap_or_default().iter().enumerate() {
            numbers_mut::<S, V>(&mut max)[lane] = sink * std::f32::consts::LOG2_E;
            numbers_mut::<S, V>(&mut sum)[lane] = 1.0;
        }
        Self { queries: rows, sight, max, sum, weighted: vec![Self::zero(simd); value_width] }
    }

    /// Number of queries.
    pub(crate) fn lanes(&self) -> usize {
        self.sight.positions.len()
    }

    /// A row of zeros.
    #[inline(always)]
    pub(crate) fn zero(simd: S) -> LaneRow<S, V> {
        [simd.splat_f32s(0.0); V]
    }

    /// Lets the queries of some lanes attend to a tile. `scores` is a buffer with a row for each key.
    #[inline(always)]
    pub(crate) fn attend(&mut self, simd: S, lanes: Range<usize>, tile: &KeyTile, scores: &mut [LaneRow<S, V>]) {
        let &KeyTile { ref tokens, keys, values, value_stride } = tile;
        let Sight { positions, window } = &self.sight;
        let positions = || positions[lanes.clone()].iter();
        let (Some(first), Some(last)) = (positions().min().copied(), positions().max().copied()) else { return };
        let end = tokens.end.min(last + 1);
        if end <= tokens.start.max((first + 1).saturating_sub(*window)) {
            return;
        }
        let scores = &mut scores[..end - tokens.start];
        self.score(simd, keys, scores);
        if end > first + 1 || tokens.start + window <= last {
            self.mask_keys(tokens.start, scores);
        }
        if lanes.len() < self.lanes() {
            self.mask_lanes(simd, lanes, scores);
        }
        let kept = self.weigh(simd, scores);
        self.add_values(simd, values, value_stride, scores, kept);
    }

    /// Writes the scores of all lanes with all keys.
    #[inline(always)]
    fn score(&self, simd: S, keys: &[f32], scores: &mut [LaneRow<S, V>]) {
        let width = self.queries.len();
        let unrolled = scores.len() / UNROLLED_ROWS * UNROLLED_ROWS;
        let (many, rest) = scores.split_at_mut(unrolled);
        for (scores, keys) in many.chunks_exact_mut(UNROLLED_ROWS).zip(keys.chunks_exact(UNROLLED_ROWS * width)) {
            dot::<S, V, UNROLLED_ROWS>(simd, &self.queries, keys, scores);
        }
        for (score, key) in rest.chunks_mut(1).zip(keys[unrolled * width..].chunks_exact(width)) {
            dot::<S, V, 1>(simd, &self.queries, key, score);
        }
    }

    /// Sets the score to −∞ where a query does not see the key: causal mask and window.
    #[inline(always)]
    fn mask_keys(&self, start: usize, scores: &mut [LaneRow<S, V>]) {
        let Sight { positions, window } = &self.sight;
        for (lane, position) in positions.iter().enumerate() {
            let visible = (position + 1).saturating_sub(*window).max(start)..position + 1;
            for (token, score) in (start..).zip(scores.iter_mut()) {
                if !visible.contains(&token) {
                    numbers_mut::<S, V>(score)[lane] = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Sets the scores of all lanes but the given ones to −∞: the tile is not of their sequence.
    #[inline(always)]
    fn mask_lanes(&self, simd: S, lanes: Range<usize>, scores: &mut [LaneRow<S, V>]) {
        let mut mask = [simd.splat_f32s(f32::NEG_INFINITY); V];
        numbers_mut::<S, V>(&mut mask)[lanes].fill(0.0);
        for score in scores {
            for vector in 0..V {
                score[vector] = simd.add_f32s(score[vector], mask[vector]);
            }
        }
    }

    /// Turns scores into weights. Returns the factor `2^(old max - new max)` by which the weights so far have to shrink.
    #[inline(always)]
    fn weigh(&mut self, simd: S, scores: &mut [LaneRow<S, V>]) -> LaneRow<S, V> {
        let (mut max, mut sum) = (self.max, Self::zero(simd));
        for score in scores.iter() {
            for vector in 0..V {
                max[vector] = simd.max_f32s(max[vector], score[vector]);
            }
        }
        for score in scores.iter_mut() {
            for vector in 0..V {
                score[vector] = exp2(simd, simd.sub_f32s(score[vector], max[vector]));
                sum[vector] = simd.add_f32s(sum[vector], score[vector]);
            }
        }
        let mut kept = Self::zero(simd);
        for vector in 0..V {
            kept[vector] = exp2(simd, simd.sub_f32s(self.max[vector], max[vector]));
            self.sum[vector] = simd.mul_add_e_f32s(self.sum[vector], kept[vector], sum[vector]);
        }
        self.max = max;
        kept
    }

    /// Adds the tile's values, `stride` numbers apart, by their weights, after shrinking the sum so far by `kept`.
    #[inline(always)]
    fn add_values(&mut self, simd: S, values: &[f32], stride: usize, weights: &[LaneRow<S, V>], kept: LaneRow<S, V>) {
        let width = self.weighted.len();
        let unrolled = width / UNROLLED_ROWS * UNROLLED_ROWS;
        for column in (0..unrolled).step_by(UNROLLED_ROWS) {
            let sums = &mut self.weighted[column..];
            add_columns::<S, V, UNROLLED_ROWS>(simd, weights, &values[column..], stride, kept, sums);
        }
        for column in unrolled..width {
            add_columns::<S, V, 1>(simd, weights, &values[column..], stride, kept, &mut self.weighted[column..]);
        }
    }

    /// Writes each query's attention output.
    #[inline(always)]
    pub(crate) fn write(&self, output: &mut [&mut [f32]]) {
        for (lane, output) in output.iter_mut().enumerate() {
            let share = 1.0 / numbers::<S, V>(&self.sum)[lane];
            for (number, row) in output.iter_mut().zip(&self.weighted) {
                *number = numbers::<S, V>(row)[lane] * share;
            }
        }
    }
}

/// Dot products of all queries with `N` keys, which follow each other in `keys`.
#[inline(always)]
fn dot<S: Simd, const V: usize, const N: usize>(simd: S, queries: &[LaneRow<S, V>], keys: &[f32], scores: &mut [LaneRow<S, V>]) {
    let width = queries.len();
    let keys: [&[f32]; N] = from_fn(|key| &keys[key * width..][..width]);
    let mut sums = [Panel::<S, V>::zero(simd); N];
    // Indices instead of iterators: the compiler then sees that all slices are long enough, and checks no bounds inside.
    for at in 0..width {
        for row in 0..N {
            let number = simd.splat_f32s(keys[row][at]);
            for vector in 0..V {
                sums[row][vector] = simd.mul_add_e_f32s(number, queries[at][vector], sums[row][vector]);
            }
        }
    }
    let scores = &mut scores[..N];
    scores.copy_from_slice(&sums);
}

/// `sums = sums · kept + Σ weight · value` for `N` columns of the values, whose rows are `stride` apart.
#[inline(always)]
fn add_columns<S: Simd, const V: usize, const N: usize>(
    simd: S,
    weights: &[LaneRow<S, V>],
    values: &[f32],
    stride: usize,
    kept: LaneRow<S, V>,
    sums: &mut [LaneRow<S, V>],
) {
    let mut added = [Panel::<S, V>::zero(simd); N];
    let mut start = 0;
    for weight in weights {
        let Some(value) = values.get(start..start + N) else { break };
        for row in 0..N {
            let number = simd.splat_f32s(value[row]);
            for vector in 0..V {
                added[row][vector] = simd.mul_add_e_f32s(number, weight[vector], added[row][vector]);
            }
        }
        start += stride;
    }
    let sums = &mut sums[..N];
    for row in 0..N {
        for vector in 0..V {
            sums[row][vector] = simd.mul_add_e_f32s(sums[row][vector], kept[vector], added[row][vector]);
        }
    }
}

/// A row's numbers, one per lane.
#[inline(always)]
fn numbers<S: Simd, const V: usize>(row: &LaneRow<S, V>) -> &[f32] {
    bytemuck::cast_slice(row)
}

#[inline(always)]
fn numbers_mut<S: Simd, const V: usize>(row: &mut LaneRow<S, V>) -> &mut [f32] {
    bytemuck::cast_slice_mut(row)
}
