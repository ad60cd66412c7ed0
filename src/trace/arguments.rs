//! The arguments of tool calls: those that are no JSON, and which of them are malformed.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::{RecordedEvent, call_arguments};
use crate::wire::{ContentBlock, Message, StopReason, from_json};

/// The arguments of those calls that are no JSON, or more than the message in a trace can hold, as text, by the index of their
/// content block. An answer may have been cut off in them.
pub fn unparsed_arguments(events: &[RecordedEvent]) -> BTreeMap<u64, String> {
    let mut texts = streamed_arguments(events);
    texts.retain(|_, text| call_arguments(text).is_none());
    texts
}

/// The arguments that deltas spell, as text, by the index of their content block, which need not have begun or ended.
pub fn streamed_arguments(events: &[RecordedEvent]) -> BTreeMap<u64, String> {
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    for RecordedEvent { data, .. } in events {
        let Some(index) = data["index"].as_u64() else { continue };
        match data["type"].as_str() {
            Some("content_block_start") => drop(texts.remove(&index)),
            Some("content_block_delta") => {
                if let Some(piece) = data["delta"]["partial_json"].as_str() {
                    texts.entry(index).or_default().push_str(piece);
                }
            }
            _ => {}
        }
    }
    texts.retain(|_, text| !text.is_empty());
    texts
}

/// The arguments that a text spells: JSON, or else the text itself. A text without anything in it spells none.
pub(crate) fn spelled_arguments(text: &str) -> Value {
    match text.trim() {
        "" => Value::Object(Map::new()),
        _ => from_json(text.as_bytes()).unwrap_or_else(|_| text.into()),
    }
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    /// The model finished it.
    Finished,
    /// A limit may have ended the answer in the middle of it.
    MayBeCut,
}

impl CallEnd {
    /// How a call ends in an answer that stopped for this reason. `is_last`: whether nothing follows the call. What is followed
    /// by something was not cut.
    pub fn of(stop_reason: Option<&StopReason>, is_last: bool) -> Self {
        if is_last && stop_reason.is_some_and(StopReason::cuts) { Self::MayBeCut } else { Self::Finished }
    }

    /// How the last call in a message ends.
    pub fn of_last_call(message: &Message) -> Self {
        let is_last = matches!(message.content.last(), Some(ContentBlock::ToolUse { .. }));
        Self::of(message.stop_reason.as_ref(), is_last)
    }
}

/// Whether arguments are malformed: no JSON object, and not the beginning of one that was cut. `arguments`: the call's input; a
/// string if its text is no JSON.
pub fn is_malformed(arguments: &Value, end: CallEnd) -> bool {
    match (arguments, end) {
        (Value::Object(_), _) => false,
        (Value::String(text), CallEnd::MayBeCut) => !begins_object(text),
        _ => true,
    }
}

/// Why arguments are malformed, in words; `None` if they are not.
pub(super) fn argument_fault(arguments: &Value, end: CallEnd) -> Option<String> {
    let reason = match arguments {
        _ if !is_malformed(arguments, end) => return None,
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Err(error) => error.to_string(),
            Ok(_) => "they are a string".into(),
        },
        Value::Array(_) => "they are a list".into(),
        other => format!("they are {other}"),
    };
    Some(format!("are no JSON object: {reason}"))
}

/// Whether a text is the beginning of a JSON object.
fn begins_object(text: &str) -> bool {
    let text = text.trim_start();
    let breaks_off = |text| serde_json::from_str::<IgnoredAny>(text).is_err_and(|error| error.is_eof());
    text.is_empty() || (text.starts_with('{') && breaks_off(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_beginning_of_an_object_may_be_cut() {
        for (arguments, finished, cut) in [
            (json!({"a": 1}), None, None),
            (json!("{\"a\": \"rm -rf /"), Some("are no JSON object: EOF while parsing a string at line 1 column 15"), None),
            (json!(" {\"a\": \"\\ud83d"), Some("are no JSON object: EOF while parsing a string at line 1 column 14"), None),
            (
                json!("{\"a\": }"),
                Some("are no JSON object: expected value at line 1 column 7"),
                Some("are no JSON object: expected value at line 1 column 7"),
            ),
            (
                json!("[1"),
                Some("are no JSON object: EOF while parsing a list at line 1 column 2"),
                Some("are no JSON object: EOF while parsing a list at line 1 column 2"),
            ),
            (json!([1]), Some("are no JSON object: they are a list"), Some("are no JSON object: they are a list")),
            (json!(5), Some("are no JSON object: they are 5"), Some("are no JSON object: they are 5")),
        ] {
            assert_eq!(argument_fault(&arguments, CallEnd::Finished).as_deref(), finished, "{arguments}");
            assert_eq!(argument_fault(&arguments, CallEnd::MayBeCut).as_deref(), cut, "{arguments}");
        }
        assert!(is_malformed(&json!(""), CallEnd::Finished) && !is_malformed(&json!(""), CallEnd::MayBeCut));
    }

    #[test]
    fn what_is_followed_by_something_was_not_cut() {
        let call = json!({"type": "tool_use", "id": "t", "name": "Read", "input": "{\"a"});
        let text = json!({"type": "text", "text": "Done."});
        for (content, reason, end) in [
            (json!([text, call]), "max_tokens", CallEnd::MayBeCut),
            (json!([text, call]), "model_context_window_exceeded", CallEnd::MayBeCut),
            (json!([call, text]), "max_tokens", CallEnd::Finished),
            (json!([call]), "tool_use", CallEnd::Finished),
        ] {
            let message = json!({"id": "m", "role": "assistant", "model": "m", "content": content, "stop_reason": reason});
            assert_eq!(CallEnd::of_last_call(&serde_json::from_value(message).unwrap()), end, "{content} {reason}");
        }
    }
}
