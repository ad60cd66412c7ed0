//! What is known of an answer while it is under way.

use serde_json::Value;

use super::notice::{Answering, ExchangeName};
use crate::convert::usage_in;
use crate::trace::RecordedEvent;
use crate::wire::Usage;

/// What the events of an answer have said so far.
#[derive(Debug, Default)]
pub(super) struct KnownSoFar {
    ttft_us: Option<u64>,
    usage: Option<Usage>,
}

impl KnownSoFar {
    /// Learns from the next event. What is known now, if that is more than before.
    pub(super) fn learn(&mut self, exchange: &ExchangeName, event: &RecordedEvent) -> Option<Answering> {
        let is_first = self.ttft_us.is_none() && event.is_content();
        if is_first {
            self.ttft_us = Some(event.at_us);
        }
        let usage = self.usage_with(&event.data);
        let is_counted = usage.is_some() && usage != self.usage;
        if is_counted {
            self.usage = usage;
        }
        let answering = || Answering { exchange: exchange.clone(), ttft_us: self.ttft_us, usage: self.usage.clone() };
        (is_first || is_counted).then(answering)
    }

    /// The token counts that the events have said.
    pub(super) fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// The token counts with those that the data of an event says, if it says any.
    fn usage_with(&self, data: &Value) -> Option<Usage> {
        match data.get("type").and_then(Value::as_str) {
            Some("message_start") => usage_in(data.pointer("/message/usage")?),
            // It repeats only some of the counts.
            Some("message_delta") => {
                let mut usage = self.usage.clone()?;
                usage.merge(data.get("usage")?);
                Some(usage)
            }
            Some("response.completed" | "response.incomplete" | "response.failed") => usage_in(data.pointer("/response/usage")?),
            Some(_) => None,
            // A chunk of a chat completion.
            None => usage_in(data.get("usage")?),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What was said of an answer: TTFT, prompt tokens, cached ones and answered ones.
    type Said = (Option<u64>, Option<(u64, u64, u64)>);

    /// What was said after each of these events.
    fn said(events: &[Value]) -> Vec<Said> {
        let exchange = ExchangeName { session: "s".into(), seq: 1 };
        let mut known = KnownSoFar::default();
        let event = |(data, at_us): (&Value, u64)| RecordedEvent { at_us, event: String::new(), data: data.clone() };
        let told = events.iter().zip(1..).map(event).filter_map(|event| known.learn(&exchange, &event));
        let counts = |usage: Usage| (usage.prompt_tokens(), usage.cache_read_input_tokens.unwrap_or(0), usage.output_tokens);
        told.map(|Answering { ttft_us, usage, .. }| (ttft_us, usage.map(counts))).collect()
    }

    #[test]
    fn the_first_token_and_the_counts_are_said_once() {
        let message = json!({"usage": {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 1}});
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}});
        let events = [
            json!({"type": "message_start", "message": message}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "ping"}),
            delta.clone(),
            delta,
            json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}}),
            json!({"type": "message_stop"}),
        ];
        let counted = |output| Some((40, 30, output));
        assert_eq!(said(&events), [(None, counted(1)), (Some(4), counted(1)), (Some(4), counted(7))]);
    }

    #[test]
    fn openais_protocols_count_at_the_end() {
        let chat = json!({"prompt_tokens": 40, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 30}});
        let chunks = [json!({"choices": [], "usage": null}), json!({"choices": [], "usage": chat})];
        assert_eq!(said(&chunks), [(None, Some((40, 30, 7)))]);
        let usage = json!({"input_tokens": 40, "input_tokens_details": {"cached_tokens": 30}, "output_tokens": 7,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 47});
        let events = [json!({"type": "response.created"}), json!({"type": "response.completed", "response": {"usage": usage}})];
        assert_eq!(said(&events), [(None, Some((40, 30, 7)))]);
    }
}
