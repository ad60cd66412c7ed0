//! Converting token counts.

use serde::Deserialize;
use serde_json::Value;

use crate::wire::Usage;
use crate::wire::openai::responses::ResponsesUsage;
use crate::wire::openai::{ChatUsage, PromptDetails};

/// From OpenAI's counts, in which the prompt's tokens include the cached ones, to Anthropic's, in which they do not.
pub(crate) fn from_chat(usage: &ChatUsage) -> Usage {
    let details = usage.prompt_tokens_details.as_ref();
    let read = details.map(|details| details.cached_tokens.min(usage.prompt_tokens));
    let written = details.and_then(|details| details.extra.get("cache_write_tokens")).and_then(Value::as_u64);
    let input_tokens = usage.prompt_tokens - read.unwrap_or(0);
    let written = written.map(|written| written.min(input_tokens));
    Usage {
        input_tokens: input_tokens - written.unwrap_or(0),
        cache_creation_input_tokens: written,
        cache_read_input_tokens: read,
        output_tokens: usage.completion_tokens,
        ..Usage::default()
    }
}

/// From Anthropic's counts to OpenAI's.
pub(crate) fn to_chat(usage: &Usage) -> ChatUsage {
    let details = |cached_tokens| PromptDetails { cached_tokens, ..PromptDetails::default() };
    ChatUsage {
        prompt_tokens: usage.prompt_tokens(),
        completion_tokens: usage.output_tokens,
        total_tokens: usage.prompt_tokens().saturating_add(usage.output_tokens),
        prompt_tokens_details: usage.cache_read_input_tokens.map(details),
        ..ChatUsage::default()
    }
}

/// The token counts of a `usage` object of any protocol.
pub(crate) fn usage_in(usage: &Value) -> Option<Usage> {
    if usage.get("prompt_tokens").is_some() {
        return ChatUsage::deserialize(usage).ok().as_ref().map(from_chat);
    }
    if usage.get("input_tokens_details").is_some() {
        let ResponsesUsage { input_tokens, input_tokens_details, output_tokens, .. } = ResponsesUsage::deserialize(usage).ok()?;
        let read = input_tokens_details.cached_tokens.min(input_tokens);
        let cache_read_input_tokens = Some(read);
        return Some(Usage { input_tokens: input_tokens - read, cache_read_input_tokens, output_tokens, ..Usage::default() });
    }
    Usage::deserialize(usage).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_counts_add_up_to_the_prompt() {
        for (usage, parts) in [
            (json!({"prompt_tokens": 10, "completion_tokens": 3}), (10, None, None)),
            (json!({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 8}}), (2, None, Some(8))),
            (
                json!({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 3}}),
                (1, Some(3), Some(6)),
            ),
            (
                json!({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99, "cache_write_tokens": 9}}),
                (0, Some(0), Some(10)),
            ),
            (json!({}), (0, None, None)),
        ] {
            let chat: ChatUsage = serde_json::from_value(usage.clone()).unwrap();
            let read = from_chat(&chat);
            assert_eq!((read.input_tokens, read.cache_creation_input_tokens, read.cache_read_input_tokens), parts, "{usage}");
            assert_eq!(read.prompt_tokens(), chat.prompt_tokens);
            assert_eq!(to_chat(&read).prompt_tokens, chat.prompt_tokens);
        }
    }

    #[test]
    fn what_counts_nothing_is_no_count() {
        for nothing in [json!(null), json!("many"), json!([1])] {
            assert_eq!(usage_in(&nothing), None, "{nothing}");
        }
    }
}
