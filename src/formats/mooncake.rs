//! Mooncake's JSONL of arrivals: for each request when it came, how long prompt and answer are, and which blocks of the prompt are
//! the beginning of others. Load generators make prompts of that shape: AIPerf's `mooncake_trace`, for example.

use std::collections::HashMap;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::exporter::{CountTokens, ExportExchange, Exporter, Frame};
use crate::trace::ExchangeOutcome;

/// The exporter.
pub(super) struct Mooncake;

/// Tokens in a block; the last of a prompt may be shorter.
const BLOCK: usize = 512;

impl Exporter for Mooncake {
    fn name(&self) -> &'static str {
        "mooncake"
    }

    fn title(&self) -> &'static str {
        "Mooncake's JSONL: arrival times, lengths and block hashes, no text"
    }

    fn frame(&self) -> Frame {
        Frame::LINES
    }

    fn leaves_out(&self) -> &'static str {
        "have no whole answer in Anthropic's protocol whose tokens were counted"
    }

    fn counts_tokens(&self) -> bool {
        true
    }

    fn begin<'a>(&'a self, tokens: &'a CountTokens<'a>) -> ExportExchange<'a> {
        let mut blocks = Blocks::default();
        let mut first = None;
        Box::new(move |trace| {
            let request = trace.messages_request()?;
            let output = trace.response.body["usage"]["output_tokens"].as_u64();
            let output = output.filter(|_| trace.outcome == ExchangeOutcome::Complete)?;
            let came = trace.came_at()?;
            let prompt = tokens(&request).filter(|prompt| !prompt.is_empty())?;
            let since = came - *first.get_or_insert(came);
            Some(json!({
                "timestamp": u64::try_from(since.whole_milliseconds()).unwrap_or_default(),
                "input_length": prompt.len(),
                "output_length": output,
                "hash_ids": blocks.numbers(&prompt),
            }))
        })
    }
}

/// The blocks so far, by a digest of each with all before it. They are numbered as they first appear.
#[derive(Default)]
struct Blocks(HashMap<[u8; 32], usize>);

impl Blocks {
    fn numbers(&mut self, prompt: &[u32]) -> Vec<usize> {
        let mut before = [0; 32];
        let number = |block: &[u32]| {
            let mut hash = Sha256::new_with_prefix(before);
            block.iter().for_each(|token| hash.update(token.to_le_bytes()));
            before = hash.finalize().into();
            let next = self.0.len();
            *self.0.entry(before).or_insert(next)
        };
        prompt.chunks(BLOCK).map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_number_of_one_that_is_the_same_with_all_before_it() {
        let mut blocks = Blocks::default();
        let prompt = |parts: &[(u32, usize)]| parts.iter().flat_map(|(token, times)| vec![*token; *times]).collect::<Vec<u32>>();
        assert_eq!(blocks.numbers(&prompt(&[(1, 512), (2, 512), (3, 5)])), [0, 1, 2]);
        assert_eq!(blocks.numbers(&prompt(&[(1, 512), (2, 512), (3, 6)])), [0, 1, 3]);
        assert_eq!(blocks.numbers(&prompt(&[(2, 512), (1, 512)])), [4, 5]);
        assert_eq!(blocks.numbers(&prompt(&[(1, 512), (2, 512)])), [0, 1]);
    }
}
