//! What chat completions call otherwise than Anthropic: for the formats that keep a message's end and tokens by those names.

use serde_json::Value;

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

/// Tokens as chat completions count them: those from the cache are among the prompt's.
pub(super) struct TokenCounts {
    pub prompt: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_written: Option<u64>,
    pub output: Option<u64>,
}

impl TokenCounts {
    /// As Anthropic counts: those from the cache apart. What is not known is left out, and is no 0.
    pub(super) fn usage(&self) -> Option<Value> {
        let cached = self.cache_read.unwrap_or_default().saturating_add(self.cache_written.unwrap_or_default());
        let counts = [
            ("input_tokens", self.prompt.map(|prompt| prompt.saturating_sub(cached))),
            ("cache_read_input_tokens", self.cache_read),
            ("cache_creation_input_tokens", self.cache_written),
            ("output_tokens", self.output),
        ];
        let usage: Value = counts.into_iter().filter_map(|(name, count)| Some((name, count?))).collect();
        usage.as_object().is_some_and(|known| !known.is_empty()).then_some(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: TokenCounts = TokenCounts { prompt: None, cache_read: None, cache_written: None, output: None };

    #[test]
    fn tokens_that_were_not_counted_are_not_zero() {
        let usage = |counts: TokenCounts| counts.usage().map(|usage| usage.to_string());
        assert_eq!(usage(UNKNOWN), None);
        let counted = TokenCounts { prompt: Some(10), cache_read: Some(4), ..UNKNOWN };
        assert_eq!(usage(counted).as_deref(), Some(r#"{"input_tokens":6,"cache_read_input_tokens":4}"#));
        assert_eq!(usage(TokenCounts { output: Some(0), ..UNKNOWN }).as_deref(), Some(r#"{"output_tokens":0}"#));
    }
}
