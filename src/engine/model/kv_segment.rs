//! The payload of a segment: the keys and values of all layers with attention, and where there are recurrent layers, perhaps
//! their state after its last token.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use mlx_rs::error::Exception;
use mlx_rs::transforms::eval;
use mlx_rs::{Array, Dtype};

use super::Config;
use super::config::{KvLayerShape, ValueShape};
use super::kv_buffer::LayerKv;
use super::kv_spans::{KvSpan, KvSpans, tokens_of};
use super::recurrent_state::{LayerState, StateShape};
use crate::engine::segment::{Checkpoint, Payload};

/// The keys and values of a segment's tokens, in all layers. Clones share memory.
#[derive(Clone)]
pub struct KvSegment {
    layers: Rc<Vec<LayerKv>>,
    /// Number of tokens: the first ones in the buffers.
    tokens: usize,
    resumption: Resumption,
}

/// After which of a segment's tokens a sequence can go on.
#[derive(Clone)]
enum Resumption {
    /// No layer is recurrent.
    Anywhere,
    /// The states of the recurrent layers were not kept.
    Nowhere,
    /// After the last token.
    AtEnd(KeptStates),
}

/// The states of all recurrent layers after a token, in arrays of their own.
#[derive(Clone)]
struct KeptStates {
    layers: Rc<Vec<LayerState>>,
    lasting: bool,
}

impl Resumption {
    /// The resumption of a segment that is cut before its last token.
    fn inside(&self) -> Self {
        match self {
            Self::Anywhere => Self::Anywhere,
            Self::Nowhere | Self::AtEnd(_) => Self::Nowhere,
        }
    }
}

/// The sizes that all segments of a model have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Those of each layer's keys and values.
    layers: Vec<KvLayerShape>,
    /// Shapes of the recurrent layers' states, if there are any.
    states: Option<StateShape>,
}

impl KvShape {
    /// The sizes of a model's segments.
    pub fn of(config: &Config) -> Self {
        Self { layers: config.kv_shapes(), states: StateShape::of(config) }
    }

    /// Whether sequences can go on only where the state of recurrent layers was kept.
    pub fn needs_checkpoints(&self) -> bool {
        self.states.is_some()
    }
}

impl KvSegment {
    /// A segment of the first `tokens` tokens of these buffers. Copies only if the buffers have room for more.
    pub fn new(layers: Vec<LayerKv>, tokens: usize) -> Result<Self, Exception> {
        let segment = Self { layers: Rc::new(layers), tokens, resumption: Resumption::Anywhere };
        if segment.capacity() > tokens { segment.copy(0..tokens) } else { Ok(segment) }
    }

    /// A copy of some tokens of these buffers, one for each layer.
    pub fn copied(layers: &[&LayerKv], tokens: Range<usize>) -> Result<Self, Exception> {
        let own = |array: &Array| tokens_of(array, tokens.start as i32..tokens.end as i32)?.contiguous();
        let layers = layers.iter().map(|layer| layer.map(own)).collect::<Result<_, Exception>>()?;
        let copy = Self { layers: Rc::new(layers), tokens: tokens.len(), resumption: Resumption::Anywhere };
        copy.evaluate()?;
        Ok(copy)
    }

    /// The same segment of a model with recurrent layers, whose states after the last token are kept or not.
    pub fn among_recurrent(self, states: Option<Vec<LayerState>>, lasting: bool) -> Result<Self, Exception> {
        let Some(layers) = states else { return Ok(Self { resumption: Resumption::Nowhere, ..self }) };
        // An array that is not evaluated keeps all its inputs in memory.
        eval(layers.iter().flat_map(LayerState::arrays))?;
        Ok(Self { resumption: Resumption::AtEnd(KeptStates { layers: Rc::new(layers), lasting }), ..self })
    }

    /// The states of the recurrent layers after the last token, if they were kept.
    pub fn states(&self) -> Option<&[LayerState]> {
        match &self.resumption {
            Resumption::AtEnd(states) => Some(&states.layers),
            Resumption::Anywhere | Resumption::Nowhere => None,
        }
    }

    /// A layer's keys and values.
    pub fn span(&self, layer: usize) -> KvSpan {
        let buffer_id = Some(Rc::as_ptr(&self.layers) as usize);
        KvSpan { buffers: self.layers[layer].clone(), range: 0..self.tokens as i32, buffer_id }
    }

    /// Number of tokens that the buffers have room for.
    fn capacity(&self) -> usize {
        self.layers.first().map_or(0, LayerKv::capacity)
    }

    /// A copy of some tokens.
    fn copy(&self, tokens: Range<usize>) -> Result<Self, Exception> {
        let resumption = if tokens.end == self.tokens { self.resumption.clone() } else { self.resumption.inside() };
        Ok(Self { resumption, ..Self::copied(&self.layers.iter().collect::<Vec<_>>(), tokens)? })
    }

    /// Keys and values as named tensors, layer by layer, then the states of a lasting checkpoint; contiguous and evaluated.
    pub fn tensors(&self) -> Result<Vec<(String, Array)>, Exception> {
        let mut tensors = Vec::new();
        for (layer, LayerKv { keys, values }) in self.layers.iter().enumerate() {
            for (name, array) in [("keys", keys)].into_iter().chain(values.iter().map(|values| ("values", values))) {
                tensors.push((format!("layer.{layer}.{name}"), tokens_of(array, 0..self.tokens as i32)?.contiguous()?));
            }
        }
        if self.checkpoint().is_some_and(|checkpoint| checkpoint.lasting) {
            for (layer, LayerState { conv, delta }) in self.states().unwrap_or_default().iter().enumerate() {
                for (name, array) in [("conv", conv), ("delta", delta)] {
                    tensors.push((format!("state.{layer}.{name}"), array.contiguous()?));
                }
            }
        }
        eval(tensors.iter().map(|(_, array)| array))?;
        Ok(tensors)
    }

    /// The way back from [`KvSegment::tensors`], for a segment of `tokens` tokens. The error names the tensor that is missing,
    /// too many or of another shape or type.
    pub fn from_tensors(mut tensors: HashMap<String, Array>, shape: &KvShape, tokens: usize) -> Result<Self, String> {
        let has_states = tensors.keys().any(|name| name.starts_with("state."));
        let mut take = |name: String, wanted: &[i32]| {
            let array = tensors.remove(&name).ok_or_else(|| format!("tensor {name} is missing"))?;
            if array.shape() != wanted {
                return Err(format!("tensor {name} has shape {:?} instead of {wanted:?}", array.shape()));
            }
            if !matches!(array.dtype(), Dtype::Float32 | Dtype::Float16 | Dtype::Bfloat16) {
                return Err(format!("tensor {name} has type {:?}", array.dtype()));
            }
            Ok(array)
        };
        let layer = |(layer, KvLayerShape { heads, width, values }): (usize, &KvLayerShape)| {
            let mut part = |part: &str, width: usize| {
                take(format!("layer.{layer}.{part}"), &[1, *heads, tokens, width].map(|size| size as i32))
            };
            let keys = part("keys", *width)?;
            let values = match values {
                ValueShape::Own(width) => Some(part("values", *width)?),
                ValueShape::InKeys => None,
            };
            Ok(LayerKv { keys, values })
        };
        let layers: Vec<LayerKv> = shape.layers.iter().enumerate().map(layer).collect::<Result<_, String>>()?;
        let resumption = match shape.states {
            None => Resumption::Anywhere,
            Some(_) if !has_states => Resumption::Nowhere,
            Some(StateShape { layers, conv, delta }) => {
                let state = |layer| {
                    let (conv, delta) =
                        (take(format!("state.{layer}.conv"), &conv)?, take(format!("state.{layer}.delta"), &delta)?);
                    Ok(LayerState { conv, delta })
                };
                let layers = (0..layers).map(state).collect::<Result<_, String>>()?;
                Resumption::AtEnd(KeptStates { layers: Rc::new(layers), lasting: true })
            }
        };
        match tensors.into_keys().next() {
            Some(name) => Err(format!("tensor {name} is unknown")),
            None => Ok(Self { layers: Rc::new(layers), tokens, resumption }),
        }
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.layers.iter().flat_map(LayerKv::arrays)
    }

    fn evaluate(&self) -> Result<(), Exception> {
        eval(self.arrays())
    }
}

impl Payload for KvSegment {
    type CopyError = Exception;

    fn bytes(&self) -> usize {
        let all: usize = self.arrays().map(Array::nbytes).sum();
        all / self.capacity().max(1) * self.tokens + self.checkpoint().map_or(0, |checkpoint| checkpoint.bytes)
    }

    fn first(&self, tokens: usize) -> Result<Self, Exception> {
        let resumption = if tokens == self.tokens { self.resumption.clone() } else { self.resumption.inside() };
        Ok(Self { layers: Rc::clone(&self.layers), tokens, resumption })
    }

    fn split(&self, tokens: usize) -> Result<(Self, Self), Exception> {
        Ok((self.copy(0..tokens)?, self.copy(tokens..self.tokens)?))
    }

    fn join(&self, next: &Self) -> Result<Self, Exception> {
        let both = |layer| KvSpans::new(vec![self.span(layer), next.span(layer)]).concatenated();
        let layers = (0..self.layers.len()).map(both).collect::<Result<_, Exception>>()?;
        let joined = Self { layers: Rc::new(layers), tokens: self.tokens + next.tokens, resumption: next.resumption.clone() };
        joined.evaluate()?;
        Ok(joined)
    }

    fn resumes_after(&self, tokens: usize) -> bool {
        match self.resumption {
            Resumption::Anywhere => true,
            Resumption::Nowhere => false,
            Resumption::AtEnd(_) => tokens == self.tokens,
        }
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        let Resumption::AtEnd(KeptStates { layers, lasting }) = &self.resumption else { return None };
        let bytes = layers.iter().flat_map(LayerState::arrays).map(Array::nbytes).sum();
        Some(Checkpoint { bytes, lasting: *lasting })
    }

    fn with_checkpoint_of(&self, other: Option<&Self>) -> Self {
        let resumption = other.map_or_else(|| self.resumption.inside(), |other| other.resumption.clone());
        Self { resumption, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::normal;

    #[test]
    fn layers_may_have_keys_and_values_of_different_shapes() {
        let shapes = [(1, 4, ValueShape::Own(4)), (3, 8, ValueShape::Own(2)), (1, 6, ValueShape::InKeys)];
        let shapes = shapes.map(|(heads, width, values)| KvLayerShape { heads, width, values });
        let shape = KvShape { layers: shapes.to_vec(), states: None };
        // Room for two tokens more.
        let layer = |KvLayerShape { heads, width, values }: &KvLayerShape| {
            let buffer = |width: usize, seed| normal(&[1, *heads as i32, 7, width as i32], seed);
            let values = if let ValueShape::Own(width) = values { Some(buffer(*width, 2)) } else { None };
            LayerKv { keys: buffer(*width, 1), values }
        };
        let whole = KvSegment::new(shapes.iter().map(layer).collect(), 5).unwrap();
        assert_eq!(whole.bytes(), 5 * (4 + 4 + 3 * (8 + 2) + 6) * 4);
        let (left, right) = whole.split(2).unwrap();
        assert_eq!((left.bytes(), right.bytes()), (whole.bytes() / 5 * 2, whole.bytes() / 5 * 3));
        let joined = left.join(&right).unwrap().tensors().unwrap();
        let read = KvSegment::from_tensors(joined.into_iter().collect(), &shape, 5).unwrap();
        let numbers = |segment: &KvSegment| {
            segment
                .tensors()
                .unwrap()
                .into_iter()
                .map(|(name, array)| (name, array.as_slice::<f32>().to_vec()))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(&read), numbers(&whole));
        let swapped = KvShape { layers: shapes.into_iter().rev().collect(), states: None };
        let refused = KvSegment::from_tensors(read.tensors().unwrap().into_iter().collect(), &swapped, 5);
        assert_eq!(refused.err().unwrap(), "tensor layer.0.keys has shape [1, 1, 5, 4] instead of [1, 1, 5, 6]");
    }
}
