//! Causal attention of the last tokens of sequences to all of their tokens.
//!
//! A vector's lanes are queries: so keys and values are read where they are, and a softmax is made of nothing but operations
//! on whole vectors. It goes over the keys block by block with each query's highest score so far (as "flash attention" does).
//!
//! What a query gets does not depend, to the last bit, on the tokens or sequences computed together with it, on the pieces that
//! the keys are in, or on the number of cores: blocks start at multiples of [`KEYS`] from the sequence's start, lanes do not mix,
//! and a key that a query does not see changes nothing. That is so for finite numbers.

use std::borrow::Cow;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::panel::{Block, Panel, Row};

/// Most keys in a block. A sequence that lacks so many of its first tokens, or a multiple, has the same blocks otherwise.
pub const KEYS: usize = 128;

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

/// Keys and values of consecutive tokens: some of those that are `[heads, tokens, width]` in memory.
pub struct Piece<'a> {
    /// All keys in memory.
    pub keys: &'a [f32],
    /// All values in memory.
    pub values: &'a [f32],
    /// Which tokens of them.
    pub tokens: Range<usize>,
}

/// The last tokens of a sequence.
pub struct Sequence<'a> {
    /// How many tokens have queries.
    pub new: usize,
    /// Keys and values of all tokens of the sequence.
    pub pieces: Vec<Piece<'a>>,
}

/// What the last tokens of some sequences gather from the values of their own token and those before in their sequence, of `window`
/// tokens at most, if there is one. Queries and `mixed`, which it goes into, are `[tokens, heads, width]`, one sequence after the
/// other. The first `common` tokens have the same keys and values in all sequences: these are read once.
///
/// # Panics
///
/// If a length does not fit the heads.
pub fn causal_attention(
    queries: &[f32],
    sequences: &[Sequence],
    common: usize,
    heads: Heads,
    window: Option<usize>,
    mixed: &mut [f32],
) {
    attention_on(Arch::new(), queries, sequences, common, heads, window, mixed);
}

fn attention_on(
    arch: Arch,
    queries: &[f32],
    sequences: &[Sequence],
    common: usize,
    heads: Heads,
    window: Option<usize>,
    mixed: &mut [f32],
) {
    let Heads { queries: query_heads, keys: kv_heads, width } = heads;
    let group = query_heads / kv_heads;
    assert_eq!(group * kv_heads, query_heads, "heads must share keys evenly");
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens()).collect();
    for Piece { keys, values, tokens } in sequences.iter().flat_map(|sequence| &sequence.pieces) {
        let fits = keys.len() == values.len() && keys.len().is_multiple_of(kv_heads * width);
        assert!(fits && tokens.end <= keys.len() / (kv_heads * width), "a piece does not fit");
    }
    let new: usize = sequences.iter().map(|sequence| sequence.new).sum();
    assert!(queries.len() == new * query_heads * width, "queries do not fit");
    assert_eq!(mixed.len(), queries.len(), "each query gathers as much");

    // A task has some tokens' queries of the heads that share keys, so that its lanes see nearly the same.
    let tokens = (LANES / group).max(1);
    let mut tasks: Vec<Task> = (0..new.div_ceil(tokens) * kv_heads)
        .map(|task| Task {
            queries: Vec::with_capacity(tokens * group),
            mixed: Vec::with_capacity(tokens * group),
            places: Vec::with_capacity(tokens * group),
            runs: Vec::new(),
            common: common / KEYS * KEYS,
            window: window.unwrap_or(usize::MAX / 2),
            head: Head { index: task % kv_heads, heads: kv_heads, width },
        })
        .collect();
    let places = sequences.iter().zip(&lengths).flat_map(|(sequence, length)| {
        assert!(sequence.new <= *length, "queries do not fit");
        (length - sequence.new..*length).map(move |place| (sequence, place))
    });
    let mut rows = queries.chunks_exact(width).zip(mixed.chunks_exact_mut(width));
    for (token, (sequence, place)) in places.enumerate() {
        for (head, (query, mixed)) in rows.by_ref().take(query_heads).enumerate() {
            tasks[token / tokens * kv_heads + head / group].push(query, mixed, place, sequence);
        }
    }
    // Of one sequence, the last ones have most to do.
    tasks.into_par_iter().rev().with_max_len(1).for_each(|task| arch.dispatch(task));
}

impl Sequence<'_> {
    /// How many tokens have keys.
    fn tokens(&self) -> usize {
        self.pieces.iter().map(|piece| piece.tokens.len()).sum()
    }
}

/// One of the heads of keys and values.
#[derive(Clone, Copy)]
struct Head {
    index: usize,
    heads: usize,
    width: usize,
}

impl Head {
    /// The head's keys and values of some tokens, each `[tokens, width]`. Copies where they are not all in one piece.
    fn block<'a>(&self, pieces: &[Piece<'a>], tokens: Range<usize>) -> (Cow<'a, [f32]>, Cow<'a, [f32]>) {
        let (mut keys, mut values) = (Cow::Borrowed(&[][..]), Cow::Borrowed(&[][..]));
        let mut end = 0;
        for piece in pieces {
            let start = end;
            end += piece.tokens.len();
            let (from, to) = (tokens.start.max(start), tokens.end.min(end));
            if from < to {
                let head = self.index * (piece.keys.len() / (self.heads * self.width)) + piece.tokens.start;
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

/// Some queries against the keys of one head. A lane each.
struct Task<'a> {
    queries: Vec<&'a [f32]>,
    mixed: Vec<&'a mut [f32]>,
    /// Each query's place among the tokens of its sequence.
    places: Vec<usize>,
    /// The sequences, and which lanes are theirs.
    runs: Vec<(&'a Sequence<'a>, Range<usize>)>,
    /// So many tokens are the same in all sequences: some blocks.
    common: usize,
    window: usize,
    head: Head,
}

impl<'a> Task<'a> {
    fn push(&mut self, query: &'a [f32], mixed: &'a mut [f32], place: usize, sequence: &'a Sequence<'a>) {
        let lane = self.queries.len();
        self.queries.push(query);
        self.mixed.push(mixed);
        self.places.push(place);
        match self.runs.last_mut() {
            Some((last, lanes)) if std::ptr::eq(*last, sequence) => lanes.end = lane + 1,
            _ => self.runs.push((sequence, lane..lane + 1)),
        }
    }

    /// The blocks of tokens of `within` that some lanes see.
    fn blocks(&self, lanes: &Range<usize>, within: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let places = || self.places[lanes.clone()].iter();
        let first = places().min().map_or(0, |first| (first + 1).saturating_sub(self.window)) / KEYS * KEYS;
        let end = places().max().map_or(0, |last| last + 1).min(within.end);
        (within.start.max(first)..end).step_by(KEYS).map(move |start| start..(start + KEYS).min(end))
    }

    /// With panels of `V` vectors.
    #[inline(always)]
    fn attend<S: Simd, const V: usize>(mut self, simd: S) {
        let mut panels = Panels::<S, V> { panels: Vec::new(), scores: vec![Panel::<S, V>::zero(simd); KEYS] };
        for (queries, places) in self.queries.chunks(Panel::<S, V>::LANES).zip(self.places.chunks(Panel::<S, V>::LANES)) {
            panels.panels.push(Panel::new(simd, queries, places.to_vec(), self.window));
        }
        let mut shared = 0;
        if let [(first, _), _, ..] = &self.runs[..] {
            shared = self.common;
            let lanes = 0..self.queries.len();
            for tokens in self.blocks(&lanes, 0..shared) {
                panels.meet(simd, &self.head, &first.pieces, &lanes, tokens);
            }
        }
        for (sequence, lanes) in &self.runs {
            for tokens in self.blocks(lanes, shared..usize::MAX) {
                panels.meet(simd, &self.head, &sequence.pieces, lanes, tokens);
            }
        }
        for (panel, mixed) in panels.panels.iter().zip(self.mixed.chunks_mut(Panel::<S, V>::LANES)) {
            panel.write(mixed);
        }
    }
}

/// A task's panels, and room for their scores.
struct Panels<S: Simd, const V: usize> {
    panels: Vec<Panel<S, V>>,
    scores: Vec<Row<S, V>>,
}

impl<S: Simd, const V: usize> Panels<S, V> {
    /// Has the queries in some lanes meet the keys of some tokens.
    #[inline(always)]
    fn meet(&mut self, simd: S, head: &Head, pieces: &[Piece], lanes: &Range<usize>, tokens: Range<usize>) {
        let (keys, values) = head.block(pieces, tokens.clone());
        let block = Block { tokens, keys: &keys, values: &values };
        for (at, panel) in self.panels.iter_mut().enumerate() {
            let first = at * Panel::<S, V>::LANES;
            let own = lanes.start.max(first)..lanes.end.min(first + panel.lanes());
            if !own.is_empty() {
                panel.attend(simd, own.start - first..own.end - first, &block, &mut self.scores);
            }
        }
    }
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // With few lanes, most of a second vector would be computed for nothing.
        if self.queries.len() <= S::F32_LANES { self.attend::<S, 1>(simd) } else { self.attend::<S, 2>(simd) }
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
        let sequence = Sequence { new, pieces: vec![Piece { keys: &keys, values: &values, tokens: 0..all }] };
        for (arch, window) in arches().into_iter().flat_map(|arch| [(arch, None), (arch, Some(40))]) {
            let mut mixed = vec![f32::NAN; queries.len()];
            attention_on(arch, &queries, std::slice::from_ref(&sequence), 0, heads, window, &mut mixed);
            for (index, (query, ours)) in queries.chunks(width).zip(mixed.chunks(width)).enumerate() {
                let (place, head) = (all - new + index / 4, index % 4 / 2);
                let own = head * all * width..(head + 1) * all * width;
                let seen = window.map_or(0, |window| (place + 1).saturating_sub(window))..place + 1;
                let wanted = gathered(query, &keys[own.clone()], &values[own], seen);
                assert!(ours.iter().zip(wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{arch:?}, query {index}");
            }
        }
    }

    #[test]
    fn a_sequence_gathers_the_same_alone() {
        let heads = Heads { queries: 6, keys: 2, width: 16 };
        let memory = |tokens: usize, seed| (small_numbers(2 * tokens * 16, seed), small_numbers(2 * tokens * 16, seed + 1));
        let (shared, own) = (memory(400, 10), [memory(30, 20), memory(300, 30), memory(1, 40)]);
        fn piece((keys, values): &(Vec<f32>, Vec<f32>), tokens: Range<usize>) -> Piece<'_> {
            Piece { keys, values, tokens }
        }
        // So many tokens of their own, after the same 330; one begins with fewer new ones than it has of its own.
        let sequences = || {
            let of = |(own, (tokens, new)): (_, (usize, usize))| Sequence {
                new,
                pieces: vec![piece(&shared, 0..330), piece(own, 0..tokens)],
            };
            own.iter().zip([(20, 20), (300, 7), (1, 1)]).map(of).collect::<Vec<_>>()
        };
        let row = 6 * 16;
        let queries = small_numbers(28 * row, 1);
        for (arch, window) in arches().into_iter().flat_map(|arch| [(arch, None), (arch, Some(100)), (arch, Some(350))]) {
            let gather = |queries: &[f32], sequences: &[Sequence], common| {
                let mut mixed = vec![f32::NAN; queries.len()];
                attention_on(arch, queries, sequences, common, heads, window, &mut mixed);
                mixed
            };
            let together = gather(&queries, &sequences(), 330);
            assert!(together == gather(&queries, &sequences(), 0), "{arch:?}: reading once changes bits");
            let mut start = 0;
            for sequence in sequences() {
                let rows = start * row..(start + sequence.new) * row;
                start += sequence.new;
                let alone = gather(&queries[rows.clone()], &[sequence], 330);
                assert!(alone == together[rows], "{arch:?}, window {window:?}");
            }
        }
    }
}
