//! Mooncake's JSONL of arrivals: for each request when it came, how long prompt and answer are, and which blocks of the prompt
//! are the beginning of others. Load generators make prompts of that shape: AIPerf's `mooncake_trace`, for example.

use serde_json::json;

use super::blocks::Blocks;
use super::exporter::{CountTokens, Exchanges, Exporter, Frame};
use crate::trace::{ExchangeOutcome, Trace, came_at, messages_request};

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

    fn begin<'a>(&'a self, tokens: &'a CountTokens<'a>) -> Box<dyn Exchanges + 'a> {
        let mut blocks = Blocks::of(BLOCK);
        let mut first = None;
        Box::new(move |trace: &Trace| {
            let request = messages_request(trace)?;
            let output = trace.response.body["usage"]["output_tokens"].as_u64();
            let output = output.filter(|_| trace.outcome == ExchangeOutcome::Complete)?;
            let came = came_at(trace)?;
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
