//! Causal grouped-query attention, `softmax(scale · q · kᵀ) · v`, of the last tokens of sequences to all of their tokens.
//!
//! Like FlashAttention (Dao et al. 2022), it visits the keys tile by tile and keeps each query's highest score and sums so far
//! ("online softmax"), so that no matrix of scores exists. A vector's lanes are queries: keys and values are read where they
//! are, and the softmax needs only operations on whole vectors.
//!
//! Lanes are independent. A query's output does not depend, to the last bit, on the tokens or sequences computed together with
//! it, on how its keys are cut into spans, or on the number of cores, because: tiles start at multiples of [`KEY_TILE`] from the
//! sequence's start; no operation combines numbers of different lanes; and a key that a query does not see gets the score −∞,
//! which leaves its sums as they are. This holds for finite numbers.

use std::borrow::Cow;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::panel::{KeyTile, LaneRow, Panel, Sight};

/// Keys per tile. A sequence without its first tokens has the same tiles otherwise if their number is a multiple of this.
pub const KEY_TILE: usize = 128;

/// Fewest products of two numbers that are shared among cores: with fewer, waking another core takes longer than it saves.
const LEAST_SHARED: usize = 1024 * 1024;

/// Queries that one task computes: they visit a key tile together, while it is in the processor's cache.
const TASK_LANES: usize = 128;

/// The heads of a model's attention.
#[derive(Clone, Copy)]
pub struct Heads {
    /// Query heads: a multiple of `kv`.
    pub queries: usize,
    /// Key/value heads. Each serves `queries / kv` consecutive query heads.
    pub kv: usize,
    /// Numbers in one head's query or key.
    pub width: usize,
    /// Numbers in one head's value.
    pub value_width: usize,
}

/// Keys and values of consecutive tokens: a range of two buffers, `[kv heads, tokens, width]` and `[kv heads, tokens, value width]`.
pub struct KvSlice<'a> {
    /// The whole buffer of keys.
    pub keys: &'a [f32],
    /// The whole buffer of values; `None`: a value is the beginning of its key.
    pub values: Option<&'a [f32]>,
    /// The tokens of the buffers that belong to the slice.
    pub range: Range<usize>,
}

/// A sequence whose last tokens have queries.
pub struct QueriedSequence<'a> {
    /// How many of the last tokens have queries.
    pub queries: usize,
    /// Keys and values of all tokens, in order.
    pub kv: Vec<KvSlice<'a>>,
}

/// What queries attend to.
pub struct AttentionBatch<'a> {
    /// Each with its queries, keys and values.
    pub sequences: Vec<QueriedSequence<'a>>,
    /// How many of the first tokens have the same keys and values in all sequences. These are read once for all.
    pub common: usize,
    /// The same in all sequences.
    pub heads: Heads,
    /// Factor of all scores, sinks apart.
    pub scale: f32,
    /// Sliding window: how many tokens a token sees, itself included; `None`: all before it.
    pub window: Option<usize>,
    /// For each query head, the score of a key without a value that every query sees: what attention goes to nothing.
    pub sinks: Option<&'a [f32]>,
}

/// Writes the attention output of `queries`, sequence by sequence: `[queries of all sequences, query heads, width]` to the same with
/// the values' width.
///
/// # Panics
///
/// If a length does not fit the heads, or a sequence has fewer tokens than queries or than `common`.
pub fn causal_attention(queries: &[f32], batch: &AttentionBatch, output: &mut [f32]) {
    attention_on(Arch::new(), queries, batch, output);
}

fn attention_on(arch: Arch, queries: &[f32], batch: &AttentionBatch, output: &mut [f32]) {
    let AttentionBatch { sequences, common, heads, scale, window, sinks } = batch;
    let Heads { queries: query_heads, kv: kv_heads, width, value_width } = *heads;
    batch.check();
    let rows: usize = sequences.iter().map(|sequence| sequence.queries).sum();
    assert_eq!(queries.len(), rows * query_heads * width, "queries do not fit");
    assert_eq!(output.len(), rows * query_heads * value_width, "each query needs its output");

    // A task has the queries of some tokens and of the heads that share a key/value head: its lanes see nearly the same keys.
    let group = query_heads / kv_heads;
    let tokens = (TASK_LANES / group).max(1);
    let mut tasks: Vec<AttentionTask> = (0..rows.div_ceil(tokens) * kv_heads)
        .map(|task| AttentionTask {
            queries: Vec::with_capacity(tokens * group),
            output: Vec::with_capacity(tokens * group),
            sinks: sinks.map(|_| Vec::with_capacity(tokens * group)),
            positions: Vec::with_capacity(tokens * group),
            sequences: Vec::new(),
            common: common / KEY_TILE * KEY_TILE,
            window: window.unwrap_or(usize::MAX / 2),
            scale: *scale,
            head: KvHead { index: task % kv_heads, heads: kv_heads, width, value_width },
        })
        .collect();
    let positions = sequences.iter().flat_map(|sequence| {
        let length = sequence.tokens();
        (length - sequence.queries..length).map(move |position| (sequence, position))
    });
    let mut rows = queries.chunks_exact(width).zip(output.chunks_exact_mut(value_width));
    for (token, (sequence, position)) in positions.enumerate() {
        for (head, (query, output)) in rows.by_ref().take(query_heads).enumerate() {
            let task = &mut tasks[token / tokens * kv_heads + head / group];
            task.push(query, output, position, sequence);
            if let (Some(own), Some(sinks)) = (&mut task.sinks, sinks) {
                own.push(sinks[head]);
            }
        }
    }
    let pairs: usize = sequences.iter().map(|sequence| sequence.queries * sequence.tokens()).sum();
    if pairs * query_heads * (width + value_width) < LEAST_SHARED {
        return tasks.into_iter().for_each(|task| arch.dispatch(task));
    }
    // In prefill, the last tokens see the most keys: starting with them keeps all cores busy to the end.
    tasks.into_par_iter().rev().with_max_len(1).for_each(|task| arch.dispatch(task));
}

impl AttentionBatch<'_> {
    /// Panics if something does not fit.
    fn check(&self) {
        let Heads { queries, kv, width, value_width } = self.heads;
        assert!(kv > 0 && queries.is_multiple_of(kv), "query heads must be a multiple of key/value heads");
        assert!(self.sinks.is_none_or(|sinks| sinks.len() == queries), "each query head needs its sink");
        for sequence in &self.sequences {
            for KvSlice { keys, values, range } in &sequence.kv {
                let tokens = keys.len() / (kv * width);
                let values_fit = values.map_or(value_width <= width, |values| values.len() == tokens * kv * value_width);
                let fits = values_fit && keys.len() == tokens * kv * width && range.end <= tokens;
                assert!(fits, "a slice of keys and values does not fit");
            }
            assert!(sequence.queries <= sequence.tokens(), "a sequence has more queries than tokens");
            assert!(self.common <= sequence.tokens(), "common tokens beyond a sequence's end");
        }
    }
}

impl QueriedSequence<'_> {
    /// Number of tokens.
    fn tokens(&self) -> usize {
        self.kv.iter().map(|slice| slice.range.len()).sum()
    }
}

/// One of the key/value heads.
#[derive(Clone, Copy)]
struct KvHead {
    index: usize,
    /// Key/value heads in all.
    heads: usize,
    width: usize,
    value_width: usize,
}

impl KvHead {
    /// This head's keys and values of some tokens, `[tokens, width]` and `[tokens, value width]`, without values where these are in
    /// the keys. Copies only if they are in several slices.
    fn tile<'a>(&self, slices: &[KvSlice<'a>], tokens: Range<usize>) -> (Cow<'a, [f32]>, Cow<'a, [f32]>) {
        let (mut keys, mut values) = (Cow::Borrowed(&[][..]), Cow::Borrowed(&[][..]));
        let mut end = 0;
        for slice in slices {
            let start = end;
            end += slice.range.len();
            let (from, to) = (tokens.start.max(start), tokens.end.min(end));
            if from < to {
                let first = self.index * (slice.keys.len() / (self.heads * self.width)) + slice.range.start;
                let numbers = |width| (first + from - start) * width..(first + to - start) * width;
                append(&mut keys, &slice.keys[numbers(self.width)]);
                if let Some(own) = slice.values {
                    append(&mut values, &own[numbers(self.value_width)]);
                }
            }
        }
        (keys, values)
    }
}

fn append<'a>(numbers: &mut Cow<'a, [f32]>, more: &'a [f32]) {
    if numbers.is_empty() { *numbers = Cow::Borrowed(more) } else { numbers.to_mut().extend_from_slice(more) }
}

/// Some queries against the keys of one key/value head, a lane each.
struct AttentionTask<'a> {
    queries: Vec<&'a [f32]>,
    output: Vec<&'a mut [f32]>,
    /// The score of each query's sink.
    sinks: Option<Vec<f32>>,
    /// Each query's position in its sequence.
    positions: Vec<usize>,
    /// The sequences and the lanes of each.
    sequences: Vec<(&'a QueriedSequence<'a>, Range<usize>)>,
    /// Common first tokens, in whole tiles.
    common: usize,
    window: usize,
    scale: f32,
    head: KvHead,
}

impl<'a> AttentionTask<'a> {
    fn push(&mut self, query: &'a [f32], output: &'a mut [f32], position: usize, sequence: &'a QueriedSequence<'a>) {
        let lane = self.queries.len();
        self.queries.push(query);
        self.output.push(output);
        self.positions.push(position);
        match self.sequences.last_mut() {
            Some((last, lanes)) if std::ptr::eq(*last, sequence) => lanes.end = lane + 1,
            _ => self.sequences.push((sequence, lane..lane + 1)),
        }
    }

    /// The tiles of the tokens `within` that at least one of the lanes sees.
    fn tiles(&self, lanes: &Range<usize>, within: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let positions = || self.positions[lanes.clone()].iter();
        let first = positions().min().map_or(0, |first| (first + 1).saturating_sub(self.window)) / KEY_TILE * KEY_TILE;
        let end = positions().max().map_or(0, |last| last + 1).min(within.end);
        (within.start.max(first)..end).step_by(KEY_TILE).map(move |start| start..(start + KEY_TILE).min(end))
    }

    /// Computes everything, with panels of `V` vectors.
    #[inline(always)]
    fn attend<S: Simd, const V: usize>(mut self, simd: S) {
        let mut panels = Panels::<S, V> { panels: Vec::new(), scores: vec![Panel::<S, V>::zero(simd); KEY_TILE] };
        for (at, queries) in self.queries.chunks(Panel::<S, V>::LANES).enumerate() {
            let lanes = at * Panel::<S, V>::LANES..at * Panel::<S, V>::LANES + queries.len();
            let (sinks, positions) =
                (self.sinks.as_ref().map(|sinks| &sinks[lanes.clone()]), self.positions[lanes.clone()].to_vec());
            let sight = Sight { positions, window: self.window };
            panels.panels.push(Panel::new(simd, queries, sinks, sight, self.scale, self.head.value_width));
        }
        let mut shared = 0;
        if let [(first, _), _, ..] = &self.sequences[..] {
            shared = self.common;
            let lanes = 0..self.queries.len();
            for tokens in self.tiles(&lanes, 0..shared) {
                panels.attend(simd, &self.head, &first.kv, &lanes, tokens);
            }
        }
        for (sequence, lanes) in &self.sequences {
            for tokens in self.tiles(lanes, shared..usize::MAX) {
                panels.attend(simd, &self.head, &sequence.kv, lanes, tokens);
            }
        }
        for (panel, output) in panels.panels.iter().zip(self.output.chunks_mut(Panel::<S, V>::LANES)) {
            panel.write(output);
        }
    }
}

/// A task's panels, and a buffer for the scores of one tile.
struct Panels<S: Simd, const V: usize> {
    panels: Vec<Panel<S, V>>,
    scores: Vec<LaneRow<S, V>>,
}

impl<S: Simd, const V: usize> Panels<S, V> {
    /// Lets the queries of some lanes attend to a tile of tokens.
    #[inline(always)]
    fn attend(&mut self, simd: S, head: &KvHead, slices: &[KvSlice], lanes: &Range<usize>, tokens: Range<usize>) {
        let (keys, values) = head.tile(slices, tokens.clone());
        let (values, value_stride) = if values.is_empty() { (&keys, head.width) } else { (&values, head.value_width) };
        let tile = KeyTile { tokens, keys: &keys, values, value_stride };
        for (at, panel) in self.panels.iter_mut().enumerate() {
            let first = at * Panel::<S, V>::LANES;
            let own = lanes.start.max(first)..lanes.end.min(first + panel.lanes());
            if !own.is_empty() {
                panel.attend(simd, own.start - first..own.end - first, &tile, &mut self.scores);
            }
        }
    }
}

impl WithSimd for AttentionTask<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // With few queries, most lanes of a second vector would be idle.
        if self.queries.len() <= S::F32_LANES { self.attend::<S, 1>(simd) } else { self.attend::<S, 2>(simd) }
    }
}

#[cfg(test)]
mod tests;
