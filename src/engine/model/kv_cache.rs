//! The keys and values of the tokens a model has seen.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexMutOp, TryIndexOp};
use mlx_rs::ops::{concatenate, zeros_dtype};

/// Buffers grow in steps of so many tokens, so that appending one token does not copy them.
const STEP: usize = 256;

/// Per layer, the keys and values of the same tokens, in buffers with room for more.
///
/// Cloning is cheap: clones share their buffers until one of them is written to. (MLX copies a buffer that somebody else
/// holds, and writes in place otherwise.)
#[derive(Clone)]
pub struct KvCache {
    layers: Vec<Option<LayerKv>>,
    len: usize,
    /// Tokens a buffer has room for, once it is there.
    capacity: usize,
}

#[derive(Clone)]
struct LayerKv {
    keys: Buffer,
    values: Buffer,
}

/// `[1, kv_heads, capacity, head_dim]`
#[derive(Clone)]
struct Buffer(Array);

impl KvCache {
    /// An empty cache for a model of so many layers.
    pub fn new(layers: usize) -> Self {
        Self { layers: vec![None; layers], len: 0, capacity: 0 }
    }

    /// Tokens held.
    pub fn tokens(&self) -> usize {
        self.len
    }

    /// Memory of the buffers, in bytes.
    pub fn bytes(&self) -> usize {
        self.arrays().map(Array::nbytes).sum()
    }

    /// All buffers: what must be evaluated for the tokens to be computed.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.layers.iter().flatten().flat_map(|layer| [&layer.keys.0, &layer.values.0])
    }

    /// Makes room for so many tokens in all, so that a long prompt does not grow the buffers again and again.
    pub fn reserve(&mut self, tokens: usize) {
        self.capacity = self.capacity.max(tokens.next_multiple_of(STEP));
    }

    /// Forgets all tokens after the first `len`.
    pub fn truncate(&mut self, len: usize) -> Result<(), Exception> {
        self.len = self.len.min(len);
        self.capacity = self.len.next_multiple_of(STEP);
        for layer in self.layers.iter_mut().flatten() {
            layer.keys.shrink(self.capacity)?;
            layer.values.shrink(self.capacity)?;
        }
        Ok(())
    }

    /// Writes a layer's keys and values (`[1, kv_heads, n, head_dim]`) after the tokens held, and gives those of all
    /// tokens. They count as held from [`KvCache::advance`] on, when every layer has had its own.
    pub fn append(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<(Array, Array), Exception> {
        let end = self.len + keys.dim(2) as usize;
        self.reserve(end);
        let layer = match &mut self.layers[layer] {
            Some(layer) => layer,
            empty => empty.insert(LayerKv {
                keys: Buffer::with_capacity(keys, self.capacity)?,
                values: Buffer::with_capacity(values, self.capacity)?,
            }),
        };
        for (buffer, new) in [(&mut layer.keys, keys), (&mut layer.values, values)] {
            buffer.grow(self.len, self.capacity)?;
            buffer.write(self.len, end, new)?;
        }
        Ok((layer.keys.first(end)?, layer.values.first(end)?))
    }

    /// Counts `tokens` more as held.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

impl Buffer {
    fn with_capacity(like: &Array, capacity: usize) -> Result<Self, Exception> {
        let shape = [1, like.dim(1), capacity as i32, like.dim(3)];
        Ok(Self(zeros_dtype(&shape, like.dtype())?))
    }

    fn capacity(&self) -> usize {
        self.0.dim(2) as usize
    }

    /// The first tokens, without copying them.
    fn first(&self, tokens: usize) -> Result<Array, Exception> {
        self.0.try_index((.., .., ..tokens as i32, ..))
    }

    /// Gives room for `capacity` tokens, keeping the first `len`.
    fn grow(&mut self, len: usize, capacity: usize) -> Result<(), Exception> {
        if self.capacity() < capacity {
            let room = Self::with_capacity(&self.0, capacity - len)?;
            self.0 = concatenate(&[self.first(len)?, room.0], 2)?;
        }
        Ok(())
    }

    /// A shorter buffer is a cheaper copy, where the next write has to make one.
    fn shrink(&mut self, capacity: usize) -> Result<(), Exception> {
        if capacity < self.capacity() {
            self.0 = self.first(capacity)?;
        }
        Ok(())
    }

    fn write(&mut self, start: usize, end: usize, new: &Array) -> Result<(), Exception> {
        self.0.try_index_mut((.., .., start as i32..end as i32, ..), new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys or values of one head of width 1: the given numbers.
    fn row(numbers: &[f32]) -> Array {
        Array::from_slice(numbers, &[1, 1, numbers.len() as i32, 1])
    }

    fn append(cache: &mut KvCache, numbers: &[f32]) -> Vec<f32> {
        let (keys, values) = cache.append(0, &row(numbers), &row(numbers)).unwrap();
        cache.advance(numbers.len());
        assert_eq!(keys.contiguous().unwrap().as_slice::<f32>(), values.contiguous().unwrap().as_slice::<f32>());
        keys.contiguous().unwrap().as_slice::<f32>().to_vec()
    }

    #[test]
    fn appending_keeps_what_was_there_when_buffers_grow() {
        let mut cache = KvCache::new(1);
        let numbers: Vec<f32> = (0..600).map(|n| n as f32).collect();
        let mut seen = Vec::new();
        for part in numbers.chunks(170) {
            seen = append(&mut cache, part);
        }
        assert_eq!((seen, cache.tokens(), cache.bytes()), (numbers, 600, 2 * 768 * 4));
    }

    #[test]
    fn writing_to_a_clone_leaves_the_original_alone() {
        let mut original = KvCache::new(1);
        append(&mut original, &[1.0, 2.0, 3.0]);
        let mut branch = original.clone();
        branch.truncate(2).unwrap();
        assert_eq!(append(&mut branch, &[8.0, 9.0]), [1.0, 2.0, 8.0, 9.0]);
        assert_eq!(append(&mut original, &[4.0]), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn truncating_gives_the_memory_back() {
        let mut cache = KvCache::new(1);
        append(&mut cache, &[0.5; 1000]);
        cache.truncate(10).unwrap();
        assert_eq!((cache.tokens(), cache.bytes()), (10, 2 * 256 * 4));
    }
}
