//! The KV cache of one sequence: immutable segments, shared with every other sequence that begins alike, and a tail of its
//! own that grows. Sharing a segment copies nothing.

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexMutOp;
use mlx_rs::ops::{concatenate, zeros_dtype};

use super::kv_segment::{KvSegment, LayerKv};
use super::kv_spans::{KvSpan, KvSpans, TOKEN_AXIS, tokens_of};
use crate::engine::segment::Segment;

/// The tail's capacity grows by this many tokens at a time, so that appending one token does not copy all of it.
const TAIL_STEP: usize = 256;

/// The keys and values of a sequence's tokens, in every layer.
pub struct KvCache {
    segments: Vec<Segment<KvSegment>>,
    /// Tokens in the segments.
    sealed: usize,
    /// For each layer, the buffers of the tokens after the segments, with room for more; `None` while there are none.
    tail: Vec<Option<LayerKv>>,
    /// Tokens in segments and tail.
    len: usize,
}

impl KvCache {
    /// An empty cache.
    pub fn new(layers: usize) -> Self {
        Self { segments: Vec::new(), sealed: 0, tail: vec![None; layers], len: 0 }
    }

    /// Replaces the content by segments that were computed for the same tokens of other sequences.
    pub fn resume(&mut self, segments: Vec<Segment<KvSegment>>) {
        self.len = segments.iter().map(|segment| segment.tokens).sum();
        self.sealed = self.len;
        self.segments = segments;
        self.tail.fill(None);
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.len
    }

    /// Number of tokens that are in no segment yet.
    pub fn unsealed(&self) -> usize {
        self.len - self.sealed
    }

    /// The segments: all tokens up to the last [`KvCache::seal`].
    pub fn segments(&self) -> &[Segment<KvSegment>] {
        &self.segments
    }

    /// The tail's buffers. MLX is lazy: the new tokens are computed once these are evaluated.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        self.tail.iter().flatten().flat_map(|layer| [&layer.keys, &layer.values])
    }

    /// Writes a layer's keys and values (`[1, kv_heads, new tokens, head_dim]`) after the tokens present; returns those of
    /// all tokens. Once every layer has its own, [`KvCache::advance`] makes the new tokens count.
    pub fn append(&mut self, layer: usize, keys: &Array, values: &Array) -> Result<KvSpans, Exception> {
        let held = self.unsealed();
        let end = held + keys.dim(TOKEN_AXIS) as usize;
        let tail = match &mut self.tail[layer] {
            Some(tail) => {
                write(&mut tail.keys, held, end, keys)?;
                write(&mut tail.values, held, end, values)?;
                tail
            }
            // Contiguous, as matrix products need it: they would copy a view again at every step.
            empty => empty.insert(LayerKv { keys: keys.contiguous()?, values: values.contiguous()? }),
        };
        let last = KvSpan { range: 0..end as i32, ..KvSpan::new(tail.keys.clone(), tail.values.clone()) };
        let sealed = self.segments.iter().map(|segment| segment.payload.span(layer));
        Ok(KvSpans::new(sealed.chain([last]).collect()))
    }

    /// Counts `tokens` more, which every layer has appended.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Removes the last tokens, none of which may be in a segment.
    pub fn cut(&mut self, tokens: usize) {
        debug_assert!(tokens <= self.unsealed());
        // Their numbers stay in the buffers until they are overwritten; `seal` does not copy them.
        self.len -= tokens;
    }

    /// Turns the tail into a segment, of exactly the size it needs.
    pub fn seal(&mut self) -> Result<(), Exception> {
        let tokens = self.unsealed();
        if tokens == 0 {
            return Ok(());
        }
        let layers = self.tail.iter_mut().map(Option::take).collect::<Option<Vec<_>>>();
        let layers = layers.ok_or_else(|| Exception::custom("a layer has no keys and values to seal"))?;
        self.segments.push(Segment { tokens, payload: KvSegment::new(layers, tokens)? });
        self.sealed = self.len;
        Ok(())
    }
}

/// Writes tokens `start..end` of a buffer, which holds `start` tokens, and enlarges it if it is full.
fn write(buffer: &mut Array, start: usize, end: usize, new: &Array) -> Result<(), Exception> {
    if (buffer.dim(TOKEN_AXIS) as usize) < end {
        let room = end.next_multiple_of(TAIL_STEP) - start;
        let room = zeros_dtype(&[1, buffer.dim(1), room as i32, buffer.dim(3)], buffer.dtype())?;
        *buffer = concatenate(&[tokens_of(buffer, 0..start as i32)?, room], TOKEN_AXIS)?;
    }
    buffer.try_index_mut((.., .., start as i32..end as i32, ..), new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::segment::Payload;

    /// Keys or values of one head of width 1, with the given numbers.
    fn row(numbers: &[f32]) -> Array {
        Array::from_slice(numbers, &[1, 1, numbers.len() as i32, 1])
    }

    fn numbers(array: &Array) -> Vec<f32> {
        array.contiguous().unwrap().as_slice::<f32>().to_vec()
    }

    fn append(cache: &mut KvCache, new: &[f32]) -> Vec<f32> {
        let (keys, values) = cache.append(0, &row(new), &row(new)).unwrap().concatenated().unwrap();
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
    fn cut_tokens_are_overwritten_and_never_sealed() {
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
    fn a_segment_split_and_joined_is_the_same() {
        let mut cache = KvCache::new(1);
        append(&mut cache, &[1.0, 2.0, 3.0]);
        cache.seal().unwrap();
        let whole = &cache.segments()[0].payload;
        let (left, right) = whole.split(1).unwrap();
        assert_eq!((left.bytes(), right.bytes()), (8, 16));
        let joined = left.join(&right).unwrap();
        let mut again = KvCache::new(1);
        again.resume(vec![Segment { tokens: 3, payload: joined }]);
        assert_eq!(append(&mut again, &[4.0]), [1.0, 2.0, 3.0, 4.0]);
    }
}
