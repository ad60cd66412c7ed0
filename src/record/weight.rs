//! What JSON weighs in memory once it is parsed, how deep it is nested, and how much of that is recorded of an exchange.
//!
//! A hundred megabytes of `[[],[],…]` become gigabytes, and what is nested too deep makes a file that cannot be read again. Both
//! are kept as the text that they came as.

use serde_json::Value;

use super::unicode::{UnicodeText, text_in};
use crate::trace::{is_heavier, is_readable, json_weight};
use crate::wire::from_json;

/// The most that a body, or the data of one event, may weigh as JSON, in bytes.
const MAX_JSON: usize = 128 << 20;

/// The most that all events of an answer may weigh: some hundred thousand of them, more than any answer has.
const MAX_EVENTS: usize = 512 << 20;

/// How many lists and objects are around a body where most are: line of a partial file, opening, request.
const AROUND_BODY: usize = 3;

/// How many are around an event's data: trace, response, list, event.
const AROUND_DATA: usize = 4;

/// What an event weighs without its data.
const EVENT: usize = 128;

/// A body as it stands in a trace: JSON, or else a string, and so is one that would be too heavy or is nested too deep. Null if
/// it is empty. Half of a UTF-16 pair, which JSON allows and no text can hold, becomes U+FFFD, as for the server.
pub(crate) fn body_value(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let body = match text_in(body) {
        UnicodeText::Utf8(text) => text,
        UnicodeText::Utf32 => return Value::String("[not recorded: its text is UTF-32]".into()),
    };
    let fits = is_readable(&body, AROUND_BODY) && !is_heavier(&body, MAX_JSON);
    let parsed = if fits { from_json(&body).ok() } else { None };
    parsed.unwrap_or_else(|| Value::String(String::from_utf8_lossy(&body).into_owned()))
}

/// How much the events of an exchange may still weigh.
#[derive(Debug)]
pub(super) struct EventRoom {
    left: usize,
}

impl Default for EventRoom {
    fn default() -> Self {
        Self { left: MAX_EVENTS }
    }
}

impl EventRoom {
    /// The data of an event: JSON, or else a string. `None` if there is no room for the event.
    ///
    /// A number or a word like `true` is no event of any protocol: it is a piece of a text that comes without JSON, and stays as
    /// it was written.
    pub(crate) fn value(&mut self, data: String) -> Option<Value> {
        let weight = json_weight(data.as_bytes());
        let fits = weight <= MAX_JSON && is_readable(data.as_bytes(), AROUND_DATA);
        self.left = self.left.checked_sub(EVENT + data.len() + if fits { weight } else { 0 })?;
        let parsed = if fits { from_json(data.as_bytes()).ok() } else { None };
        let parsed = parsed.filter(|value: &Value| value.is_object() || value.is_array() || value.is_string());
        Some(parsed.unwrap_or(Value::String(data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a single value weighs.
    const VALUE: usize = 96;

    #[test]
    fn what_is_too_heavy_is_kept_as_text() {
        for heavy in ["[],", "{},", "0,", "{\"\":0},", "[[]],"] {
            let body = format!("[{}0]", heavy.repeat(MAX_JSON / VALUE));
            assert_eq!(EventRoom::default().value(body.clone()), Some(Value::String(body.clone())), "{heavy}");
            assert_eq!(body_value(body.as_bytes()), Value::String(body), "{heavy}");
        }
        // Text is none of that, whatever is in it.
        let text = serde_json::json!({"text": "[],{}\\\"".repeat(1 << 20)}).to_string();
        assert!(body_value(text.as_bytes()).is_object());
        assert_eq!(body_value(b""), Value::Null);
        assert_eq!(body_value(b"\xffno"), Value::String("\u{fffd}no".into()));
    }

    #[test]
    fn json_in_utf_16_is_json() {
        let json = serde_json::json!({"api_key": "hunter2", "text": "é\u{1f980}"});
        let units: Vec<u16> = json.to_string().encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for (mark, bytes) in [(&[][..], &little), (&[], &big), (&[0xff, 0xfe], &little), (&[0xfe, 0xff], &big)] {
            assert_eq!(body_value(&[mark, bytes].concat()), json, "{mark:x?}");
        }
        assert_eq!(body_value(&["\u{feff}".as_bytes(), json.to_string().as_bytes()].concat()), json);
        let wide: Vec<u8> = json.to_string().chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        assert_eq!(body_value(&wide), Value::from("[not recorded: its text is UTF-32]"));
    }

    #[test]
    fn what_could_not_be_read_again_is_text() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (depth, is_json) in [(124, true), (125, false)] {
            assert_eq!(body_value(nested(depth).as_bytes()).is_array(), is_json, "{depth}");
        }
        for (depth, is_json) in [(123, true), (124, false)] {
            assert_eq!(EventRoom::default().value(nested(depth)).unwrap().is_array(), is_json, "{depth}");
        }
    }

    #[test]
    fn nesting_without_end_is_text() {
        let deep = "[".repeat(1 << 20);
        assert_eq!(body_value(deep.as_bytes()), Value::String(deep));
    }

    #[test]
    fn events_are_taken_until_there_is_no_room() {
        let mut room = EventRoom { left: 2 * (EVENT + VALUE + 4) };
        let taken = ["1", "true", "3"].map(|data| room.value(data.into()));
        assert_eq!(taken, [Some(Value::from("1")), Some(Value::from("true")), None]);
    }
}
