//! Where prompts are cut for models with recurrent layers, whose state exists only where it was kept.
//!
//! A prompt can go on only from a checkpoint of that state, and prompts diverge where messages end: after the tools and the
//! system prompt, or after the last message of the turn before. So prefill stops at the end of each message, and the state is
//! kept there.
//!
//! The places depend only on the tokens before them, so a prompt is cut at the same places whether it is computed whole or from a
//! checkpoint on. On the CPU path it then gets the same bits: those of OpenBLAS's products depend on the number of rows. A
//! message's end is recognised by the token that ends an answer. The tokens that open the next answer follow it; in the next
//! prompt others may stand there.

use crate::engine::segment::SEGMENT_TOKENS;

/// Fewest tokens between two resume points: a shorter chunk of a prompt takes hardly less time than one of this length.
const LEAST_GAP: usize = 64;

/// In a stretch without a message's end, a resume point is set at the end of a chunk after this many tokens. After an edit inside
/// a long text, at most this many tokens are computed again.
const LONGEST_GAP: usize = 8 * SEGMENT_TOKENS;

/// Finds the resume points in prompts.
#[derive(Clone, Debug)]
pub(super) struct ResumePoints {
    /// The tokens that end a message.
    end_tokens: Vec<u32>,
}

impl ResumePoints {
    /// For a model whose messages end with one of these tokens.
    pub(super) fn new(end_tokens: Vec<u32>) -> Self {
        Self { end_tokens }
    }

    /// The numbers of tokens at which a prompt has resume points, in order.
    fn of<'a>(&'a self, tokens: &'a [u32]) -> impl Iterator<Item = usize> + 'a {
        let mut last = 0;
        tokens.iter().zip(1..).filter_map(move |(token, end)| {
            let gap = end - last;
            let is_end = gap >= LEAST_GAP && self.end_tokens.contains(token);
            let is_long = gap >= LONGEST_GAP && end.is_multiple_of(SEGMENT_TOKENS);
            (is_end || is_long).then(|| {
                last = end;
                end
            })
        })
    }

    /// Where the chunk ends that begins after `start` tokens, with at most `chunk` of them: at a resume point, at a multiple of
    /// `chunk`, or with the prompt.
    pub(super) fn chunk_end(&self, tokens: &[u32], start: usize, chunk: usize) -> usize {
        let most = tokens.len().min((start / chunk + 1) * chunk);
        self.of(&tokens[..most]).find(|point| *point > start).unwrap_or(most)
    }

    /// Whether a checkpoint after these tokens is worth keeping beyond the next one: they end with a resume point, or the
    /// computation ends here, far from the last resume point.
    pub(super) fn lasts(&self, tokens: &[u32], is_end: bool) -> bool {
        let last = self.of(tokens).last().unwrap_or(0);
        last == tokens.len() || (is_end && tokens.len() - last >= LEAST_GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u32 = 9;

    /// Messages of these lengths, their end tokens included.
    fn messages(lengths: &[usize]) -> Vec<u32> {
        lengths.iter().flat_map(|length| [vec![1; length - 1], vec![END]].concat()).collect()
    }

    fn resume_points() -> ResumePoints {
        ResumePoints::new(vec![END])
    }

    #[test]
    fn prompts_are_marked_after_messages_that_are_not_short_and_in_long_texts() {
        let of = |lengths: &[usize]| resume_points().of(&messages(lengths)).collect::<Vec<_>>();
        assert_eq!(of(&[100, 30, 40, 64, 63, 1]), [100, 170, 234, 298]);
        assert_eq!(of(&[63]), [0; 0]);
        assert_eq!(of(&[10_000]), [4096, 8192, 10_000]);
        assert_eq!(of(&[100, 10_000]), [100, 4608, 8704, 10_100]);
    }

    #[test]
    fn a_prompt_is_cut_at_the_same_places_wherever_it_is_taken_up() {
        let prompt = messages(&[100, 700, 30, 80]);
        let cuts = |mut at: usize| {
            std::iter::from_fn(|| {
                at = resume_points().chunk_end(&prompt, at, 256);
                (at <= prompt.len()).then_some(at)
            })
            .take_while({
                let mut done = false;
                move |at| !std::mem::replace(&mut done, *at == 910)
            })
            .collect::<Vec<_>>()
        };
        let all = [100, 256, 512, 768, 800, 910];
        assert_eq!(cuts(0), all);
        for (done, at) in all.iter().enumerate().take(5) {
            assert_eq!(cuts(*at), all[done + 1..]);
        }
        // Another prompt that begins alike has the same resume points there.
        let longer = [prompt.clone(), vec![1; 500]].concat();
        assert_eq!([resume_points().chunk_end(&longer, 0, 256), resume_points().chunk_end(&longer, 800, 256)], [100, 910]);
    }

    #[test]
    fn a_checkpoint_lasts_at_resume_points_and_at_the_end_if_that_is_far_from_one() {
        let prompt = messages(&[100, 80]);
        let lasts = |tokens: usize, is_end| resume_points().lasts(&prompt[..tokens], is_end);
        assert_eq!([lasts(100, false), lasts(180, true), lasts(120, false)], [true, true, false]);
        assert_eq!([lasts(120, true), lasts(170, true), lasts(30, true), lasts(70, true)], [false, true, false, true]);
    }
}
