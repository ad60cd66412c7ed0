//! What is computed in one pass: the new tokens of some sequences, a row each, one sequence after the other.
//!
//! A row must come out the same to the last bit whoever else is in the batch, or answers would depend on who else is
//! served. Products of a matrix and several rows do not give that: OpenBLAS sums up in another order for another number of
//! rows. So on the CPU rows go in blocks of always [`BLOCK`], the last one filled up: there a product of so many rows takes
//! as long as that of one, as most of the time goes into packing the matrix.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::ops::{concatenate, zeros_dtype};

use super::{KvCache, cpu};

/// Rows of a product on the CPU.
const BLOCK: usize = 4;

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
    /// Rows of a block.
    block: i32,
    /// Rows in use; those that fill up the last block come after them.
    rows: i32,
    padding: i32,
}

impl<'a> Batch<'a> {
    /// Many tokens of one sequence, or few of each.
    pub fn new(runs: Vec<Run<'a>>) -> Result<Self, Exception> {
        let rows: usize = runs.iter().map(|run| run.tokens.len()).sum();
        let few = runs.iter().all(|run| run.tokens.len() <= FEW);
        let on_cpu = cpu::is_default()?;
        let block = if few && on_cpu { BLOCK } else { rows };
        let padding = rows.next_multiple_of(block.max(1)) - rows;
        Ok(Self { runs, few, block: block as i32, rows: rows as i32, padding: padding as i32 })
    }

    /// Whether each row has to come out, to the last bit, as it would alone.
    pub fn few(&self) -> bool {
        self.few
    }

    /// The tokens, `[blocks, rows of a block]`.
    pub fn tokens(&self) -> Array {
        let tokens = self.runs.iter().flat_map(|run| run.tokens.iter().copied());
        let tokens: Vec<u32> = tokens.chain((0..self.padding).map(|_| 0)).collect();
        Array::from_slice(&tokens, &[tokens.len() as i32 / self.block, self.block])
    }

    /// Each row's place in its sequence: one axis, those that fill up included.
    pub fn positions(&self) -> Array {
        let places = self.runs.iter().flat_map(|run| (run.cache.tokens()..).take(run.tokens.len()).map(|place| place as i32));
        let places: Vec<i32> = places.chain((0..self.padding).map(|_| 0)).collect();
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

    /// The rows in use: `[blocks, rows of a block, width]` to `[rows, width]`.
    pub fn used(&self, x: &Array) -> Result<Array, Exception> {
        let rows = x.reshape(&[-1, x.dim(2)])?;
        if self.padding == 0 { Ok(rows) } else { rows.try_index((..self.rows, ..)) }
    }

    /// The way back: `[rows, width]` to `[blocks, rows of a block, width]`.
    pub fn blocks(&self, mut rows: Array) -> Result<Array, Exception> {
        let width = rows.dim(1);
        if self.padding > 0 {
            let padding = zeros_dtype(&[self.padding, width], rows.dtype())?;
            rows = concatenate(&[rows, padding], 0)?;
        }
        rows.reshape(&[-1, self.block, width])
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
