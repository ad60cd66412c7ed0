//! The buffers of one layer: keys and values of consecutive tokens, with room for more; of one sequence, or of several with a row
//! for each.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexMutOp, TryIndexOp};
use mlx_rs::ops::{concatenate, zeros_dtype};

use super::kv_spans::{TOKEN_AXIS, tokens_of};

/// One layer's buffers, each `[rows, kv_heads, tokens, head_dim]`.
#[derive(Clone)]
pub struct LayerKv {
    pub keys: Array,
    pub values: Array,
}

impl LayerKv {
    /// Empty buffers of some rows, each for `capacity` tokens like these.
    pub fn with_room_like(keys: &Array, values: &Array, rows: usize, capacity: usize) -> Result<Self, Exception> {
        Ok(Self { keys: room(keys, rows as i32, capacity)?, values: room(values, rows as i32, capacity)? })
    }

    /// How many tokens fit into the buffers.
    pub fn capacity(&self) -> usize {
        self.keys.dim(TOKEN_AXIS) as usize
    }

    /// Larger buffers, whose rows begin with the first `tokens` tokens of these.
    pub fn enlarged(&self, tokens: usize, capacity: usize) -> Result<Self, Exception> {
        let larger = |buffer: &Array| {
            let more = room(buffer, buffer.dim(0), capacity - tokens)?;
            concatenate(&[tokens_of(buffer, 0..tokens as i32)?, more], TOKEN_AXIS)
        };
        Ok(Self { keys: larger(&self.keys)?, values: larger(&self.values)? })
    }

    /// Some tokens of every row, as views.
    pub fn tokens(&self, tokens: Range<usize>) -> Result<Self, Exception> {
        let tokens = tokens.start as i32..tokens.end as i32;
        Ok(Self { keys: tokens_of(&self.keys, tokens.clone())?, values: tokens_of(&self.values, tokens)? })
    }

    /// The first `tokens` tokens of a row, as views.
    pub fn row(&self, row: i32, tokens: usize) -> Result<Self, Exception> {
        let tokens = 0..tokens as i32;
        let of_row = |buffer: &Array| match buffer.dim(0) {
            1 => tokens_of(buffer, tokens.clone()),
            _ => buffer.try_index((row..row + 1, .., tokens.clone(), ..)),
        };
        Ok(Self { keys: of_row(&self.keys)?, values: of_row(&self.values)? })
    }

    /// Writes keys and values, `[1, kv_heads, new tokens, head_dim]`, into a row from token `start` on. In place, unless somebody
    /// else holds the buffers.
    pub fn write(&mut self, row: i32, start: usize, keys: &Array, values: &Array) -> Result<(), Exception> {
        let (start, end) = (start as i32, start as i32 + keys.dim(TOKEN_AXIS));
        self.keys.try_index_mut((row..row + 1, .., start..end, ..), keys)?;
        self.values.try_index_mut((row..row + 1, .., start..end, ..), values)
    }

    /// Writes keys and values, `[rows, kv_heads, new tokens, head_dim]`, into all rows, each at positions of its own,
    /// `[rows, 1, new tokens, 1]`. In place, unless somebody else holds the buffers.
    pub fn write_rows(&mut self, positions: &Array, keys: &Array, values: &Array) -> Result<(), Exception> {
        self.keys = self.keys.put_along_axis(positions, keys, TOKEN_AXIS)?;
        self.values = self.values.put_along_axis(positions, values, TOKEN_AXIS)?;
        Ok(())
    }
}

/// Zeros for `tokens` tokens like those of a buffer, in each of some rows.
fn room(buffer: &Array, rows: i32, tokens: usize) -> Result<Array, Exception> {
    zeros_dtype(&[rows, buffer.dim(1), tokens as i32, buffer.dim(3)], buffer.dtype())
}
