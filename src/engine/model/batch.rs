//! What is computed in one pass: the new tokens of some sequences, a row each, one sequence after the other.
//!
//! A row must come out the same to the last bit whoever else is in the batch, or answers would depend on who else is
//! served. Products of a matrix and several rows do not give that: OpenBLAS sums up in another order for another number of
//! rows. So on the CPU each row is a block of its own, and large matrices go through a kernel of ours, which reads them once for
//! all blocks.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::{KvCache, cpu};

/// A sequence with at most so many new tokens gets what each of them would get by itself, to the last bit.
pub const FEW: usize = 16;

/// Some new tokens of a sequence.
pub struct Run<'a> {
    tokens: &'a [u32],
    cache: &'a mut KvCache,
}

impl<'a> Run<'a> {
    /// The tokens follow those in the cache, which is where their keys and values go.
    pub fn new(tokens: &'a [u32], cache: &'a mut KvCache) -> Self {
        Self { tokens, cache }
    }
}

/// The new tokens of one or more sequences. Arrays with a row for each have the shape `[blocks, rows of a block, width]`.
pub struct Batch<'a> {
    runs: Vec<Run<'a>>,
    /// Whether each row has to come out as it would alone.
    few: bool,
    blocks: i32,
}

impl<'a> Batch<'a> {
    /// Many tokens of one sequence, or few of each.
    pub fn new(runs: Vec<Run<'a>>) -> Result<Self, Exception> {
        let few = runs.iter().all(|run| run.tokens.len() <= FEW);
        let rows: usize = runs.iter().map(|run| run.tokens.len()).sum();
        let blocks = if few && cpu::is_default()? { rows as i32 } else { 1 };
        Ok(Self { runs, few, blocks })
    }

    /// Whether each row has to come out, to the last bit, as it would alone.
    pub fn few(&self) -> bool {
        self.few
    }

    /// The tokens, `[blocks, rows of a block]`.
    pub fn tokens(&self) -> Array {
        let tokens: Vec<u32> = self.runs.iter().flat_map(|run| run.tokens.iter().copied()).collect();
        Array::from_slice(&tokens, &[self.blocks, tokens.len() as i32 / self.blocks])
    }

    /// Each row's place in its sequence: one axis.
    pub fn positions(&self) -> Array {
        let places = self.runs.iter().flat_map(|run| (run.cache.tokens()..).take(run.tokens.len()).map(|place| place as i32));
        let places: Vec<i32> = places.collect();
        Array::from_slice(&places, &[places.len() as i32])
    }

    /// Each sequence's rows among all, and its cache.
    pub fn sequences(&mut self) -> impl Iterator<Item = (Range<i32>, &mut KvCache)> {
        let mut end = 0;
        self.runs.iter_mut().map(move |run| {
            let start = end;
            end += run.tokens.len() as i32;
            (start..end, &mut *run.cache)
        })
    }

    /// The way back from [`rows`]: `[rows, width]` to `[blocks, rows of a block, width]`.
    pub fn blocks(&self, rows: Array) -> Result<Array, Exception> {
        rows.reshape(&[self.blocks, -1, rows.dim(1)])
    }

    /// Counts the new tokens as held by their caches.
    pub fn advance(&mut self) {
        self.runs.iter_mut().for_each(|run| run.cache.advance(run.tokens.len()));
    }

    /// What must be evaluated for the keys and values to be computed.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.runs.iter().flat_map(|run| run.cache.arrays())
    }
}

/// `[blocks, rows of a block, width]` to `[rows, width]`.
pub fn rows(x: &Array) -> Result<Array, Exception> {
    x.reshape(&[-1, x.dim(2)])
}
