//! The buffers of one layer: keys and values of consecutive tokens, with room for more.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexMutOp;
use mlx_rs::ops::{concatenate, zeros_dtype};

use super::kv_spans::{TOKEN_AXIS, tokens_of};

/// One layer's buffers, each `[1, kv_heads, tokens, head_dim]`.
#[derive(Clone)]
pub struct LayerKv {
    pub keys: Array,
    pub values: Array,
}

impl LayerKv {
    /// Empty buffers for `capacity` tokens like these.
    pub fn with_room_like(keys: &Array, values: &Array, capacity: usize) -> Result<Self, Exception> {
        Ok(Self { keys: room(keys, capacity)?, values: room(values, capacity)? })
    }

    /// How many tokens fit into the buffers.
    pub fn capacity(&self) -> usize {
        self.keys.dim(TOKEN_AXIS) as usize
    }

    /// Larger buffers that begin with the first `tokens` tokens of these.
    pub fn enlarged(&self, tokens: usize, capacity: usize) -> Result<Self, Exception> {
        let larger =
            |buffer: &Array| concatenate(&[tokens_of(buffer, 0..tokens as i32)?, room(buffer, capacity - tokens)?], TOKEN_AXIS);
        Ok(Self { keys: larger(&self.keys)?, values: larger(&self.values)? })
    }

    /// Writes keys and values from token `start` on. In place, unless somebody else holds the buffers.
    pub fn write(&mut self, start: usize, keys: &Array, values: &Array) -> Result<(), Exception> {
        let (start, end) = (start as i32, start as i32 + keys.dim(TOKEN_AXIS));
        self.keys.try_index_mut((.., .., start..end, ..), keys)?;
        self.values.try_index_mut((.., .., start..end, ..), values)
    }
}

/// Zeros for `tokens` tokens like those of a buffer.
fn room(buffer: &Array, tokens: usize) -> Result<Array, Exception> {
    zeros_dtype(&[1, buffer.dim(1), tokens as i32, buffer.dim(3)], buffer.dtype())
}
