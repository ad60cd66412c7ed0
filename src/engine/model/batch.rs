//! The input of one forward pass: the new tokens of one or more sequences, one row each, sequence after sequence.
//!
//! Activations of `R` rows have the shape `[n, R / n, D]`. Which `n` decides whether rows depend on each other: MLX hands
//! each of the `n` matrices to OpenBLAS as a product of its own, and OpenBLAS sums up in an order that depends on the
//! number of rows. Answers must not depend on who else is served, so on the CPU a pass of few tokens has `n = R`, one row
//! per product; a kernel of ours multiplies large matrices with all rows at once. Other passes have `n = 1`.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::{KvCache, cpu};

/// Most new tokens per sequence for which a pass is row-exact: every row gets the bits that it would get alone.
pub(crate) const MAX_ROW_EXACT: usize = 16;

/// The new tokens of one sequence and its KV cache.
pub struct SequenceInput<'a> {
    tokens: &'a [u32],
    cache: &'a mut KvCache,
}

impl<'a> SequenceInput<'a> {
    /// The tokens follow those in the cache, to which their keys and values are appended.
    pub fn new(tokens: &'a [u32], cache: &'a mut KvCache) -> Self {
        Self { tokens, cache }
    }
}

/// What one forward pass computes.
pub(super) struct Batch<'a> {
    inputs: Vec<SequenceInput<'a>>,
    row_exact: bool,
    /// `n` in `[n, R / n, D]`.
    size: i32,
}

impl<'a> Batch<'a> {
    /// Any number of tokens of one sequence, or at most [`MAX_ROW_EXACT`] of each of several; an error if there is no sequence
    /// or one has no new token.
    pub(super) fn new(inputs: Vec<SequenceInput<'a>>) -> Result<Self, Exception> {
        if inputs.is_empty() || inputs.iter().any(|input| input.tokens.is_empty()) {
            return Err(Exception::custom("every sequence of a batch needs a token"));
        }
        let row_exact = inputs.iter().all(|input| input.tokens.len() <= MAX_ROW_EXACT);
        let rows: usize = inputs.iter().map(|input| input.tokens.len()).sum();
        let size = if row_exact && cpu::is_default()? { rows as i32 } else { 1 };
        Ok(Self { inputs, row_exact, size })
    }

    /// Whether every row must get the bits that it would get alone.
    pub(super) fn is_row_exact(&self) -> bool {
        self.row_exact
    }

    /// The tokens, `[n, R / n]`.
    pub(super) fn tokens(&self) -> Array {
        let tokens: Vec<u32> = self.inputs.iter().flat_map(|input| input.tokens.iter().copied()).collect();
        Array::from_slice(&tokens, &[self.size, tokens.len() as i32 / self.size])
    }

    /// Each row's position in its sequence, `[R]`.
    pub(super) fn positions(&self) -> Array {
        let of_input = |input: &SequenceInput| (input.cache.tokens()..).take(input.tokens.len()).map(|at| at as i32);
        let positions: Vec<i32> = self.inputs.iter().flat_map(of_input).collect();
        Array::from_slice(&positions, &[positions.len() as i32])
    }

    /// Each sequence's rows, as a range of all `R`, and its cache.
    pub(super) fn sequences(&mut self) -> impl Iterator<Item = (Range<i32>, &mut KvCache)> {
        let mut end = 0;
        self.inputs.iter_mut().map(move |input| {
            let start = end;
            end += input.tokens.len() as i32;
            (start..end, &mut *input.cache)
        })
    }

    /// `[R, D]` to `[n, R / n, D]`: the inverse of [`rows`].
    pub(super) fn batched(&self, rows: Array) -> Result<Array, Exception> {
        rows.reshape(&[self.size, -1, rows.dim(1)])
    }

    /// Makes the new tokens count in their caches.
    pub(super) fn advance(&mut self) {
        self.inputs.iter_mut().for_each(|input| input.cache.advance(input.tokens.len()));
    }

    /// The cache buffers to evaluate so that the new keys and values are computed.
    pub(super) fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.inputs.iter().flat_map(|input| input.cache.arrays())
    }
}

/// `[n, R / n, D]` to `[R, D]`.
pub(super) fn rows(x: &Array) -> Result<Array, Exception> {
    x.reshape(&[-1, x.dim(2)])
}
