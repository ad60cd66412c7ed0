//! Which of the answers that decode together keep their keys and values in joint buffers, so that a layer's attention is one call
//! for all of them. Only on the GPU path.
//!
//! Joining copies all keys and values once, and each later step reads what is only padding: rows are as long as the longest. So
//! answers join when they have decoded enough tokens to make up for the copies, and only neighbours that are about as long.

use std::ops::Range;

use mlx_rs::error::Exception;

use super::ActiveAnswer;
use crate::engine::model::ComputePath;
use crate::engine::schedule::memory::{MemoryLimit, Room};
use crate::engine::schedule::sequence::Sequence;

/// Tokens that answers decode, on average, between two copies. A step reads all keys and values anyway, so a copy costs about as
/// much as three steps' attention.
const DECODED_BETWEEN: usize = 16;

/// Most tokens of padding for each call of attention that is saved. An estimate, not measured on a GPU: a call takes some 5 µs to
/// start; at 800 GB/s and 2 KB of keys and values per token and layer, 2,048 tokens take as long to read.
const PADDING: usize = 2048;

/// Lets all answers join that should, and those be alone again whose neighbours have left.
pub(super) fn join(answers: &mut [&mut ActiveAnswer], path: ComputePath, memory: &MemoryLimit) -> Result<(), Exception> {
    for run in due(answers, path, memory) {
        let answers = &mut answers[run];
        Sequence::join(&mut answers.iter_mut().map(|answer| &mut answer.sequence).collect::<Vec<_>>())?;
        answers.iter_mut().for_each(|answer| answer.decoded_since_copy = 0);
    }
    Ok(())
}

/// Whether [`join`] would change anything.
pub(super) fn is_due(answers: &[&mut ActiveAnswer], path: ComputePath, memory: &MemoryLimit) -> bool {
    !due(answers, path, memory).is_empty()
}

/// The runs of neighbours that should share buffers, do not yet, have decoded enough, and have the memory for it.
fn due(answers: &[&mut ActiveAnswer], path: ComputePath, memory: &MemoryLimit) -> Vec<Range<usize>> {
    if path == ComputePath::Cpu {
        return Vec::new();
    }
    let mut runs = runs(&answers.iter().map(|answer| answer.sequence.tokens().len()).collect::<Vec<_>>());
    runs.retain(|run| {
        let answers = &answers[run.clone()];
        let sequences: Vec<&Sequence> = answers.iter().map(|answer| &answer.sequence).collect();
        let decoded: usize = answers.iter().map(|answer| answer.decoded_since_copy).sum();
        !Sequence::are_joined(&sequences)
            && decoded >= DECODED_BETWEEN * answers.len()
            && memory.room_for(Sequence::bytes_to_join(&sequences, memory.token_bytes)) == Room::Enough
    });
    runs
}

/// Neighbours of such lengths that padding costs less than calls of attention.
fn runs(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in 0..lengths.len() {
        match runs.last_mut() {
            Some(run) if padding(&lengths[run.start..=at]) <= PADDING * (at - run.start) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

/// Tokens that rows of the longest one's length have beside the sequences' own.
fn padding(lengths: &[usize]) -> usize {
    lengths.iter().max().map_or(0, |longest| longest * lengths.len() - lengths.iter().sum::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_like_lengths_are_one_run() {
        let sizes = |lengths: &[usize]| runs(lengths).into_iter().map(|run| run.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[9]), [1]);
        assert_eq!(sizes(&[20_000, 21_000, 20_500]), [3]);
        // A long conversation beside its sub-agents.
        assert_eq!(sizes(&[60_000, 10_000, 11_000, 9_000]), [1, 3]);
        assert_eq!(sizes(&[1000, 3048, 6000]), [2, 1]);
    }
}
