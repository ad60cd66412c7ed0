//! Attention on the CPU: hands MLX's arrays to our own kernel, where they are in memory.
//!
//! MLX would compute all scores of a prompt, mask them and take their softmax with a scalar exponential, on one core.

use anyclaude_kernels::{AttentionBatch, Heads, KEY_TILE, KvSlice, QueriedSequence};
use mlx_rs::Array;
use mlx_rs::error::Exception;

use super::{in_rows, numbers, written};
use crate::engine::model::attention::Scores;
use crate::engine::model::kv_buffer::LayerKv;
use crate::engine::model::kv_spans::{AttendedSequence, KvSpan};

/// The attention output, `[R, H · width of values]`, of queries `[R, H, 1, d]`, one for each new token of the sequences. Waits until
/// it is computed.
///
/// No query's bits depend on the tokens and sequences computed together with it, or on how keys and values are cut into spans.
pub(crate) fn cpu_attention(
    queries: &Array,
    sequences: Vec<AttendedSequence>,
    Scores { scale, window, sinks, value_width }: Scores,
) -> Result<Array, Exception> {
    let sequences: Vec<_> = sequences.into_iter().map(|sequence| within_window(sequence, window)).collect();
    let &[rows, heads, 1, width] = queries.shape() else { return Err(Exception::custom("queries must be [R, H, 1, d]")) };
    let dtype = queries.dtype();
    let sinks = sinks.map(|sinks| in_rows([sinks])).transpose()?;
    let spans = sequences.iter().flat_map(|sequence| sequence.kv.as_slice());
    let arrays = in_rows(spans.flat_map(|span| span.buffers.arrays()).chain([queries]))?;
    let mut arrays = arrays.iter();
    // Cannot fail: `arrays` has those of each span, then the queries, and is read in that order.
    let mut next = || numbers(arrays.next().expect("the arrays of each span, and the queries"));
    let mut slices = Vec::with_capacity(sequences.len());
    for AttendedSequence { new_tokens, kv } in &sequences {
        let slice = |KvSpan { buffers, range, .. }: &KvSpan| {
            let (keys, values) = (next()?, buffers.values.as_ref().map(|_| next()).transpose()?);
            Ok(KvSlice { keys, values, range: range.start as usize..range.end as usize })
        };
        let kv = kv.as_slice().iter().map(slice).collect::<Result<_, Exception>>()?;
        slices.push(QueriedSequence { queries: *new_tokens as usize, kv });
    }
    let LayerKv { keys, values } = &sequences[0].kv.as_slice()[0].buffers;
    let (kv_heads, value_width) = (keys.dim(1), values.as_ref().map_or(value_width.unwrap_or(width), |values| values.dim(3)));
    let batch = AttentionBatch {
        sequences: slices,
        common: common_tokens(&sequences),
        heads: Heads { queries: heads as usize, kv: kv_heads as usize, width: width as usize, value_width: value_width as usize },
        scale,
        window: window.map(|window| window as usize),
        sinks: sinks.as_ref().map(|sinks| numbers(&sinks[0])).transpose()?,
    };
    let queries = next()?;
    let output = |output: &mut [f32]| anyclaude_kernels::causal_attention(queries, &batch, output);
    written(&[rows, heads * value_width], output).as_dtype(dtype)
}

/// Leaves out the tokens before the first one that a query sees, in whole key tiles, so that the other tiles stay the same.
fn within_window(sequence: AttendedSequence, window: Option<i32>) -> AttendedSequence {
    let AttendedSequence { new_tokens, kv } = sequence;
    let tile = KEY_TILE as i32;
    let first = window.map_or(0, |window| (kv.tokens() - new_tokens + 1 - window).max(0)) / tile * tile;
    let kv = if first == 0 { kv } else { kv.slice(first..kv.tokens()) };
    AttendedSequence { new_tokens, kv }
}

/// How many tokens all sequences begin with whose keys and values are in the same memory.
fn common_tokens(sequences: &[AttendedSequence]) -> usize {
    let Some((first, others)) = sequences.split_first() else { return 0 };
    let mut common = 0;
    for (at, span) in first.kv.as_slice().iter().enumerate() {
        let of_other = |other: &AttendedSequence| match other.kv.as_slice().get(at) {
            Some(other) if other.buffer_id == span.buffer_id && other.range.start == span.range.start => other.len(),
            _ => 0,
        };
        let same = others.iter().map(of_other).fold(span.len(), i32::min);
        if span.buffer_id.is_none() || same == 0 {
            break;
        }
        common += same;
        if same < span.len() || others.iter().any(|other| other.kv.as_slice()[at].len() > same) {
            break;
        }
    }
    common as usize
}

#[cfg(test)]
mod tests {
    use mlx_rs::ops::indexing::TryIndexOp;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::model::kv_spans::KvSpans;
    use crate::engine::testing::normal;

    const TOKENS: i32 = 600;

    fn attended(new_tokens: i32, kv: KvSpans) -> Vec<AttendedSequence> {
        vec![AttendedSequence { new_tokens, kv }]
    }

    #[test]
    fn common_tokens_are_those_that_begin_all_sequences_in_the_same_memory() {
        let array = normal(&[1, 1, 300, 4], 1);
        let span = |range, buffer_id| KvSpan {
            range,
            buffer_id,
            ..KvSpan::new(LayerKv { keys: array.clone(), values: Some(array.clone()) })
        };
        // Ranges and buffers; buffer 0 is shared with nobody.
        let sequence = |spans: &[(std::ops::Range<i32>, usize)]| {
            let spans = spans.iter().map(|(range, buffer)| span(range.clone(), Some(*buffer).filter(|buffer| *buffer > 0)));
            AttendedSequence { new_tokens: 1, kv: KvSpans::new(spans.collect()) }
        };
        let whole = || sequence(&[(0..300, 1), (0..200, 2), (0..1, 0)]);
        for (other, wanted) in [
            (sequence(&[(0..300, 1), (0..200, 2), (0..5, 0)]), 500),
            (sequence(&[(0..300, 1), (0..50, 2), (0..5, 0)]), 350),
            (sequence(&[(0..200, 1), (0..200, 2)]), 200),
            (sequence(&[(0..300, 1), (0..200, 3)]), 300),
            (sequence(&[(128..300, 1), (0..200, 2)]), 0),
            (sequence(&[(0..300, 0)]), 0),
        ] {
            assert_eq!((common_tokens(&[whole(), other]), common_tokens(&[whole()])), (wanted, 500));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn neither_prefill_chunks_nor_spans_change_a_bit(
            mut cuts in prop::collection::vec(1..TOKENS, 0..6),
            chunk in (1..TOKENS, 1..TOKENS),
            window in prop::option::of(1..TOKENS),
            (kv_heads, group) in (1..3, 1..4),
        ) {
            let heads = kv_heads * group;
            let queries = normal(&[TOKENS, heads, 1, 16], 1);
            let (keys, values) = (normal(&[1, kv_heads, TOKENS, 16], 2), normal(&[1, kv_heads, TOKENS, 16], 3));
            let spans = |cuts: &[i32], end: i32| {
                let starts = [&[0], cuts].concat();
                let ends = [cuts, &[end]].concat();
                // The buffers begin before their span and end after it.
                let kv = || LayerKv { keys: keys.clone(), values: Some(values.clone()) };
                let span = |(start, end): (i32, i32)| KvSpan { range: start..end, ..KvSpan::new(kv()) };
                KvSpans::new(starts.into_iter().zip(ends).map(span).collect())
            };
            let scores = Scores { scale: 0.25, window, sinks: None, value_width: None };
            let whole = cpu_attention(&queries, attended(TOKENS, spans(&[], TOKENS)), scores).unwrap();

            let (start, end) = (chunk.0.min(chunk.1) - 1, chunk.0.max(chunk.1));
            cuts.sort();
            cuts.dedup();
            cuts.retain(|cut| *cut < end);
            let rows = queries.try_index((start..end, .., .., ..)).unwrap();
            let chunk = cpu_attention(&rows, attended(end - start, spans(&cuts, end)), scores).unwrap();
            let row = (heads * 16) as usize;
            let same = &whole.as_slice::<f32>()[start as usize * row..end as usize * row];
            prop_assert!(same == chunk.as_slice::<f32>());
        }
    }
}
