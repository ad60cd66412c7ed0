//! A trace's request and answer in the types of their protocol.

use anyclaude_trace::Trace;
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{BodyFault, read_messages_request};
use crate::wire::{Endpoint, Message, MessagesRequest};

/// When the request came; `None` if the trace does not tell.
pub fn came_at(trace: &Trace) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&trace.recorded_at, &Rfc3339).ok()
}

/// Whether the request asks for a message, and not for a token count or something else.
pub fn asks_for_message(trace: &Trace) -> bool {
    Endpoint::of_path(&trace.request.path) == Endpoint::Messages
}

/// The Messages request; `None` if it asks for something else, or no server of its protocol takes it.
pub fn messages_request(trace: &Trace) -> Option<MessagesRequest> {
    parsed_messages_request(trace)?.ok()
}

/// The Messages request, or why no server of its protocol takes it; `None` if it asks for something else.
pub(crate) fn parsed_messages_request(trace: &Trace) -> Option<Result<MessagesRequest, BodyFault>> {
    let is_asked = trace.request.method == "POST" && asks_for_message(trace);
    is_asked.then(|| read_messages_request(&trace.request.body))
}

/// The answer as far as it came; `None` for an error or another endpoint.
pub fn recorded_message(trace: &Trace) -> Option<Message> {
    if !asks_for_message(trace) || trace.response.body.get("type").and_then(Value::as_str) != Some("message") {
        return None;
    }
    Message::deserialize(&trace.response.body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{RecordedEvent, find, read};
    use crate::wire::StreamEvent;

    /// The crate of the trace file knows no types of protocols, so it has the rule for JSON.
    #[test]
    fn the_events_that_carry_content_are_those_of_the_protocols_types() {
        let mut carriers = 0;
        for file in find(&["traces".into()]).unwrap() {
            for event in read(&file).unwrap().response.events {
                let typed = StreamEvent::deserialize(&event.data).unwrap();
                assert_eq!(event.is_content(), typed.is_content(), "{}: {}", file.display(), event.data);
                carriers += usize::from(event.is_content());
            }
        }
        assert!(carriers > 0);
        for data in [
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"unknown_delta"}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"n","input":{}}}"#,
            r#"{"type":"message_stop"}"#,
            r#"{"choices":[{"delta":{"content":"Hi"}}]}"#,
        ] {
            let data: Value = serde_json::from_str(data).unwrap();
            let typed = StreamEvent::deserialize(&data).unwrap().is_content();
            let event = RecordedEvent { at_us: 0, event: "message".into(), data };
            assert_eq!(event.is_content(), typed, "{}", event.data);
        }
    }
}
