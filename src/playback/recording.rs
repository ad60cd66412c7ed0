//! A recorded answer, as it can be given again.

use serde_json::{Value, json};

use crate::trace::{Trace, recorded_message};
use crate::wire::{BlockDelta, ContentBlock, ErrorBody, ErrorKind, Message, StopReason, StreamEvent};

/// A recorded answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// The events, each with the microseconds from the request to it.
    Events(Vec<(u64, StreamEvent)>),
    /// An error before the first event.
    Error { status: u16, body: ErrorBody, retry_after: Option<String>, at_us: u64 },
}

impl Answer {
    /// The answer of a trace; `None` if none came, or none that a client could be sent.
    pub(super) fn of(trace: &Trace) -> Option<Self> {
        let response = &trace.response;
        let at_us = trace.timing.e2e_us.unwrap_or(0);
        match response.status {
            // No answer came, or none that ends an exchange.
            0..=199 => None,
            200..=299 if response.events.is_empty() => {
                Some(Self::Events(events_of(recorded_message(trace)?).into_iter().map(|event| (at_us, event)).collect()))
            }
            200..=299 => {
                // Every JSON value is an event: one that nobody knows stays as it is.
                let read =
                    |data: &Value| serde_json::from_value(data.clone()).unwrap_or_else(|_| StreamEvent::Other(data.clone()));
                Some(Self::Events(response.events.iter().map(|event| (event.at_us, read(&event.data))).collect()))
            }
            status => {
                let body = serde_json::from_value(response.body.clone());
                let unknown = |_| ErrorBody::new(ErrorKind::of_status(status), response.body.to_string());
                let retry_after = response.headers.get("retry-after").and_then(Value::as_str).map(str::to_owned);
                Some(Self::Error { status, body: body.unwrap_or_else(unknown), retry_after, at_us })
            }
        }
    }

    /// Whether the recording ends in the middle: neither the answer's end came nor an error.
    pub(super) fn is_cut(&self) -> bool {
        let ends = |event: &StreamEvent| matches!(event, StreamEvent::MessageStop | StreamEvent::Error { .. });
        matches!(self, Self::Events(events) if !events.iter().any(|(_, event)| ends(event)))
    }
}

/// The events of an answer that was recorded whole.
fn events_of(message: Message) -> Vec<StreamEvent> {
    let Message { content, stop_reason, stop_sequence, usage, .. } = &message;
    let last = StreamEvent::message_delta(stop_reason.clone().unwrap_or(StopReason::EndTurn), stop_sequence.clone(), usage);
    let blocks = content.iter().cloned().enumerate().flat_map(|(index, block)| {
        let (content_block, deltas) = opened(block);
        let deltas = deltas.into_iter().map(move |delta| StreamEvent::ContentBlockDelta { index, delta });
        let start = StreamEvent::ContentBlockStart { index, content_block };
        [start].into_iter().chain(deltas).chain([StreamEvent::ContentBlockStop { index }])
    });
    let blocks: Vec<_> = blocks.collect();
    let start = Message { content: Vec::new(), stop_reason: None, stop_sequence: None, ..message };
    [StreamEvent::MessageStart { message: start }].into_iter().chain(blocks).chain([last, StreamEvent::MessageStop]).collect()
}

/// A block as it begins, and the pieces that make it whole. What is no text, no thought and no call begins whole.
fn opened(block: ContentBlock) -> (ContentBlock, Vec<BlockDelta>) {
    match block {
        ContentBlock::Text { text, logprobs, extra } => {
            (ContentBlock::Text { text: String::new(), logprobs, extra }, vec![BlockDelta::text(text)])
        }
        ContentBlock::Thinking { thinking, signature } => {
            let begins = ContentBlock::Thinking { thinking: String::new(), signature: String::new() };
            (begins, vec![BlockDelta::ThinkingDelta { thinking }, BlockDelta::SignatureDelta { signature }])
        }
        ContentBlock::ToolUse { id, name, input, extra } => {
            // The arguments of a call that was cut are the text that came.
            let partial_json = input.as_str().map_or_else(|| input.to_string(), str::to_owned);
            (ContentBlock::ToolUse { id, name, input: json!({}), extra }, vec![BlockDelta::InputJsonDelta { partial_json }])
        }
        other => (other, Vec::new()),
    }
}
