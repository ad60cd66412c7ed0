//! TTFT, E2E, the gaps between events and the beginnings of calls from the arrival times of an answer's events. Pure: the caller passes the times in.

use crate::wire::{ContentBlock, StreamEvent};

/// Watches the events of one answer. Times are in microseconds since the request was sent.
#[derive(Debug, Default)]
pub(super) struct Clock {
    first_content_us: Option<u64>,
    last_content_us: Option<u64>,
    gap_us: Vec<u64>,
    call_us: Vec<u64>,
    stop_us: Option<u64>,
}

/// The times of one answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AnswerTimes {
    /// Until the first content event; `None` if there is none.
    pub ttft_us: Option<u64>,
    /// Between content events.
    pub gap_us: Vec<u64>,
    /// Until each tool call begins.
    pub call_us: Vec<u64>,
    /// Until `message_stop`.
    pub e2e_us: u64,
}

impl Clock {
    /// Takes in the next event, which arrived at `at_us`.
    pub(super) fn event(&mut self, at_us: u64, event: &StreamEvent) {
        if event.is_content() {
            if let Some(last) = self.last_content_us {
                self.gap_us.push(at_us.saturating_sub(last));
            }
            self.first_content_us.get_or_insert(at_us);
            self.last_content_us = Some(at_us);
        }
        if matches!(event, StreamEvent::ContentBlockStart { content_block: ContentBlock::ToolUse { .. }, .. }) {
            self.call_us.push(at_us);
        }
        if *event == StreamEvent::MessageStop {
            self.stop_us = Some(at_us);
        }
    }

    /// The times; `None` without a `message_stop`.
    pub(super) fn finish(self) -> Option<AnswerTimes> {
        Some(AnswerTimes { ttft_us: self.first_content_us, gap_us: self.gap_us, call_us: self.call_us, e2e_us: self.stop_us? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn times(events: &[(u64, Value)]) -> Option<AnswerTimes> {
        let mut clock = Clock::default();
        for (at_us, event) in events {
            clock.event(*at_us, &serde_json::from_value(event.clone()).unwrap());
        }
        clock.finish()
    }

    fn text(text: &str) -> Value {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
    }

    fn stop() -> Value {
        json!({"type": "message_stop"})
    }

    #[test]
    fn times_are_taken_on_content_events() {
        let text_start = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
        let tool_start = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "Read", "input": {}}});
        let ping = json!({"type": "ping"});
        let table = [
            (
                vec![(5, text_start), (100, text("a")), (130, ping), (150, text("b")), (160, text("c")), (170, stop())],
                Some(AnswerTimes { ttft_us: Some(100), gap_us: vec![50, 10], call_us: vec![], e2e_us: 170 }),
            ),
            (
                vec![(80, tool_start), (90, stop())],
                Some(AnswerTimes { ttft_us: Some(80), gap_us: vec![], call_us: vec![80], e2e_us: 90 }),
            ),
            (vec![(90, stop())], Some(AnswerTimes { ttft_us: None, gap_us: vec![], call_us: vec![], e2e_us: 90 })),
            (vec![(80, text("a"))], None),
        ];
        for (events, expected) in table {
            assert_eq!(times(&events), expected);
        }
    }
}
