//! Whether a request is one that a server has to take: otherwise its refusal would be taken for the difference looked for.

use std::collections::HashSet;

use serde_json::Value;

/// Whether the first message is the user's, no message is empty, and each result follows its call, each call but the last
/// message's has its result.
pub(super) fn is_sound(body: &Value) -> bool {
    let Some(messages) = body["messages"].as_array() else { return false };
    let first_is_the_users = messages.first().is_some_and(|message| message["role"] == "user");
    let is_last = |at: usize| at + 1 == messages.len();
    first_is_the_users
        && messages.iter().enumerate().all(|(at, message)| {
            let before = at.checked_sub(1).map(|before| &messages[before]);
            let asked = before.map_or_else(HashSet::new, |before| ids(before, "tool_use", "id"));
            let answered = ids(message, "tool_result", "tool_use_id");
            let is_complete = message["role"] == "assistant" || asked == answered;
            let is_answered = is_last(at) || ids(message, "tool_use", "id").is_empty() || messages[at + 1]["role"] == "user";
            is_complete && is_answered && !is_empty(&message["content"]) && alternates(before, message)
        })
}

fn alternates(before: Option<&Value>, message: &Value) -> bool {
    before.is_none_or(|before| before["role"] != "assistant" || message["role"] != "assistant")
}

fn is_empty(content: &Value) -> bool {
    match content {
        Value::String(text) => text.trim().is_empty(),
        Value::Array(blocks) => {
            blocks.is_empty() || blocks.iter().any(|block| block["type"] == "text" && is_empty(&block["text"]))
        }
        _ => true,
    }
}

/// The ids of a message's blocks of a type.
fn ids<'a>(message: &'a Value, of: &str, field: &str) -> HashSet<&'a str> {
    let blocks = message["content"].as_array().into_iter().flatten();
    blocks.filter(|block| block["type"] == of).filter_map(|block| block[field].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_have_their_results_and_nothing_is_empty() {
        let user = json!({"role": "user", "content": "Hi"});
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "T", "input": {}}]});
        let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": ""}]});
        let cases = [
            (vec![&user], true),
            (vec![&user, &call, &result], true),
            (vec![&user, &user], true),
            (vec![], false),
            (vec![&call, &result], false),
            (vec![&user, &result], false),
            (vec![&user, &call, &user], false),
            (vec![&user, &call, &call, &result], false),
        ];
        for (messages, wanted) in cases {
            assert_eq!(is_sound(&json!({ "messages": messages })), wanted, "{messages:?}");
        }
        assert!(!is_sound(&json!({"messages": [{"role": "user", "content": [{"type": "text", "text": " "}]}]})));
    }
}
