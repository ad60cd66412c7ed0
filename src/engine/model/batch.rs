//! The input of one forward pass: the new tokens of one or more sequences, one row each, sequence after sequence.
//!
//! Activations of `R` rows have the shape `[n, R / n, D]`. What `n` is depends on the compute path.
//!
//! On the CPU path `n` decides whether rows depend on each other: MLX hands each of the `n` matrices to OpenBLAS as a product of
//! its own, and OpenBLAS sums up in an order that depends on the number of rows. Answers must not depend on who else is served,
//! so a pass of few tokens has `n = R`, one row per product; a kernel of ours multiplies large matrices with all rows at once.
//! Other passes have `n = 1`.
//!
//! On the GPU path MLX multiplies all `n` matrices in one product, and attention wants the rows of a sequence side by side. So
//! `n` is the number of sequences if all have as many new tokens, otherwise `n = R`.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::KvCache;
use super::compute_path::ComputePath;
use super::rope::Starts;

/// Most new tokens per sequence for which a pass on the CPU path is row-exact: every row gets the bits that it would get alone.
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

/// The input of one forward pass: the new tokens of some sequences.
pub(super) struct Batch<'a> {
    inputs: Vec<SequenceInput<'a>>,
    path: ComputePath,
    row_exact: bool,
    /// `n` in `[n, R / n, D]`.
    size: i32,
    /// Each row's position in its sequence, `[R]`.
    positions: Array,
    /// The position of the first of each of the `n` groups of rows.
    starts: Starts,
}

impl<'a> Batch<'a> {
    /// Any number of tokens of one sequence, or at most [`MAX_ROW_EXACT`] of each of several; an error if there is no sequence
    /// or one has no new token.
    pub(super) fn new(path: ComputePath, inputs: Vec<SequenceInput<'a>>) -> Result<Self, Exception> {
        if inputs.is_empty() || inputs.iter().any(|input| input.tokens.is_empty()) {
            return Err(Exception::custom("every sequence of a batch needs a token"));
        }
        let row_exact = inputs.iter().all(|input| input.tokens.len() <= MAX_ROW_EXACT);
        let rows: usize = inputs.iter().map(|input| input.tokens.len()).sum();
        let alike = inputs.iter().all(|input| input.tokens.len() == inputs[0].tokens.len());
        let size = match path {
            ComputePath::Cpu if row_exact => rows,
            ComputePath::Cpu => 1,
            ComputePath::Gpu if alike => inputs.len(),
            ComputePath::Gpu => rows,
        };
        let of_input = |input: &SequenceInput| (input.cache.tokens()..).take(input.tokens.len()).map(|at| at as i32);
        let positions: Vec<i32> = inputs.iter().flat_map(of_input).collect();
        let starts = Starts::new(positions.iter().copied().step_by(rows / size).collect());
        let positions = Array::from_slice(&positions, &[rows as i32]);
        Ok(Self { inputs, path, row_exact, size: size as i32, positions, starts })
    }

    /// How to compute it.
    pub(super) fn path(&self) -> ComputePath {
        self.path
    }

    /// Whether, on the CPU path, every row must get the bits that it would get alone.
    pub(super) fn is_row_exact(&self) -> bool {
        self.row_exact
    }

    /// The tokens, `[n, R / n]`.
    pub(super) fn tokens(&self) -> Array {
        let tokens: Vec<u32> = self.inputs.iter().flat_map(|input| input.tokens.iter().copied()).collect();
        Array::from_slice(&tokens, &[self.size, tokens.len() as i32 / self.size])
    }

    /// Each row's position in its sequence, `[R]`.
    pub(super) fn positions(&self) -> &Array {
        &self.positions
    }

    /// The position of the first of each of the `n` groups of `R / n` rows.
    pub(super) fn starts(&self) -> &Starts {
        &self.starts
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
