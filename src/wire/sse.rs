//! Writing server-sent events. `frames` reads them.

use bytes::Bytes;

use super::StreamEvent;

/// The event's SSE frame: an `event:` line, a `data:` line and a blank line.
///
/// ```
/// use anyclaude::wire::{BlockDelta, StreamEvent, encode_event};
///
/// let frame = encode_event(&StreamEvent::ContentBlockStop { index: 0 });
/// assert_eq!(frame, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
///
/// // The `data:` line is the event's JSON, and reads back as it.
/// let data = r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}"#;
/// let event: StreamEvent = serde_json::from_str(data)?;
/// assert_eq!(event, StreamEvent::ContentBlockDelta { index: 0, delta: BlockDelta::text("Hi") });
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn encode_event(event: &StreamEvent) -> Bytes {
    let data = match event {
        StreamEvent::Error { body } => body.to_json(),
        // Cannot fail: every field is a string, a number or a map with string keys.
        other => serde_json::to_value(other).unwrap_or_default(),
    };
    Bytes::from(format!("event: {}\ndata: {data}\n\n", event.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ErrorBody, ErrorKind};

    #[test]
    fn a_frame_has_event_and_data_lines_and_a_blank_line() {
        assert_eq!(encode_event(&StreamEvent::Ping), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
    }

    #[test]
    fn an_error_frame_holds_the_envelope() {
        let event = StreamEvent::Error { body: ErrorBody::new(ErrorKind::Overloaded, "busy") };
        let frame = encode_event(&event);
        assert_eq!(
            frame,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n"
        );
    }
}
