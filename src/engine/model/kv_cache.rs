//! The KV cache of one sequence: immutable segments, shared with every other sequence that begins alike, and buffers of its own
//! that grow. What the buffers hold depends on the compute path.
//!
//! On the CPU path they are a tail: the tokens after the segments. Our kernel reads segments where they are, so resuming from
//! them copies nothing. On the GPU path they hold all tokens, because MLX's fused attention wants them side by side: what
//! segments hold is copied into them once, when a sequence resumes. Sequences that decode together may share them (`kv_joint`).

use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::compute_path::ComputePath;
use super::device_work::{count_copy, wait};
use super::kv_buffer::LayerKv;
use super::kv_joint::JointRow;
use super::kv_segment::KvSegment;
use super::kv_spans::{KvSpan, KvSpans};
use super::recurrent_state::{LayerState, RecurrentLayer, Taken};
use crate::engine::segment::{Payload, SEGMENT_TOKENS, Segment};

/// Capacities are multiples of this many tokens, so that appending a token does not copy what is there.
const STEP: usize = 256;

/// The keys and values of a sequence's tokens, in every layer with attention, and the states of the recurrent layers.
pub struct KvCache {
    path: ComputePath,
    segments: Vec<Segment<KvSegment>>,
    /// Tokens in the segments.
    sealed: usize,
    /// For each layer with attention the sequence's own buffers, with room for more; `None` while there are none.
    buffers: Vec<Option<LayerKv>>,
    /// Its row of these buffers, where others share them.
    joint: Option<JointRow>,
    /// The state of each recurrent layer.
    recurrent: Vec<RecurrentLayer>,
    /// Tokens in all.
    len: usize,
    /// Tokens that the sequence is known to reach.
    reserved: usize,
}

/// What a forward pass changes in a cache: see [`KvCache::exchange`].
pub struct KvState {
    buffers: Vec<Option<LayerKv>>,
    joint: Option<JointRow>,
    recurrent: Vec<RecurrentLayer>,
    len: usize,
}

impl KvCache {
    /// An empty cache for `layers` layers with attention and no recurrent ones.
    pub fn new(layers: usize, path: ComputePath) -> Self {
        let (segments, buffers, recurrent) = (Vec::new(), vec![None; layers], Vec::new());
        Self { path, segments, sealed: 0, buffers, joint: None, recurrent, len: 0, reserved: 0 }
    }

    /// The same with `layers` recurrent layers.
    pub fn with_recurrent(mut self, layers: usize) -> Self {
        self.recurrent.resize_with(layers, RecurrentLayer::default);
        self
    }

    /// How its sequence is computed.
    pub fn path(&self) -> ComputePath {
        self.path
    }

    /// Announces that the sequence will reach at least this many tokens, so that its buffers are allocated once.
    pub fn reserve(&mut self, tokens: usize) {
        self.reserved = self.reserved.max(tokens);
    }

    /// Continues from segments, which hold the tokens present and more: they were computed for other sequences.
    pub fn resume(&mut self, segments: Vec<Segment<KvSegment>>) -> Result<(), Exception> {
        if segments.is_empty() {
            return Ok(());
        }
        self.leave()?;
        self.resume_recurrent(&segments)?;
        let held = self.len;
        self.len = segments.iter().map(|segment| segment.tokens).sum();
        self.sealed = self.len;
        self.segments = segments;
        self.forget_checkpoints();
        match self.path {
            ComputePath::Cpu => self.buffers.fill(None),
            ComputePath::Gpu => {
                (0..self.buffers.len()).try_for_each(|layer| self.copy_segments(layer, held))?;
                wait(self.arrays())?;
            }
        }
        Ok(())
    }

    /// Takes over the states that the last of some segments holds.
    fn resume_recurrent(&mut self, segments: &[Segment<KvSegment>]) -> Result<(), Exception> {
        if self.recurrent.is_empty() {
            return Ok(());
        }
        let states = segments.last().and_then(|segment| segment.payload.states());
        let states = states.ok_or_else(|| Exception::custom("the segments end without a checkpoint"))?;
        self.recurrent = states.iter().cloned().map(RecurrentLayer::resumed).collect();
        Ok(())
    }

    /// Keeps the states of recurrent layers with the last segment, which has to end with the last token, so that others can go on
    /// from there. `lasting`: see [`Checkpoint`](crate::engine::segment::Checkpoint). Nothing happens if no layer is recurrent.
    pub fn keep_checkpoint(&mut self, lasting: bool) -> Result<(), Exception> {
        debug_assert!(self.unsealed() == 0);
        let states = self.recurrent.iter().map(|layer| layer.state().cloned()).collect::<Option<Vec<_>>>();
        match (self.segments.last_mut(), states) {
            (Some(Segment { payload, .. }), Some(states)) if !states.is_empty() => {
                *payload = payload.clone().among_recurrent(Some(states), lasting)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Drops the checkpoints in the segments: the prefix cache decides which of them are kept.
    pub fn forget_checkpoints(&mut self) {
        for Segment { payload, .. } in &mut self.segments {
            if payload.states().is_some() {
                *payload = payload.with_checkpoint_of(None);
            }
        }
    }

    /// Memory of the recurrent layers' states, in bytes. It does not depend on the number of tokens.
    pub fn state_bytes(&self) -> usize {
        self.recurrent.iter().flat_map(RecurrentLayer::arrays).map(Array::nbytes).sum()
    }

    /// How many tokens the buffers of the GPU path are made for when they have to grow to `tokens`. A long sequence that grew by
    /// one step at a time would be copied every 256 tokens.
    pub fn grown_capacity(tokens: usize) -> usize {
        (tokens + tokens / 8).next_multiple_of(STEP)
    }

    /// Memory of what the buffers hold beside the segments, in bytes.
    pub fn copied_bytes(&self) -> usize {
        match self.path {
            ComputePath::Cpu => 0,
            ComputePath::Gpu => {
                let all: usize = self.buffers.iter().flatten().map(LayerKv::bytes).sum();
                all / self.joint.as_ref().map_or(1, |row| row.rows() as usize)
            }
        }
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

    /// The sequence's own buffers. MLX is lazy: the new tokens are computed once these are evaluated.
    pub fn arrays(&self) -> impl Iterator<Item = &Array> {
        let buffers = self.buffers.iter().flatten().flat_map(LayerKv::arrays);
        buffers.chain(self.recurrent.iter().flat_map(RecurrentLayer::arrays))
    }

    /// Writes a layer's keys and values of new tokens after those present; returns those of all tokens, on the GPU path as a single
    /// span. Once every layer has its own, [`KvCache::advance`] makes the new tokens count.
    pub fn append(&mut self, layer: usize, new: &LayerKv) -> Result<KvSpans, Exception> {
        self.add(layer, new)?;
        self.spans(layer, new.capacity())
    }

    /// Writes a layer's keys and values of new tokens after those present. If others share the buffers, they have to be given
    /// these ([`KvCache::share_buffers`]).
    pub(super) fn add(&mut self, layer: usize, new: &LayerKv) -> Result<(), Exception> {
        self.write(layer, self.len - self.buffer_start(), new)
    }

    /// A layer's keys and values of the tokens present and of `new` ones that were written after them.
    pub(super) fn spans(&self, layer: usize, new: usize) -> Result<KvSpans, Exception> {
        let end = self.len + new - self.buffer_start();
        let own = match self.path {
            ComputePath::Cpu => KvSpan { range: 0..end as i32, ..KvSpan::new(self.buffers(layer)?.clone()) },
            ComputePath::Gpu => KvSpan::new(self.own(layer, end)?),
        };
        let before: &[Segment<KvSegment>] = match self.path {
            ComputePath::Cpu => &self.segments,
            ComputePath::Gpu => &[],
        };
        Ok(KvSpans::new(before.iter().map(|segment| segment.payload.span(layer)).chain([own]).collect()))
    }

    /// A layer's buffers, which it has once something was written.
    pub(super) fn buffers(&self, layer: usize) -> Result<&LayerKv, Exception> {
        self.buffers[layer].as_ref().ok_or_else(|| Exception::custom("a layer has no keys and values"))
    }

    /// The first `tokens` tokens of its own row of a layer's buffers.
    pub(super) fn own(&self, layer: usize, tokens: usize) -> Result<LayerKv, Exception> {
        self.buffers(layer)?.row(self.row(), tokens)
    }

    /// Takes over a layer's buffers, which another member of its joint has written.
    pub(super) fn share_buffers(&mut self, layer: usize, buffers: LayerKv) {
        self.buffers[layer] = Some(buffers);
    }

    /// Its place in joint buffers, if others share them.
    pub(super) fn joint_row(&self) -> Option<&JointRow> {
        self.joint.as_ref()
    }

    /// Says which row of its buffers, in all layers, is its own; `None` if no other sequence has one.
    pub(super) fn place(&mut self, joint: Option<JointRow>) {
        self.joint = joint;
    }

    /// Forgets its buffers, after an error that left only some of them right: from now on every use of them is an error.
    pub(super) fn forget_buffers(&mut self) {
        self.buffers.fill(None);
    }

    /// Number of layers with attention.
    pub(super) fn layers(&self) -> usize {
        self.buffers.len()
    }

    /// How many tokens buffers need room for that no token to come should outgrow.
    pub(super) fn wanted_capacity(&self) -> usize {
        (self.reserved.max(self.len) + 1).next_multiple_of(STEP)
    }

    /// The memory that joining would take beside that of the buffers which the sequences have, in bytes, where a token takes
    /// `token_bytes` in all layers. Layers are copied one after the other.
    pub fn bytes_to_join(caches: &[&Self], token_bytes: usize) -> usize {
        let wanted = caches.len() * caches.iter().map(|cache| cache.wanted_capacity()).max().unwrap_or(0);
        let held: usize = caches.iter().map(|cache| cache.capacity()).sum();
        let layers = caches.first().map_or(1, |cache| cache.layers().max(1));
        (wanted.saturating_sub(held) + wanted / layers) * token_bytes
    }

    /// How many tokens the buffers have room for.
    pub fn capacity(&self) -> usize {
        self.buffers.iter().flatten().next().map_or(0, LayerKv::capacity)
    }

    /// Gets buffers of its own again, if others share them.
    pub(super) fn leave(&mut self) -> Result<(), Exception> {
        if self.joint.is_some() { Self::join(&mut [self]) } else { Ok(()) }
    }

    fn row(&self) -> i32 {
        self.joint.as_ref().map_or(0, |row| row.index)
    }

    /// The state of a recurrent layer; `None` before the first token.
    pub(super) fn recurrent_state(&self, layer: usize) -> Option<&LayerState> {
        self.recurrent[layer].state()
    }

    /// The state of a recurrent layer after the new tokens, and what they brought. Once every layer has its own,
    /// [`KvCache::advance`] makes the new tokens count.
    pub(super) fn advance_recurrent(&mut self, layer: usize, state: LayerState, taken: Taken) {
        self.recurrent[layer].advance(state, taken);
    }

    /// Counts `tokens` more, which every layer has appended.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// The state of the buffers and of the recurrent layers. While it is held, MLX cannot write into the buffers in place: it
    /// copies them.
    pub fn state(&self) -> KvState {
        KvState { buffers: self.buffers.clone(), joint: self.joint.clone(), recurrent: self.recurrent.clone(), len: self.len }
    }

    /// Exchanges the state with another one: so a pass can be built ahead, taken back, and taken up again.
    pub fn exchange(&mut self, state: &mut KvState) {
        std::mem::swap(&mut self.buffers, &mut state.buffers);
        std::mem::swap(&mut self.joint, &mut state.joint);
        std::mem::swap(&mut self.recurrent, &mut state.recurrent);
        std::mem::swap(&mut self.len, &mut state.len);
    }

    /// Removes the last tokens, none of which may be in a segment. Where layers are recurrent, they have to be of the last pass,
    /// a short one, and not all of it.
    pub fn cut(&mut self, tokens: usize) -> Result<(), Exception> {
        debug_assert!(tokens <= self.unsealed());
        if tokens > 0 {
            self.recurrent.iter_mut().try_for_each(|layer| layer.cut(self.path, tokens as i32))?;
        }
        // Their numbers stay in the buffers until they are overwritten; `seal` does not copy them.
        self.len -= tokens;
        Ok(())
    }

    /// Turns the tokens after the last segment into one or more segments, of exactly the size that they need, without a
    /// checkpoint.
    pub fn seal(&mut self) -> Result<(), Exception> {
        if self.unsealed() == 0 {
            return Ok(());
        }
        match self.path {
            ComputePath::Cpu => {
                let tokens = self.unsealed();
                let layers = self.buffers.iter_mut().map(Option::take).collect::<Option<Vec<_>>>();
                let layers = layers.ok_or_else(|| Exception::custom("a layer has no keys and values to seal"))?;
                let payload = KvSegment::new(layers, tokens)?;
                let payload = if self.recurrent.is_empty() { payload } else { payload.among_recurrent(None, false)? };
                self.segments.push(Segment { tokens, payload });
            }
            ComputePath::Gpu => {
                let layers = (0..self.layers()).map(|layer| self.own(layer, self.len)).collect::<Result<Vec<_>, _>>()?;
                let layers: Vec<&LayerKv> = layers.iter().collect();
                for start in (self.sealed..self.len).step_by(SEGMENT_TOKENS) {
                    let tokens = start..self.len.min(start + SEGMENT_TOKENS);
                    let payload = KvSegment::copied(&layers, tokens.clone())?;
                    let payload = if self.recurrent.is_empty() { payload } else { payload.among_recurrent(None, false)? };
                    self.segments.push(Segment { tokens: tokens.len(), payload });
                }
            }
        }
        self.sealed = self.len;
        Ok(())
    }

    /// The first token that the buffers hold.
    fn buffer_start(&self) -> usize {
        match self.path {
            ComputePath::Cpu => self.sealed,
            ComputePath::Gpu => 0,
        }
    }

    /// Copies a layer of the segments into its buffers, which hold the first `held` tokens.
    fn copy_segments(&mut self, layer: usize, held: usize) -> Result<(), Exception> {
        let spans = self.segments.iter().map(|segment| segment.payload.span(layer)).collect();
        let missing = KvSpans::new(spans).slice(held as i32..self.len as i32);
        let mut start = held;
        for span in missing.as_slice() {
            let views = span.views()?;
            count_copy(views.bytes());
            self.write(layer, start, &views)?;
            start += span.len() as usize;
        }
        Ok(())
    }

    /// Writes keys and values into a layer's buffers, which hold `start` tokens, and enlarges these if they are full.
    fn write(&mut self, layer: usize, start: usize, new: &LayerKv) -> Result<(), Exception> {
        let end = start + new.capacity();
        let capacity = match self.path {
            ComputePath::Cpu => end.next_multiple_of(STEP),
            ComputePath::Gpu if end <= self.reserved && self.joint.is_none() => self.wanted_capacity(),
            ComputePath::Gpu => Self::grown_capacity(end),
        };
        let row = self.row();
        let is_joint = self.joint.is_some();
        let buffers = &mut self.buffers[layer];
        match (self.path, buffers) {
            // No spare capacity: the first tokens are mostly a whole prefill chunk, which is sealed as it is.
            (ComputePath::Cpu, empty @ None) => {
                // Contiguous, as matrix products need it: they would copy a view again at every step.
                *empty = Some(new.map(|array| array.contiguous())?);
                Ok(())
            }
            (ComputePath::Gpu, empty @ None) => empty.insert(new.with_room(1, capacity)?).write(row, start, new),
            (_, Some(buffers)) => {
                if buffers.capacity() < end {
                    // Other rows may be longer.
                    let kept = if is_joint { buffers.capacity() } else { start };
                    if self.path == ComputePath::Gpu {
                        count_copy(buffers.bytes() / buffers.capacity() * kept);
                    }
                    *buffers = buffers.enlarged(kept, capacity)?;
                }
                buffers.write(row, start, new)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::kv_spans::TOKEN_AXIS;

    /// Keys or values of one head of width 1, with the given numbers.
    fn row(numbers: &[f32]) -> Array {
        Array::from_slice(numbers, &[1, 1, numbers.len() as i32, 1])
    }

    fn numbers(array: &Array) -> Vec<f32> {
        array.contiguous().unwrap().as_slice::<f32>().to_vec()
    }

    fn kv(new: &[f32]) -> LayerKv {
        LayerKv { keys: row(new), values: Some(row(new)) }
    }

    fn append(cache: &mut KvCache, new: &[f32]) -> Vec<f32> {
        let LayerKv { keys, values } = cache.append(0, &kv(new)).unwrap().concatenated().unwrap();
        cache.advance(new.len());
        assert_eq!(numbers(&keys), numbers(&values.unwrap()));
        numbers(&keys)
    }

    fn bytes(cache: &KvCache) -> usize {
        cache.segments().iter().map(|segment| segment.payload.bytes()).sum()
    }

    /// Runs a test on both compute paths.
    fn on_both_paths(test: fn(ComputePath)) {
        ComputePath::ALL.into_iter().for_each(test);
    }

    #[test]
    fn appending_keeps_what_was_there_when_buffers_grow_and_are_sealed() {
        on_both_paths(|path| {
            let mut cache = KvCache::new(1, path);
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
        });
    }

    #[test]
    fn cut_tokens_are_overwritten_and_never_sealed() {
        on_both_paths(|path| {
            let mut cache = KvCache::new(1, path);
            append(&mut cache, &[1.0, 2.0, 3.0]);
            cache.cut(2).unwrap();
            assert_eq!(append(&mut cache, &[8.0]), [1.0, 8.0]);
            append(&mut cache, &[9.0, 9.0]);
            cache.cut(2).unwrap();
            cache.seal().unwrap();
            assert_eq!((cache.tokens(), cache.unsealed(), bytes(&cache)), (2, 0, 2 * 2 * 4));
            assert_eq!(append(&mut cache, &[4.0]), [1.0, 8.0, 4.0]);
        });
    }

    #[test]
    fn sequences_share_segments_and_nothing_else() {
        on_both_paths(|path| {
            let mut original = KvCache::new(1, path);
            append(&mut original, &[1.0, 2.0, 3.0]);
            original.seal().unwrap();
            let [Segment { payload, .. }] = original.segments() else { panic!("one segment") };
            let mut branch = KvCache::new(1, path);
            branch.resume(vec![Segment { tokens: 2, payload: payload.first(2).unwrap() }]).unwrap();
            assert_eq!(append(&mut branch, &[8.0, 9.0]), [1.0, 2.0, 8.0, 9.0]);
            assert_eq!(append(&mut original, &[4.0]), [1.0, 2.0, 3.0, 4.0]);
            assert_eq!(append(&mut branch, &[7.0]), [1.0, 2.0, 8.0, 9.0, 7.0]);
        });
    }

    #[test]
    fn a_sequence_catches_up_with_what_another_one_has_shared() {
        on_both_paths(|path| {
            let mut ahead = KvCache::new(1, path);
            let mut behind = KvCache::new(1, path);
            append(&mut ahead, &[1.0, 2.0]);
            ahead.seal().unwrap();
            append(&mut ahead, &[3.0, 4.0, 5.0]);
            ahead.seal().unwrap();
            append(&mut behind, &[1.0, 2.0, 3.0]);
            behind.resume(ahead.segments().to_vec()).unwrap();
            assert_eq!((behind.tokens(), behind.unsealed()), (5, 0));
            assert_eq!(append(&mut behind, &[6.0]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        });
    }

    #[test]
    fn a_segment_split_and_joined_is_the_same() {
        on_both_paths(|path| {
            let mut cache = KvCache::new(1, path);
            append(&mut cache, &[1.0, 2.0, 3.0]);
            cache.seal().unwrap();
            let whole = &cache.segments()[0].payload;
            let (left, right) = whole.split(1).unwrap();
            assert_eq!((left.bytes(), right.bytes()), (8, 16));
            let joined = left.join(&right).unwrap();
            let mut again = KvCache::new(1, path);
            again.resume(vec![Segment { tokens: 3, payload: joined }]).unwrap();
            assert_eq!(append(&mut again, &[4.0]), [1.0, 2.0, 3.0, 4.0]);
        });
    }

    #[test]
    fn on_the_gpu_path_a_reserved_buffer_is_one_span_that_does_not_grow_and_is_sealed_in_segments() {
        let mut cache = KvCache::new(1, ComputePath::Gpu);
        cache.reserve(2000);
        for part in (0..2000).map(|n| n as f32).collect::<Vec<_>>().chunks(1000) {
            let spans = cache.append(0, &kv(part)).unwrap();
            cache.advance(part.len());
            assert_eq!((spans.as_slice().len(), spans.tokens() as usize), (1, cache.tokens()));
            assert!(cache.arrays().all(|buffer| buffer.dim(TOKEN_AXIS) == 2048));
        }
        cache.seal().unwrap();
        let lengths: Vec<usize> = cache.segments().iter().map(|segment| segment.tokens).collect();
        assert_eq!(lengths, [512, 512, 512, 464]);
    }
}
