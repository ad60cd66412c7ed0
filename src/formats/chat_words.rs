//! What chat completions call otherwise than Anthropic: for the formats that keep a message's end and tokens by those names.

use serde_json::{Value, json};

/// The stop reason that a finish reason means; `None` if that is not known. "stop" may also mean one of the request's stop
/// sequences, if it `has_stops`.
pub(super) fn stop_reason(finish_reason: &str, has_stops: bool) -> Option<&'static str> {
    match finish_reason {
        "stop" if !has_stops => Some("end_turn"),
        "length" => Some("max_tokens"),
        "tool_calls" => Some("tool_use"),
        "content_filter" => Some("refusal"),
        _ => None,
    }
}

/// Usage as Anthropic counts it: apart from the prompt's other tokens are those `read` from the cache and `written` to it, which
/// chat completions count among them.
pub(super) fn usage(prompt: u64, read: u64, written: u64, output: u64) -> Value {
    json!({
        "input_tokens": prompt.saturating_sub(read.saturating_add(written)), "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written, "output_tokens": output,
    })
}
