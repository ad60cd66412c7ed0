//! Attention against the formula, and each sequence together with others against the same sequence alone.

use super::*;
use crate::testing::{arches, small_numbers};

/// The attention output of one query by the formula, in f64.
fn by_formula(query: &[f32], keys: &[f32], values: &[f32], visible: Range<usize>, sink: Option<f32>) -> Vec<f64> {
    let width = query.len();
    let row = |numbers: &[f32], at: usize| numbers[at * width..][..width].iter().map(|n| f64::from(*n)).collect::<Vec<_>>();
    let dot = |key: Vec<f64>| query.iter().zip(key).map(|(a, b)| f64::from(*a) * b).sum::<f64>();
    let weights: Vec<f64> = visible.clone().map(|at| (dot(row(keys, at)) / (width as f64).sqrt()).exp()).collect();
    let mut sum = vec![0.0; width];
    for (weight, at) in weights.iter().zip(visible) {
        sum.iter_mut().zip(row(values, at)).for_each(|(sum, value)| *sum += weight * value);
    }
    let all = weights.iter().sum::<f64>() + sink.map_or(0.0, |sink| f64::from(sink).exp());
    sum.into_iter().map(|sum| sum / all).collect()
}

fn heads(queries: usize, kv: usize, width: usize) -> Heads {
    Heads { queries, kv, width, value_width: width }
}

fn scale(width: usize) -> f32 {
    (width as f32).powf(-0.5)
}

#[test]
fn values_in_their_keys_are_read_there() {
    let (all, new, width, value_width) = (300, 20, 24, 16);
    let (queries, keys) = (small_numbers(new * 4 * width, 1), small_numbers(all * width, 2));
    let values: Vec<f32> = keys.chunks(width).flat_map(|key| &key[..value_width]).copied().collect();
    for arch in arches() {
        let attend = |values, cuts: &[usize]| {
            let ends = cuts.iter().copied().chain([all]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let kv = starts.zip(ends).map(|(start, end)| KvSlice { keys: &keys, values, range: start..end }).collect();
            let heads = Heads { queries: 4, kv: 1, width, value_width };
            let sequences = vec![QueriedSequence { queries: new, kv }];
            let batch = AttentionBatch { sequences, common: 0, heads, scale: 0.3, window: None, sinks: None };
            let mut output = vec![f32::NAN; new * 4 * value_width];
            attention_on(arch, &queries, &batch, &mut output);
            output
        };
        let wanted = attend(Some(&values[..]), &[]);
        assert!(wanted.iter().all(|number| number.is_finite()));
        assert!(attend(None, &[]) == wanted && attend(None, &[5, 150, 280]) == wanted, "{arch:?}");
    }
}

#[test]
fn the_output_is_that_of_the_formula_with_every_instruction_set() {
    let (all, new, width) = (300, 150, 24);
    let queries = small_numbers(new * 4 * width, 1);
    let (keys, values) = (small_numbers(2 * all * width, 2), small_numbers(2 * all * width, 3));
    // One sink that outweighs most keys, one that hardly counts.
    let sinks = [0.5, 4.0, -30.0, 1.5];
    let cases = [(None, None), (Some(40), None), (None, Some(&sinks[..])), (Some(40), Some(&sinks[..]))];
    for (arch, (window, sinks)) in arches().into_iter().flat_map(|arch| cases.map(|case| (arch, case))) {
        let kv = vec![KvSlice { keys: &keys, values: Some(&values), range: 0..all }];
        let sequences = vec![QueriedSequence { queries: new, kv }];
        let batch = AttentionBatch { sequences, common: 0, heads: heads(4, 2, width), scale: scale(width), window, sinks };
        let mut output = vec![f32::NAN; queries.len()];
        attention_on(arch, &queries, &batch, &mut output);
        for (index, (query, ours)) in queries.chunks(width).zip(output.chunks(width)).enumerate() {
            let (position, head) = (all - new + index / 4, index % 4 / 2);
            let own = head * all * width..(head + 1) * all * width;
            let visible = window.map_or(0, |window| (position + 1).saturating_sub(window))..position + 1;
            let wanted = by_formula(query, &keys[own.clone()], &values[own], visible, sinks.map(|sinks| sinks[index % 4]));
            assert!(ours.iter().zip(wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{arch:?}, query {index}");
        }
    }
}

/// A buffer of keys and one of values for two heads of width 16.
fn buffers(tokens: usize, seed: usize) -> (Vec<f32>, Vec<f32>) {
    (small_numbers(2 * tokens * 16, seed), small_numbers(2 * tokens * 16, seed + 1))
}

fn slice((keys, values): &(Vec<f32>, Vec<f32>), range: Range<usize>) -> KvSlice<'_> {
    KvSlice { keys, values: Some(values), range }
}

#[test]
fn a_sequence_gets_the_same_bits_alone() {
    let (shared, own) = (buffers(400, 10), [buffers(30, 20), buffers(300, 30), buffers(1, 40)]);
    // Own tokens after the 330 common ones, and queries; the second sequence has fewer queries than own tokens.
    let sequences = || {
        let of = |(own, (tokens, queries)): (_, (usize, usize))| QueriedSequence {
            queries,
            kv: vec![slice(&shared, 0..330), slice(own, 0..tokens)],
        };
        own.iter().zip([(20, 20), (300, 7), (1, 1)]).map(of).collect::<Vec<_>>()
    };
    let row = 6 * 16;
    let queries = small_numbers(28 * row, 1);
    let sinks = [0.5, 4.0, -30.0, 1.5, 0.0, -1.0];
    let cases = [(None, None), (Some(100), None), (Some(350), None), (Some(350), Some(&sinks[..]))];
    for (arch, (window, sinks)) in arches().into_iter().flat_map(|arch| cases.map(|case| (arch, case))) {
        let attend = |queries: &[f32], sequences: Vec<QueriedSequence>, common| {
            let batch = AttentionBatch { sequences, common, heads: heads(6, 2, 16), scale: scale(16), window, sinks };
            let mut output = vec![f32::NAN; queries.len()];
            attention_on(arch, queries, &batch, &mut output);
            output
        };
        let together = attend(&queries, sequences(), 330);
        assert!(together == attend(&queries, sequences(), 0), "{arch:?}: reading common tokens once changes bits");
        let mut start = 0;
        for sequence in sequences() {
            let rows = start * row..(start + sequence.queries) * row;
            start += sequence.queries;
            let alone = attend(&queries[rows.clone()], vec![sequence], 330);
            assert!(alone == together[rows], "{arch:?}, window {window:?}");
        }
    }
}

#[test]
#[should_panic(expected = "common tokens beyond a sequence's end")]
fn common_tokens_beyond_a_sequences_end_are_refused() {
    let (long, short) = (buffers(400, 1), buffers(300, 2));
    let of = |buffers, tokens| QueriedSequence { queries: 1, kv: vec![slice(buffers, 0..tokens)] };
    let sequences = vec![of(&long, 400), of(&short, 300)];
    let batch = AttentionBatch { sequences, common: 301, heads: heads(2, 2, 16), scale: scale(16), window: None, sinks: None };
    let queries = small_numbers(2 * 2 * 16, 3);
    causal_attention(&queries, &batch, &mut vec![0.0; queries.len()]);
}
