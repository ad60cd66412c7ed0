//! The buffers of one layer: keys and values of consecutive tokens, with room for more; of one sequence, or of several with a row
//! for each.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexMutOp, TryIndexOp};
use mlx_rs::ops::{concatenate, zeros_dtype};

use super::kv_spans::{TOKEN_AXIS, tokens_of};

/// One layer's keys and values of consecutive tokens, each `[rows, kv_heads, tokens, width]`.
#[derive(Clone)]
pub struct LayerKv {
    pub keys: Array,
    /// `None`: a value is the beginning of its key.
    pub values: Option<Array>,
}

impl LayerKv {
    /// Empty buffers of some rows, each for `capacity` tokens like these.
    pub fn with_room(&self, rows: usize, capacity: usize) -> Result<Self, Exception> {
        self.map(|array| room(array, rows as i32, capacity))
    }

    /// The arrays: keys, and values if they have one of their own.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        [&self.keys].into_iter().chain(&self.values)
    }

    /// Memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.arrays().map(Array::nbytes).sum()
    }

    /// Something done to each array.
    pub fn map(&self, change: impl Fn(&Array) -> Result<Array, Exception>) -> Result<Self, Exception> {
        Ok(Self { keys: change(&self.keys)?, values: self.values.as_ref().map(&change).transpose()? })
    }

    /// All tokens of some parts of one layer, of at least one, one after the other.
    pub fn joined(parts: &[Self]) -> Result<Self, Exception> {
        let keys: Vec<&Array> = parts.iter().map(|part| &part.keys).collect();
        let values: Vec<&Array> = parts.iter().filter_map(|part| part.values.as_ref()).collect();
        let values = if values.is_empty() { None } else { Some(concatenate(&values, TOKEN_AXIS)?) };
        Ok(Self { keys: concatenate(&keys, TOKEN_AXIS)?, values })
    }

    /// Number of tokens; of buffers: how many fit.
    pub fn capacity(&self) -> usize {
        self.keys.dim(TOKEN_AXIS) as usize
    }

    /// Larger buffers, whose rows begin with the first `tokens` tokens of these.
    pub fn enlarged(&self, tokens: usize, capacity: usize) -> Result<Self, Exception> {
        self.map(|buffer| {
            let more = room(buffer, buffer.dim(0), capacity - tokens)?;
            concatenate(&[tokens_of(buffer, 0..tokens as i32)?, more], TOKEN_AXIS)
        })
    }

    /// Some tokens of every row, as views.
    pub fn tokens(&self, tokens: Range<usize>) -> Result<Self, Exception> {
        self.map(|buffer| tokens_of(buffer, tokens.start as i32..tokens.end as i32))
    }

    /// The first `tokens` tokens of a row, as views.
    pub fn row(&self, row: i32, tokens: usize) -> Result<Self, Exception> {
        let tokens = 0..tokens as i32;
        self.map(|buffer| match buffer.dim(0) {
            1 => tokens_of(buffer, tokens.clone()),
            _ => buffer.try_index((row..row + 1, .., tokens.clone(), ..)),
        })
    }

    /// Writes those of new tokens, of one row, into a row from token `start` on. In place, unless somebody
    /// else holds the buffers.
    pub fn write(&mut self, row: i32, start: usize, new: &Self) -> Result<(), Exception> {
        let (start, end) = (start as i32, (start + new.capacity()) as i32);
        self.keys.try_index_mut((row..row + 1, .., start..end, ..), &new.keys)?;
        match (&mut self.values, &new.values) {
            (Some(values), Some(new)) => values.try_index_mut((row..row + 1, .., start..end, ..), new),
            _ => Ok(()),
        }
    }

    /// Writes those of new tokens of as many rows into all rows, each at positions of its own,
    /// `[rows, 1, new tokens, 1]`. In place, unless somebody else holds the buffers.
    pub fn write_rows(&mut self, positions: &Array, new: &Self) -> Result<(), Exception> {
        self.keys = self.keys.put_along_axis(positions, &new.keys, TOKEN_AXIS)?;
        if let (Some(values), Some(new)) = (&mut self.values, &new.values) {
            *values = values.put_along_axis(positions, new, TOKEN_AXIS)?;
        }
        Ok(())
    }
}

/// Zeros for `tokens` tokens like those of a buffer, in each of some rows.
fn room(buffer: &Array, rows: i32, tokens: usize) -> Result<Array, Exception> {
    zeros_dtype(&[rows, buffer.dim(1), tokens as i32, buffer.dim(3)], buffer.dtype())
}
