//! Keys and values as attention reads them: spans of buffers, one after the other, without copying.

use std::ops::Range;

use mlx_rs::Array;
use mlx_rs::error::Exception;
use mlx_rs::ops::indexing::TryIndexOp;

use super::kv_buffer::LayerKv;

/// The axis of tokens in key and value buffers, which are `[1, kv_heads, tokens, width]`.
pub(super) const TOKEN_AXIS: i32 = 2;

/// One layer's keys and values of consecutive tokens: a range of its buffers.
#[derive(Clone)]
pub struct KvSpan {
    pub buffers: LayerKv,
    /// The tokens of the buffers that belong to the span.
    pub range: Range<i32>,
    /// Buffer identity: equal iff two spans share memory; valid while both live. `None` if no other sequence can share it.
    pub buffer_id: Option<usize>,
}

impl KvSpan {
    /// A span of whole buffers that no other sequence shares.
    pub fn new(buffers: LayerKv) -> Self {
        Self { range: 0..buffers.capacity() as i32, buffers, buffer_id: None }
    }

    /// Number of tokens.
    pub fn len(&self) -> i32 {
        self.range.end - self.range.start
    }

    /// The span's keys and values, views of the buffers.
    pub fn views(&self) -> Result<LayerKv, Exception> {
        self.buffers.map(|buffer| tokens_of(buffer, self.range.clone()))
    }

    /// Some of the tokens, counted from the span's first.
    fn slice(&self, tokens: Range<i32>) -> Self {
        let start = self.range.start;
        Self { range: start + tokens.start..start + tokens.end, ..self.clone() }
    }
}

/// One layer's keys and values of all tokens of a sequence, in order. Never empty.
pub struct KvSpans(Vec<KvSpan>);

impl KvSpans {
    /// At least one span, in the order of the tokens.
    pub fn new(spans: Vec<KvSpan>) -> Self {
        Self(spans)
    }

    /// The spans; the last one ends with the newest token.
    pub fn as_slice(&self) -> &[KvSpan] {
        &self.0
    }

    /// Number of tokens in all spans.
    pub fn tokens(&self) -> i32 {
        self.0.iter().map(KvSpan::len).sum()
    }

    /// The spans of some tokens, of at least one. Copies nothing.
    pub fn slice(&self, tokens: Range<i32>) -> Self {
        let (mut found, mut end) = (Vec::with_capacity(self.0.len()), 0);
        for span in &self.0 {
            let (start, length) = (end, span.len());
            end += length;
            let (from, to) = ((tokens.start - start).max(0), (tokens.end - start).min(length));
            if from < to {
                found.push(span.slice(from..to));
            }
        }
        Self(found)
    }

    /// All keys and all values. Copies if there are several spans.
    pub fn concatenated(&self) -> Result<LayerKv, Exception> {
        if let [span] = &self.0[..] {
            return span.views();
        }
        LayerKv::joined(&self.0.iter().map(KvSpan::views).collect::<Result<Vec<_>, _>>()?)
    }
}

/// The keys and values that the new tokens of one sequence attend to.
pub(super) struct AttendedSequence {
    /// How many of the last tokens are new: those that have queries.
    pub new_tokens: i32,
    /// The keys and values of all tokens, the new ones included.
    pub kv: KvSpans,
}

/// Some tokens of a key or value buffer, as a view.
pub(super) fn tokens_of(buffer: &Array, tokens: Range<i32>) -> Result<Array, Exception> {
    if tokens == (0..buffer.dim(TOKEN_AXIS)) { Ok(buffer.clone()) } else { buffer.try_index((.., .., tokens, ..)) }
}
