//! Which of the answers that decode together keep their keys and values in joint buffers, so that a layer's attention is one call
//! for all of them. Only on the GPU path.
//!
//! Joining copies all keys and values once, and each later step reads what is only padding: rows are as long as the longest. So
//! answers join when they have decoded for a while, and only neighbours that are about as long.

use std::ops::Range;

use mlx_rs::error::Exception;

use super::ActiveAnswer;
use crate::engine::model::ComputePath;
use crate::engine::schedule::memory::{MemoryLimit, Room};
use crate::engine::schedule::sequence::Sequence;

/// Tokens that an answer decodes before it joins others. A step reads all keys and values anyway, so a copy costs about as much
/// as three steps' attention.
const DECODED_BEFORE: usize = 16;

/// Most tokens of padding for each call of attention that is saved. An estimate, not measured on a GPU: a call takes some 5 µs to
/// start; at 800 GB/s and 2 KB of keys and values per token and layer, 2,048 tokens take as long to read.
const PADDING: usize = 2048;

/// Lets all answers join that should, and those be alone again whose neighbours have left.
pub(super) fn join(answers: &mut [&mut ActiveAnswer], path: ComputePath, memory: &MemoryLimit) -> Result<(), Exception> {
    for run in due(answers, path, memory) {
        Sequence::join(&mut answers[run].iter_mut().map(|answer| &mut answer.sequence).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Whether [`join`] would change anything.
pub(super) fn is_due(answers: &[&mut ActiveAnswer], path: ComputePath, memory: &MemoryLimit) -> bool {
    !due(answers, path, memory).is_empty()
}

/// The runs of neighbours that should share buffers, do not yet, and have the memory for it.
fn due(answers: &[&mut ActiveAnswer], path: ComputePath, memory: &MemoryLimit) -> Vec<Range<usize>> {
    if path == ComputePath::Cpu {
        return Vec::new();
    }
    let lengths = answers.iter().map(|answer| (answer.output_tokens >= DECODED_BEFORE).then(|| answer.sequence.tokens().len()));
    let mut runs = runs(&lengths.collect::<Vec<_>>());
    runs.retain(|run| {
        let sequences: Vec<&Sequence> = answers[run.clone()].iter().map(|answer| &answer.sequence).collect();
        !Sequence::are_joined(&sequences)
            && memory.room_for(Sequence::joint_tokens(&sequences) * memory.token_bytes) == Room::Enough
    });
    runs
}

/// Neighbours of such lengths that padding costs less than calls of attention; `None` stays alone.
fn runs(lengths: &[Option<usize>]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, length) in lengths.iter().enumerate() {
        if let (Some(run), Some(_)) = (runs.last_mut(), length)
            && let Some(run_lengths) = lengths[run.start..=at].iter().copied().collect::<Option<Vec<_>>>()
            && padding(&run_lengths) <= PADDING * (run_lengths.len() - 1)
        {
            run.end = at + 1;
        } else {
            runs.push(at..at + 1);
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
        let sizes = |lengths: &[Option<usize>]| runs(lengths).into_iter().map(|run| run.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&[Some(9)]), [1]);
        assert_eq!(sizes(&[Some(20_000), Some(21_000), Some(20_500)]), [3]);
        // A long conversation beside its sub-agents.
        assert_eq!(sizes(&[Some(60_000), Some(10_000), Some(11_000), Some(9_000)]), [1, 3]);
        // One that has only begun.
        assert_eq!(sizes(&[Some(100), None, Some(100), Some(100)]), [1, 1, 2]);
        assert_eq!(sizes(&[Some(1000), Some(3048), Some(6000)]), [2, 1]);
    }
}
