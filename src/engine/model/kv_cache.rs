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
pub struct KvSegment(Rc<Vec<Option<LayerKv>>>);

#[derive(Clone)]
struct LayerKv {
    keys: Array,
    values: Array,
}

/// The keys and values of some tokens, one after the other: each `[1, kv_heads, tokens, head_dim]`.
#[derive(Clone)]
pub struct KvPiece {
    pub keys: Array,
    pub values: Array,
    /// The same number where other sequences have the very same; only while they have it.
    pub shared: Option<usize>,
}

impl KvPiece {
    /// How many tokens.
    pub fn tokens(&self) -> i32 {
        self.keys.dim(TOKENS)
    }

    /// Some of the tokens, without copying them.
    fn range(&self, tokens: Range<i32>) -> Result<Self, Exception> {
        if tokens == (0..self.tokens()) {
            return Ok(self.clone());
        }
        let part = |array: &Array| array.try_index((.., .., tokens.clone(), ..));
        Ok(Self { keys: part(&self.keys)?, values: part(&self.values)?, shared: None })
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
        self.0.iter().map(KvPiece::tokens).sum()
    }

    /// Some of the tokens, at least one. Copies nothing.
    pub fn range(&self, tokens: Range<i32>) -> Result<Self, Exception> {
        let (mut found, mut end) = (Vec::with_capacity(self.0.len()), 0);
        for piece in &self.0 {
            let (start, length) = (end, piece.tokens());
            end += length;
            let (from, to) = ((tokens.start - start).max(0), (tokens.end - start).min(length));
            if from < to {
                found.push(piece.range(from..to)?);
            }
        }
        Ok(Self(found))
    }

    /// All keys in one, and all values. Copies where there are several pieces.
    pub fn whole(&self) -> Result<(Array, Array), Exception> {
        if let [KvPiece { keys, values, .. }] = &self.0[..] {
            return Ok((keys.clone(), values.clone()));
        }
        let all = |array: fn(&KvPiece) -> &Array| concatenate(&self.0.iter().map(array).collect::<Vec<_>>(), TOKENS);
        Ok((all(|piece| &piece.keys)?, all(|piece| &piece.values)?))
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
        let last = KvPiece { keys: first(&tail.keys, end)?, values: first(&tail.values, end)?, shared: None };
        let piece = |KvSegment(layers): &KvSegment| {
            let LayerKv { keys, values } = layers[layer].clone()?;
            Some(KvPiece { keys, values, shared: Some(Rc::as_ptr(layers) as usize) })
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
        let payload = KvSegment(Rc::new(layers));
        // Only a tail with room to spare is copied.
        let payload = if payload.capacity() > tokens { payload.copy(|array| first(array, tokens))? } else { payload };
        self.segments.push(Segment { tokens, payload });
        self.sealed = self.len;
        Ok(())
    }
}

impl KvSegment {
    /// Tokens its buffers have room for.
    fn capacity(&self) -> usize {
        self.0.iter().flatten().next().map_or(0, |layer| layer.keys.dim(TOKENS) as usize)
    }

    /// The same layers with every array turned into another.
    fn map(&self, with: impl Fn(&Array) -> Result<Array, Exception>) -> Result<Self, Exception> {
        let layer = |layer: &Option<LayerKv>| match layer {
            None => Ok(None),
            Some(LayerKv { keys, values }) => Ok(Some(LayerKv { keys: with(keys)?, values: with(values)? })),
        };
        Ok(Self(Rc::new(self.0.iter().map(layer).collect::<Result<_, Exception>>()?)))
    }

    /// Like `map`, computed at once, in memory of its own.
    fn copy(&self, with: impl Fn(&Array) -> Result<Array, Exception>) -> Result<Self, Exception> {
        let copy = self.map(|array| with(array)?.contiguous())?;
        copy.evaluate()?;
        Ok(copy)
    }

    /// Keys and values of all layers under names, in order, in row order and evaluated.
    pub fn tensors(&self) -> Result<Vec<(String, Array)>, Exception> {
        let layers = self.0.iter().enumerate().filter_map(|(layer, kv)| Some((layer, kv.as_ref()?)));
        let named = |(layer, LayerKv { keys, values }): (usize, &LayerKv)| {
            [(format!("layer.{layer}.keys"), keys.contiguous()), (format!("layer.{layer}.values"), values.contiguous())]
        };
        let tensors = layers.flat_map(named).map(|(name, array)| Ok((name, array?))).collect::<Result<Vec<_>, Exception>>()?;
        eval(tensors.iter().map(|(_, array)| array))?;
        Ok(tensors)
    }

    /// What [`KvSegment::tensors`] gave; `None` where a layer is incomplete.
    pub fn from_tensors(mut tensors: HashMap<String, Array>) -> Option<Self> {
        let layers = tensors.len() / 2;
        let mut take = |layer: usize, part: &str| tensors.remove(&format!("layer.{layer}.{part}"));
        let layer = |layer| Some(Some(LayerKv { keys: take(layer, "keys")?, values: take(layer, "values")? }));
        Some(Self(Rc::new((0..layers).map(layer).collect::<Option<_>>()?)))
    }

    fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.0.iter().flatten().flat_map(|layer| [&layer.keys, &layer.values])
    }

    fn evaluate(&self) -> Result<(), Exception> {
        eval(self.arrays())
    }
}

impl Payload for KvSegment {
    type Error = Exception;

    fn bytes(&self) -> usize {
        self.arrays().map(Array::nbytes).sum()
    }

    fn first(&self, tokens: usize) -> Result<Self, Exception> {
        self.map(|array| first(array, tokens))
    }

    fn split(&self, tokens: usize) -> Result<(Self, Self), Exception> {
        let rest = |array: &Array| array.try_index((.., .., tokens as i32.., ..));
        Ok((self.copy(|array| first(array, tokens))?, self.copy(rest)?))
    }

    fn join(&self, next: &Self) -> Result<Self, Exception> {
        let layer = |(ours, theirs): (&Option<LayerKv>, &Option<LayerKv>)| match (ours, theirs) {
            (Some(ours), Some(theirs)) => Ok(Some(LayerKv {
                keys: concatenate(&[&ours.keys, &theirs.keys], TOKENS)?,
                values: concatenate(&[&ours.values, &theirs.values], TOKENS)?,
            })),
            _ => Ok(None),
        };
        let joined = Self(Rc::new(self.0.iter().zip(&*next.0).map(layer).collect::<Result<_, Exception>>()?));
        joined.evaluate()?;
        Ok(joined)
    }
}

/// The first tokens, without copying them.
fn first(array: &Array, tokens: usize) -> Result<Array, Exception> {
    if array.dim(TOKENS) as usize == tokens { Ok(array.clone()) } else { array.try_index((.., .., ..tokens as i32, ..)) }
}

/// Writes into a buffer that holds `start` tokens, after giving it room where that is missing.
fn write(buffer: &mut Array, start: usize, end: usize, new: &Array) -> Result<(), Exception> {
    if (buffer.dim(TOKENS) as usize) < end {
        let room = end.next_multiple_of(STEP) - start;
        let room = zeros_dtype(&[1, buffer.dim(1), room as i32, buffer.dim(3)], buffer.dtype())?;
        *buffer = concatenate(&[first(buffer, start)?, room], TOKENS)?;
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
