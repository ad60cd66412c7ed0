//! The keys and values of the tokens a model has seen.
//!
//! A sequence's tokens are runs that are never written again, shared with every other sequence that has them, and a tail of
//! its own that grows. Nothing is copied to share a run.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::{TryIndexMutOp, TryIndexOp};
use mlx_rs::ops::{concatenate, zeros_dtype};
use mlx_rs::transforms::eval;

use crate::engine::cache::{Payload, Segment};

/// A tail grows in steps of so many tokens, so that appending one token does not copy it.
const STEP: usize = 256;

/// The axis of the tokens in keys and values, which are `[1, kv_heads, tokens, head_dim]`.
const TOKENS: i32 = 2;

/// Per layer, the keys and values of a sequence's tokens.
pub struct KvCache {
    segments: Vec<Segment<KvSegment>>,
    /// Tokens in the segments.
    sealed: usize,
    /// Per layer, what comes after the segments, with room for more; `None` where there is nothing yet.
    tail: Vec<Option<LayerKv>>,
    /// Tokens in all.
    len: usize,
}

/// Per layer, the keys and values of a run of tokens. Clones share them.
#[derive(Clone)]
pub struct KvSegment {
    layers: Rc<Vec<Option<LayerKv>>>,
    /// So many of the layers' tokens, the first ones.
    tokens: usize,
}

#[derive(Clone)]
struct LayerKv {
    keys: Array,
    values: Array,
}

/// The keys and values of some tokens, one after the other: part of buffers `[1, kv_heads, tokens, head_dim]`.
#[derive(Clone)]
pub struct KvPiece {
    pub keys: Array,
    pub values: Array,
    /// Which tokens of the buffers.
    pub tokens: Range<i32>,
    /// The same number where other sequences have the very same buffers; only while they have them.
    pub shared: Option<usize>,
}

impl KvPiece {
    /// All that the buffers have.
    pub fn new(keys: Array, values: Array) -> Self {
        Self { tokens: 0..keys.dim(TOKENS), keys, values, shared: None }
    }

    /// How many tokens.
    pub fn len(&self) -> i32 {
        self.tokens.end - self.tokens.start
    }

    /// The tokens' keys, without copying them.
    pub fn keys(&self) -> Result<Array, Exception> {
        part(&self.keys, self.tokens.clone())
    }

    /// The tokens' values, without copying them.
    pub fn values(&self) -> Result<Array, Exception> {
        part(&self.values, self.tokens.clone())
    }

    /// Some of the tokens, counted from the piece's first.
    fn range(&self, tokens: Range<i32>) -> Self {
        let start = self.tokens.start;
        Self { tokens: start + tokens.start..start + tokens.end, ..self.clone() }
    }
}

/// The keys and values of all of a sequence's tokens, in order, in one or more pieces.
pub struct Pieces(Vec<KvPiece>);

impl Pieces {
    /// At least one piece, in the order of their tokens.
    pub fn new(pieces: Vec<KvPiece>) -> Self {
        Self(pieces)
    }

    /// The pieces; at least one, and the last one has the tokens appended last.
    pub fn as_slice(&self) -> &[KvPiece] {
        &self.0
    }

    /// Tokens in all pieces.
    pub fn tokens(&self) -> i32 {
        self.0.iter().map(KvPiece::len).sum()
    }

    /// Some of the tokens, at least one. Copies nothing.
    pub fn range(&self, tokens: Range<i32>) -> Self {
        let (mut found, mut end) = (Vec::with_capacity(self.0.len()), 0);
        for piece in &self.0 {
            let (start, length) = (end, piece.len());
            end += length;
            let (from, to) = ((tokens.start - start).max(0), (tokens.end - start).min(length));
            if from < to {
                found.push(piece.range(from..to));
            }
        }
        Self(found)
    }

    /// All keys in one, and all values. Copies where there are several pieces.
    pub fn whole(&self) -> Result<(Array, Array), Exception> {
        if let [piece] = &self.0[..] {
            return Ok((piece.keys()?, piece.values()?));
        }
        let all = |part: fn(&KvPiece) -> Result<Array, Exception>| {
            concatenate(&self.0.iter().map(part).collect::<Result<Vec<_>, _>>()?, TOKENS)
        };
        Ok((all(KvPiece::keys)?, all(KvPiece::values)?))
    }
}

impl KvCache {
    /// An empty cache for a model of so many layers.
    pub fn new(layers: usize) -> Self {
        Self { segments: Vec::new(), sealed: 0, tail: vec![None; layers], len: 0 }
    }

    /// Starts over with what was computed for other sequences that begin alike.
    pub fn resume(&mut self, segments: Vec<Segment<KvSegment>>) {
        self.len = segments.iter().map(|segment| segment.tokens).sum();
        self.sealed = self.len;
        self.segments = segments;
        self.tail.fill(None);
    }

    /// Tokens held.
    pub fn tokens(&self) -> usize {
        self.len
    }

    /// Tokens held that are in no segment yet.
    pub fn unsealed(&self) -> usize {
        self.len - self.sealed
    }

    /// What can be shared: all tokens up to the last [`KvCache::seal`].
    pub fn segments(&self) -> &[Segment<KvSegment>] {
        &self.segments
    }

    /// The buffers that grow: what must be evaluated for the tokens to be computed.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.tail.iter().flatten().flat_map(|layer| [&layer.keys, &layer.values])
    }

    /// Writes a layer's keys and values (`[1, kv_heads, n, head_dim]`) after the tokens held, and gives those of all
    /// tokens. They count as held from [`KvCache::advance`] on, when every layer has had its own.
    pub fn append(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<Pieces, Exception> {
        let held = self.unsealed();
        let end = held + keys.dim(TOKENS) as usize;
        let tail = match &mut self.tail[layer] {
            Some(tail) => {
                write(&mut tail.keys, held, end, keys)?;
                write(&mut tail.values, held, end, values)?;
                tail
            }
            // A matrix product wants its rows one after the other; it would copy them each time.
            empty => empty.insert(LayerKv { keys: keys.contiguous()?, values: values.contiguous()? }),
        };
        let last = KvPiece { tokens: 0..end as i32, ..KvPiece::new(tail.keys.clone(), tail.values.clone()) };
        let piece = |KvSegment { layers, tokens }: &KvSegment| {
            let LayerKv { keys, values } = layers[layer].clone()?;
            Some(KvPiece { keys, values, tokens: 0..*tokens as i32, shared: Some(Rc::as_ptr(layers) as usize) })
        };
        let sealed = self.segments.iter().filter_map(|segment| piece(&segment.payload));
        Ok(Pieces::new(sealed.chain([last]).collect()))
    }

    /// Counts `tokens` more as held.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Forgets the last tokens, which must not be in a segment.
    pub fn cut(&mut self, tokens: usize) {
        debug_assert!(tokens <= self.unsealed());
        // What the buffers hold beyond is written over, or not copied.
        self.len -= tokens;
    }

    /// Makes the tail a segment, which gives the room it did not use back.
    pub fn seal(&mut self) -> Result<(), Exception> {
        let tokens = self.unsealed();
        if tokens == 0 {
            return Ok(());
        }
        let layers = self.tail.iter_mut().map(Option::take).collect();
        let payload = KvSegment { layers: Rc::new(layers), tokens };
        // Only a tail with room to spare is copied.
        let payload = if payload.capacity() > tokens { payload.copy(0..tokens)? } else { payload };
        self.segments.push(Segment { tokens, payload });
        self.sealed = self.len;
        Ok(())
    }
}

impl KvSegment {
    /// Tokens its buffers have room for.
    fn capacity(&self) -> usize {
        self.layers.iter().flatten().next().map_or(0, |layer| layer.keys.dim(TOKENS) as usize)
    }

    /// Some of its tokens, in memory of their own.
    fn copy(&self, tokens: Range<usize>) -> Result<Self, Exception> {
        let own = |array: &Array| part(array, tokens.start as i32..tokens.end as i32)?.contiguous();
        let layer = |layer: &Option<LayerKv>| match layer {
            None => Ok(None),
            Some(LayerKv { keys, values }) => Ok(Some(LayerKv { keys: own(keys)?, values: own(values)? })),
        };
        let layers = self.layers.iter().map(layer).collect::<Result<_, Exception>>()?;
        let copy = Self { layers: Rc::new(layers), tokens: tokens.len() };
        copy.evaluate()?;
        Ok(copy)
    }

    /// Keys and values of all layers under names, in order, in row order and evaluated.
    pub fn tensors(&self) -> Result<Vec<(String, Array)>, Exception> {
        let mut tensors = Vec::new();
        for (layer, kv) in self.layers.iter().enumerate() {
            let Some(LayerKv { keys, values }) = kv else { continue };
            for (name, array) in [("keys", keys), ("values", values)] {
                tensors.push((format!("layer.{layer}.{name}"), part(array, 0..self.tokens as i32)?.contiguous()?));
            }
        }
        eval(tensors.iter().map(|(_, array)| array))?;
        Ok(tensors)
    }

    /// What [`KvSegment::tensors`] gave; `None` where a layer is incomplete.
    pub fn from_tensors(mut tensors: HashMap<String, Array>) -> Option<Self> {
        let layers = tensors.len() / 2;
        let mut take = |layer: usize, part: &str| tensors.remove(&format!("layer.{layer}.{part}"));
        let layer = |layer| Some(Some(LayerKv { keys: take(layer, "keys")?, values: take(layer, "values")? }));
        let layers: Vec<Option<LayerKv>> = (0..layers).map(layer).collect::<Option<_>>()?;
        let mut segment = Self { layers: Rc::new(layers), tokens: 0 };
        segment.tokens = segment.capacity();
        Some(segment)
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.layers.iter().flatten().flat_map(|layer| [&layer.keys, &layer.values])
    }

    fn evaluate(&self) -> Result<(), Exception> {
        eval(self.arrays())
    }
}

impl Payload for KvSegment {
    type Error = Exception;

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
            concatenate(&[part(ours, 0..self.tokens as i32)?, part(theirs, 0..next.tokens as i32)?], TOKENS)
        };
        let layer = |(ours, theirs): (&Option<LayerKv>, &Option<LayerKv>)| match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                Ok(Some(LayerKv { keys: both(&ours.keys, &theirs.keys)?, values: both(&ours.values, &theirs.values)? }))
            }
            _ => Ok(None),
        };
        let layers = self.layers.iter().zip(&*next.layers).map(layer).collect::<Result<_, Exception>>()?;
        let joined = Self { layers: Rc::new(layers), tokens: self.tokens + next.tokens };
        joined.evaluate()?;
        Ok(joined)
    }
}

/// Some of a buffer's tokens, without copying them.
fn part(buffer: &Array, tokens: Range<i32>) -> Result<Array, Exception> {
    if tokens == (0..buffer.dim(TOKENS)) { Ok(buffer.clone()) } else { buffer.try_index((.., .., tokens, ..)) }
}

/// Writes into a buffer that holds `start` tokens, after giving it room where that is missing.
fn write(buffer: &mut Array, start: usize, end: usize, new: &Array) -> Result<(), Exception> {
    if (buffer.dim(TOKENS) as usize) < end {
        let room = end.next_multiple_of(STEP) - start;
        let room = zeros_dtype(&[1, buffer.dim(1), room as i32, buffer.dim(3)], buffer.dtype())?;
        *buffer = concatenate(&[part(buffer, 0..start as i32)?, room], TOKENS)?;
    }
    buffer.try_index_mut((.., .., start as i32..end as i32, ..), new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys or values of one head of width 1: the given numbers.
    fn row(numbers: &[f32]) -> Array {
        Array::from_slice(numbers, &[1, 1, numbers.len() as i32, 1])
    }

    fn numbers(array: &Array) -> Vec<f32> {
        array.contiguous().unwrap().as_slice::<f32>().to_vec()
    }

    fn append(cache: &mut KvCache, new: &[f32]) -> Vec<f32> {
        let (keys, values) = cache.append(0, &row(new), &row(new)).unwrap().whole().unwrap();
        cache.advance(new.len());
        assert_eq!(numbers(&keys), numbers(&values));
        numbers(&keys)
    }

    fn bytes(cache: &KvCache) -> usize {
        cache.segments().iter().map(|segment| segment.payload.bytes()).sum()
    }

    #[test]
    fn appending_keeps_what_was_there_when_the_tail_grows_and_is_sealed() {
        let mut cache = KvCache::new(1);
        let all: Vec<f32> = (0..900).map(|n| n as f32).collect();
        let mut seen = Vec::new();
        for (count, part) in all.chunks(100).enumerate() {
            seen = append(&mut cache, part);
            if count == 3 {
                cache.seal().unwrap();
            }
        }
        assert_eq!((seen, cache.tokens(), cache.unsealed()), (all, 900, 500));
        cache.seal().unwrap();
        assert_eq!((cache.segments().len(), cache.unsealed(), bytes(&cache)), (2, 0, 2 * 900 * 4));
    }

    #[test]
    fn what_was_cut_is_written_over_and_never_sealed() {
        let mut cache = KvCache::new(1);
        append(&mut cache, &[1.0, 2.0, 3.0]);
        cache.cut(2);
        assert_eq!(append(&mut cache, &[8.0]), [1.0, 8.0]);
        append(&mut cache, &[9.0, 9.0]);
        cache.cut(2);
        cache.seal().unwrap();
        assert_eq!((cache.tokens(), cache.unsealed(), bytes(&cache)), (2, 0, 2 * 2 * 4));
        assert_eq!(append(&mut cache, &[4.0]), [1.0, 8.0, 4.0]);
    }

    #[test]
    fn sequences_share_segments_and_nothing_else() {
        let mut original = KvCache::new(1);
        append(&mut original, &[1.0, 2.0, 3.0]);
        original.seal().unwrap();
        let [Segment { payload, .. }] = original.segments() else { panic!("one segment") };
        let mut branch = KvCache::new(1);
        branch.resume(vec![Segment { tokens: 2, payload: payload.first(2).unwrap() }]);
        assert_eq!(append(&mut branch, &[8.0, 9.0]), [1.0, 2.0, 8.0, 9.0]);
        assert_eq!(append(&mut original, &[4.0]), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(append(&mut branch, &[7.0]), [1.0, 2.0, 8.0, 9.0, 7.0]);
    }

    #[test]
    fn a_segment_taken_apart_and_put_together_is_the_same() {
        let mut cache = KvCache::new(2);
        append(&mut cache, &[1.0, 2.0, 3.0]);
        cache.seal().unwrap();
        let whole = &cache.segments()[0].payload;
        let (left, right) = whole.split(1).unwrap();
        assert_eq!((left.bytes(), right.bytes()), (8, 16));
        let joined = left.join(&right).unwrap();
        let mut again = KvCache::new(2);
        again.resume(vec![Segment { tokens: 3, payload: joined }]);
        assert_eq!(append(&mut again, &[4.0]), [1.0, 2.0, 3.0, 4.0]);
    }
}
