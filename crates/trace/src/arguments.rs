//! The arguments of a tool call, which come as a text in pieces and stand in the message as JSON.

use serde_json::Value;

use super::{from_json, is_heavier, is_readable};

/// How many lists and objects are around a call's arguments in a trace: trace, response, message, content, block.
const AROUND: usize = 5;

/// The most that the arguments of a call may weigh as JSON, in bytes.
const MAX_ARGUMENTS: usize = 128 << 20;

/// The arguments that a text spells, as they stand in a message; `None` if it is no JSON, or if a trace with it could not be read
/// again: it is nested too deep or too heavy.
pub fn call_arguments(text: &str) -> Option<Value> {
    let json = text.as_bytes();
    let fits = is_readable(json, AROUND) && !is_heavier(json, MAX_ARGUMENTS);
    if fits { from_json(json).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::depth::MAX_DEPTH;

    #[test]
    fn arguments_that_a_trace_cannot_hold_are_none() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(call_arguments("{\"a\": 1}"), Some(serde_json::json!({"a": 1})));
        assert!(call_arguments(&deep(MAX_DEPTH - AROUND)).is_some());
        assert!(call_arguments(&deep(MAX_DEPTH - AROUND + 1)).is_none());
        assert!(call_arguments(&format!("[{}0]", "[],".repeat(MAX_ARGUMENTS / 192))).is_none());
        assert!(call_arguments("{\"a\": ").is_none());
    }
}
