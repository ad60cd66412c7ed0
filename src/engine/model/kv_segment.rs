//! The payload of a segment: the keys and values of all layers.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use mlx_rs::error::Exception;
use mlx_rs::ops::concatenate;
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype};

use super::Config;
use super::kv_buffer::LayerKv;
use super::kv_spans::{KvSpan, TOKEN_AXIS, tokens_of};
use crate::engine::segment::Payload;

/// The keys and values of a segment's tokens, in all layers. Clones share memory.
#[derive(Clone)]
pub struct KvSegment {
    layers: Rc<Vec<LayerKv>>,
    /// Number of tokens: the first ones in the buffers.
    tokens: usize,
}

/// The sizes that all segments of a model have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    layers: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl KvShape {
    /// The sizes of a model's segments.
    pub fn of(config: &Config) -> Self {
        Self { layers: config.layers, kv_heads: config.kv_heads, head_dim: config.head_dim }
    }
}

impl KvSegment {
    /// A segment of the first `tokens` tokens of these buffers. Copies only if the buffers have room for more.
    pub fn new(layers: Vec<LayerKv>, tokens: usize) -> Result<Self, Exception> {
        let segment = Self { layers: Rc::new(layers), tokens };
        if segment.capacity() > tokens { segment.copy(0..tokens) } else { Ok(segment) }
    }

    /// A copy of some tokens of these buffers, one for each layer.
    pub fn copied(layers: &[&LayerKv], tokens: Range<usize>) -> Result<Self, Exception> {
        let own = |array: &Array| tokens_of(array, tokens.start as i32..tokens.end as i32)?.contiguous();
        let layer = |layer: &&LayerKv| Ok(LayerKv { keys: own(&layer.keys)?, values: own(&layer.values)? });
        let layers = layers.iter().map(layer).collect::<Result<_, Exception>>()?;
        let copy = Self { layers: Rc::new(layers), tokens: tokens.len() };
        copy.evaluate()?;
        Ok(copy)
    }

    /// A layer's keys and values.
    pub fn span(&self, layer: usize) -> KvSpan {
        let LayerKv { keys, values } = self.layers[layer].clone();
        let buffer_id = Some(Rc::as_ptr(&self.layers) as usize);
        KvSpan { key_buffer: keys, value_buffer: values, range: 0..self.tokens as i32, buffer_id }
    }

    /// Number of tokens that the buffers have room for.
    fn capacity(&self) -> usize {
        self.layers.first().map_or(0, LayerKv::capacity)
    }

    /// A copy of some tokens.
    fn copy(&self, tokens: Range<usize>) -> Result<Self, Exception> {
        Self::copied(&self.layers.iter().collect::<Vec<_>>(), tokens)
    }

    /// Keys and values as named tensors, layer by layer; contiguous and evaluated.
    pub fn tensors(&self) -> Result<Vec<(String, Array)>, Exception> {
        let mut tensors = Vec::new();
        for (layer, LayerKv { keys, values }) in self.layers.iter().enumerate() {
            for (name, array) in [("keys", keys), ("values", values)] {
                tensors.push((format!("layer.{layer}.{name}"), tokens_of(array, 0..self.tokens as i32)?.contiguous()?));
            }
        }
        eval(tensors.iter().map(|(_, array)| array))?;
        Ok(tensors)
    }

    /// The way back from [`KvSegment::tensors`], for a segment of `tokens` tokens. The error names the tensor that is missing,
    /// too many or of another shape or type.
    pub fn from_tensors(mut tensors: HashMap<String, Array>, shape: KvShape, tokens: usize) -> Result<Self, String> {
        let mut take = |layer: usize, part: &str| {
            let name = format!("layer.{layer}.{part}");
            let array = tensors.remove(&name).ok_or_else(|| format!("tensor {name} is missing"))?;
            let wanted = [1, shape.kv_heads, tokens, shape.head_dim].map(|size| size as i32);
            if array.shape() != wanted {
                return Err(format!("tensor {name} has shape {:?} instead of {wanted:?}", array.shape()));
            }
            if !matches!(array.dtype(), Dtype::Float32 | Dtype::Float16 | Dtype::Bfloat16) {
                return Err(format!("tensor {name} has type {:?}", array.dtype()));
            }
            Ok(array)
        };
        let layer = |layer| Ok(LayerKv { keys: take(layer, "keys")?, values: take(layer, "values")? });
        let layers: Vec<LayerKv> = (0..shape.layers).map(layer).collect::<Result<_, String>>()?;
        match tensors.into_keys().next() {
            Some(name) => Err(format!("tensor {name} is unknown")),
            None => Ok(Self { layers: Rc::new(layers), tokens }),
        }
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.layers.iter().flat_map(|layer| [&layer.keys, &layer.values])
    }

    fn evaluate(&self) -> Result<(), Exception> {
        eval(self.arrays())
    }
}

impl Payload for KvSegment {
    type CopyError = Exception;

    fn bytes(&self) -> usize {
        let all: usize = self.arrays().map(Array::nbytes).sum();
        all / self.capacity().max(1) * self.tokens
    }

    fn first(&self, tokens: usize) -> Result<Self, Exception> {
        Ok(Self { layers: Rc::clone(&self.layers), tokens })
    }

    fn split(&self, tokens: usize) -> Result<(Self, Self), Exception> {
        Ok((self.copy(0..tokens)?, self.copy(tokens..self.tokens)?))
    }

    fn join(&self, next: &Self) -> Result<Self, Exception> {
        let both = |ours: &Array, theirs: &Array| {
            let (ours, theirs) = (tokens_of(ours, 0..self.tokens as i32)?, tokens_of(theirs, 0..next.tokens as i32)?);
            concatenate(&[ours, theirs], TOKEN_AXIS)
        };
        let layer = |(ours, theirs): (&LayerKv, &LayerKv)| {
            Ok(LayerKv { keys: both(&ours.keys, &theirs.keys)?, values: both(&ours.values, &theirs.values)? })
        };
        let layers = self.layers.iter().zip(&*next.layers).map(layer).collect::<Result<_, Exception>>()?;
        let joined = Self { layers: Rc::new(layers), tokens: self.tokens + next.tokens };
        joined.evaluate()?;
        Ok(joined)
    }
}
