//! Causal attention of the last tokens of a sequence to all of its tokens.
//!
//! A vector's lanes are queries: so keys and values are read where they are, and a softmax is made of nothing but operations
//! on whole vectors. It goes over the keys block by block with each query's highest score so far (as "flash attention" does).
//!
//! What a query gets does not depend, to the last bit, on the tokens computed together with it, on the pieces that the keys
//! are in, or on the number of cores: blocks start at multiples of [`KEYS`] from the sequence's start, lanes do not mix, and
//! a key that a query does not see changes nothing.

use std::borrow::Cow;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::panel::{Panel, Row};

/// Most keys in a block.
const KEYS: usize = 128;

/// Lanes that go through a block of keys together, while it is in the processor's cache.
const LANES: usize = 128;

/// The heads of a model's attention.
#[derive(Clone, Copy)]
pub struct Heads {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys and values. Each is for as many heads of queries, one after the other.
    pub keys: usize,
    /// Numbers in a head's query, key or value.
    pub width: usize,
}

/// Keys and values of consecutive tokens, each `[heads, tokens, width]`.
pub struct Piece<'a> {
    pub keys: &'a [f32],
    pub values: &'a [f32],
}

/// What the last tokens of a sequence gather from the values of their own token and those before, of `window` tokens at
/// most, if there is one. Queries and `mixed`, which it goes into, are `[tokens, heads, width]`; the pieces have all tokens of the
/// sequence.
///
/// # Panics
///
/// If a length does not fit the heads.
pub fn causal_attention(queries: &[f32], pieces: &[Piece], heads: Heads, window: Option<usize>, mixed: &mut [f32]) {
    attention_on(Arch::new(), queries, pieces, heads, window, mixed);
}

fn attention_on(arch: Arch, queries: &[f32], pieces: &[Piece], heads: Heads, window: Option<usize>, mixed: &mut [f32]) {
    let Heads { queries: query_heads, keys: kv_heads, width } = heads;
    let group = query_heads / kv_heads;
    assert_eq!(group * kv_heads, query_heads, "heads must share keys evenly");
    let new = queries.len() / (query_heads * width);
    let all: usize = pieces.iter().map(|piece| piece.keys.len() / (kv_heads * width)).sum();
    assert!(queries.len() == new * query_heads * width && new <= all, "queries do not fit");
    assert_eq!(mixed.len(), queries.len(), "each query gathers as much");

    // A task has some tokens' queries of the heads that share keys, so that its lanes see nearly the same.
    let tokens = (LANES / group).max(1);
    let mut tasks: Vec<Task> = (0..new.div_ceil(tokens) * kv_heads)
        .map(|task| Task {
            queries: Vec::with_capacity(tokens * group),
            mixed: Vec::with_capacity(tokens * group),
            first: all - new + task / kv_heads * tokens,
            group,
            window: window.unwrap_or(all),
            keys: Keys { pieces, head: task % kv_heads, heads: kv_heads, width },
        })
        .collect();
    for (index, (query, mixed)) in queries.chunks_exact(width).zip(mixed.chunks_exact_mut(width)).enumerate() {
        let task = &mut tasks[index / query_heads / tokens * kv_heads + index % query_heads / group];
        task.queries.push(query);
        task.mixed.push(mixed);
    }
    // The last ones have most to do.
    tasks.into_par_iter().rev().with_max_len(1).for_each(|task| arch.dispatch(task));
}

/// Where a head's keys and values are.
struct Keys<'a> {
    pieces: &'a [Piece<'a>],
    head: usize,
    heads: usize,
    width: usize,
}

impl<'a> Keys<'a> {
    /// Keys and values of some tokens, each `[tokens, width]`. Copies where they are not all in one piece.
    fn block(&self, tokens: Range<usize>) -> (Cow<'a, [f32]>, Cow<'a, [f32]>) {
        let (mut keys, mut values) = (Cow::Borrowed(&[][..]), Cow::Borrowed(&[][..]));
        let mut end = 0;
        for piece in self.pieces {
            let length = piece.keys.len() / (self.heads * self.width);
            let (start, head) = (end, self.head * length);
            end += length;
            let (from, to) = (tokens.start.max(start), tokens.end.min(end));
            if from < to {
                let place = (head + from - start) * self.width..(head + to - start) * self.width;
                append(&mut keys, &piece.keys[place.clone()]);
                append(&mut values, &piece.values[place]);
            }
        }
        (keys, values)
    }
}

fn append<'a>(numbers: &mut Cow<'a, [f32]>, more: &'a [f32]) {
    if numbers.is_empty() { *numbers = Cow::Borrowed(more) } else { numbers.to_mut().extend_from_slice(more) }
}

/// Some queries against the keys of one head.
struct Task<'a> {
    queries: Vec<&'a [f32]>,
    mixed: Vec<&'a mut [f32]>,
    /// The first query's place among all tokens.
    first: usize,
    /// Queries with the same place.
    group: usize,
    window: usize,
    keys: Keys<'a>,
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let last = self.first + (self.queries.len() - 1) / self.group;
        let mut panels = Vec::new();
        for (index, queries) in self.queries.chunks(Panel::<S>::LANES).enumerate() {
            let lanes = index * Panel::<S>::LANES..index * Panel::<S>::LANES + queries.len();
            let places = lanes.map(|lane| self.first + lane / self.group).collect();
            panels.push(Panel::new(simd, queries, places, self.window));
        }
        let start = (self.first + 1).saturating_sub(self.window) / KEYS * KEYS;
        let mut scores: Vec<Row<S>> = vec![Panel::zero(simd); KEYS];
        for start in (start..=last).step_by(KEYS) {
            let tokens = start..(start + KEYS).min(last + 1);
            let (keys, values) = self.keys.block(tokens.clone());
            for panel in &mut panels {
                panel.attend(simd, tokens.clone(), &keys, &values, &mut scores);
            }
        }
        for (panel, mixed) in panels.iter().zip(self.mixed.chunks_mut(Panel::<S>::LANES)) {
            panel.write(mixed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{arches, small_numbers};

    /// What a query gathers, by the formula.
    fn gathered(query: &[f32], keys: &[f32], values: &[f32], seen: Range<usize>) -> Vec<f64> {
        let width = query.len();
        let row = |numbers: &[f32], at: usize| numbers[at * width..][..width].iter().map(|n| f64::from(*n)).collect::<Vec<_>>();
        let dot = |key: Vec<f64>| query.iter().zip(key).map(|(a, b)| f64::from(*a) * b).sum::<f64>();
        let weights: Vec<f64> = seen.clone().map(|at| (dot(row(keys, at)) / (width as f64).sqrt()).exp()).collect();
        let mut sum = vec![0.0; width];
        for (weight, at) in weights.iter().zip(seen) {
            sum.iter_mut().zip(row(values, at)).for_each(|(sum, value)| *sum += weight * value);
        }
        sum.into_iter().map(|sum| sum / weights.iter().sum::<f64>()).collect()
    }

    #[test]
    fn queries_gather_what_the_formula_says_on_all_processors() {
        let (all, new, width) = (300, 150, 24);
        let heads = Heads { queries: 4, keys: 2, width };
        let queries = small_numbers(new * 4 * width, 1);
        let (keys, values) = (small_numbers(2 * all * width, 2), small_numbers(2 * all * width, 3));
        let piece = Piece { keys: &keys, values: &values };
        for (arch, window) in arches().into_iter().flat_map(|arch| [(arch, None), (arch, Some(40))]) {
            let mut mixed = vec![f32::NAN; queries.len()];
            attention_on(arch, &queries, std::slice::from_ref(&piece), heads, window, &mut mixed);
            for (index, (query, ours)) in queries.chunks(width).zip(mixed.chunks(width)).enumerate() {
                let (place, head) = (all - new + index / 4, index % 4 / 2);
                let own = head * all * width..(head + 1) * all * width;
                let seen = window.map_or(0, |window| (place + 1).saturating_sub(window))..place + 1;
                let wanted = gathered(query, &keys[own.clone()], &values[own], seen);
                assert!(ours.iter().zip(wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{arch:?}, query {index}");
            }
        }
    }
}
