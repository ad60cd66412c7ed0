//! Queries that are each in a lane of their own, and what they have gathered so far.

use std::array::from_fn;
use std::ops::Range;

use pulp::{Simd, bytemuck};

use crate::exp2::exp2;

/// Rows that are computed together: with more, they would not fit into the registers.
const ROWS: usize = 8;

/// Lower than any score.
const LOWEST: f32 = -1e30;

/// A number for each query, in `V` vectors, whose products with the same number are computed together.
pub type Row<S, const V: usize> = [<S as Simd>::f32s; V];

/// Queries, a lane each, and the softmax over the keys that they have met, so far without its denominator.
pub struct Panel<S: Simd, const V: usize> {
    /// The queries' numbers, so that scores come out to base 2: `width` rows.
    queries: Vec<Row<S, V>>,
    /// Each query's place among the tokens of its sequence.
    places: Vec<usize>,
    /// How many tokens a query sees, its own included.
    window: usize,
    /// The highest score.
    max: Row<S, V>,
    /// Sum of the weights, which are powers of two of scores less `max`.
    sum: Row<S, V>,
    /// Weighted sum of the values: `width` rows.
    mixed: Vec<Row<S, V>>,
}

/// Some tokens' keys and values, each `[tokens, width]`.
pub struct Block<'a> {
    pub tokens: Range<usize>,
    pub keys: &'a [f32],
    pub values: &'a [f32],
}

impl<S: Simd, const V: usize> Panel<S, V> {
    /// Most queries.
    pub const LANES: usize = V * S::F32_LANES;

    /// No key met yet.
    #[inline(always)]
    pub fn new(simd: S, queries: &[&[f32]], places: Vec<usize>, window: usize) -> Self {
        let width = queries[0].len();
        let scale = (width as f32).powf(-0.5) * std::f32::consts::LOG2_E;
        let mut rows = vec![Self::zero(simd); width];
        for (lane, query) in queries.iter().enumerate() {
            for (row, number) in rows.iter_mut().zip(*query) {
                numbers_mut::<S, V>(row)[lane] = number * scale;
            }
        }
        let max = [simd.splat_f32s(LOWEST); V];
        Self { queries: rows, places, window, max, sum: Self::zero(simd), mixed: vec![Self::zero(simd); width] }
    }

    /// How many queries it has.
    pub fn lanes(&self) -> usize {
        self.places.len()
    }

    /// A row of zeros.
    #[inline(always)]
    pub fn zero(simd: S) -> Row<S, V> {
        [simd.splat_f32s(0.0); V]
    }

    /// Has the queries in some lanes meet a block of keys. `scores` is room for a row for each key.
    #[inline(always)]
    pub fn attend(&mut self, simd: S, lanes: Range<usize>, block: &Block, scores: &mut [Row<S, V>]) {
        let &Block { ref tokens, keys, values } = block;
        let places = || self.places[lanes.clone()].iter();
        let (Some(first), Some(last)) = (places().min().copied(), places().max().copied()) else { return };
        let end = tokens.end.min(last + 1);
        if end <= tokens.start.max((first + 1).saturating_sub(self.window)) {
            return;
        }
        let scores = &mut scores[..end - tokens.start];
        self.score(simd, keys, scores);
        if end > first + 1 || tokens.start + self.window <= last {
            self.hide(tokens.start, scores);
        }
        if lanes.len() < self.places.len() {
            self.keep(simd, lanes, scores);
        }
        let kept = self.weigh(simd, scores);
        self.mix(simd, values, scores, kept);
    }

    /// The scores of keys.
    #[inline(always)]
    fn score(&self, simd: S, keys: &[f32], scores: &mut [Row<S, V>]) {
        let width = self.queries.len();
        let together = scores.len() / ROWS * ROWS;
        let (many, rest) = scores.split_at_mut(together);
        for (scores, keys) in many.chunks_exact_mut(ROWS).zip(keys.chunks_exact(ROWS * width)) {
            dot::<S, V, ROWS>(simd, &self.queries, keys, scores);
        }
        for (score, key) in rest.chunks_mut(1).zip(keys[together * width..].chunks_exact(width)) {
            dot::<S, V, 1>(simd, &self.queries, key, score);
        }
    }

    /// Makes nothing of the scores of keys that a query does not see.
    #[inline(always)]
    fn hide(&self, start: usize, scores: &mut [Row<S, V>]) {
        for (lane, place) in self.places.iter().enumerate() {
            let seen = (place + 1).saturating_sub(self.window).max(start)..place + 1;
            for (token, score) in (start..).zip(scores.iter_mut()) {
                if !seen.contains(&token) {
                    numbers_mut::<S, V>(score)[lane] = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Makes nothing of the scores of queries in other lanes.
    #[inline(always)]
    fn keep(&self, simd: S, lanes: Range<usize>, scores: &mut [Row<S, V>]) {
        let mut hidden = [simd.splat_f32s(f32::NEG_INFINITY); V];
        numbers_mut::<S, V>(&mut hidden)[lanes].fill(0.0);
        for score in scores {
            for vector in 0..V {
                score[vector] = simd.add_f32s(score[vector], hidden[vector]);
            }
        }
    }

    /// Turns scores into weights; gives what is left of former weights, as there may be a higher score now.
    #[inline(always)]
    fn weigh(&mut self, simd: S, scores: &mut [Row<S, V>]) -> Row<S, V> {
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

    /// Adds weighted values.
    #[inline(always)]
    fn mix(&mut self, simd: S, values: &[f32], weights: &[Row<S, V>], kept: Row<S, V>) {
        let width = self.mixed.len();
        let together = width / ROWS * ROWS;
        for column in (0..together).step_by(ROWS) {
            gather::<S, V, ROWS>(simd, weights, &values[column..], width, kept, &mut self.mixed[column..]);
        }
        for column in together..width {
            gather::<S, V, 1>(simd, weights, &values[column..], width, kept, &mut self.mixed[column..]);
        }
    }

    /// What each query has gathered.
    #[inline(always)]
    pub fn write(&self, mixed: &mut [&mut [f32]]) {
        for (lane, mixed) in mixed.iter_mut().enumerate() {
            let share = 1.0 / numbers::<S, V>(&self.sum)[lane];
            for (number, row) in mixed.iter_mut().zip(&self.mixed) {
                *number = numbers::<S, V>(row)[lane] * share;
            }
        }
    }
}

/// Products of the queries with `N` keys, one after the other.
#[inline(always)]
fn dot<S: Simd, const V: usize, const N: usize>(simd: S, queries: &[Row<S, V>], keys: &[f32], scores: &mut [Row<S, V>]) {
    let width = queries.len();
    let keys: [&[f32]; N] = from_fn(|key| &keys[key * width..][..width]);
    let mut sums = [Panel::<S, V>::zero(simd); N];
    // By index: so the compiler sees that all slices are long enough.
    for place in 0..width {
        for row in 0..N {
            let number = simd.splat_f32s(keys[row][place]);
            for vector in 0..V {
                sums[row][vector] = simd.mul_add_e_f32s(number, queries[place][vector], sums[row][vector]);
            }
        }
    }
    let scores = &mut scores[..N];
    scores.copy_from_slice(&sums);
}

/// Adds the weighted sums of `N` columns of the values, `width` apart from row to row, to what is kept of `mixed`.
#[inline(always)]
fn gather<S: Simd, const V: usize, const N: usize>(
    simd: S,
    weights: &[Row<S, V>],
    values: &[f32],
    width: usize,
    kept: Row<S, V>,
    mixed: &mut [Row<S, V>],
) {
    let mut sums = [Panel::<S, V>::zero(simd); N];
    let mut start = 0;
    for weight in weights {
        let Some(value) = values.get(start..start + N) else { break };
        for row in 0..N {
            let number = simd.splat_f32s(value[row]);
            for vector in 0..V {
                sums[row][vector] = simd.mul_add_e_f32s(number, weight[vector], sums[row][vector]);
            }
        }
        start += width;
    }
    let mixed = &mut mixed[..N];
    for row in 0..N {
        for vector in 0..V {
            mixed[row][vector] = simd.mul_add_e_f32s(mixed[row][vector], kept[vector], sums[row][vector]);
        }
    }
}

/// A row's numbers, one for each lane.
#[inline(always)]
fn numbers<S: Simd, const V: usize>(row: &Row<S, V>) -> &[f32] {
    bytemuck::cast_slice(row)
}

#[inline(always)]
fn numbers_mut<S: Simd, const V: usize>(row: &mut Row<S, V>) -> &mut [f32] {
    bytemuck::cast_slice_mut(row)
}
