//! What Anthropic refuses at its own route, and OpenAI's routes take.

use serde_json::Value;

use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, OutputFormat, Role};

/// The least budget of thinking, in tokens.
const LEAST_BUDGET: i64 = 1_024;

/// Checks a request that came in the Messages protocol.
///
/// # Errors
/// As for [`check`](super::check).
pub(crate) fn check_as_anthropic(request: &MessagesRequest) -> Result<(), String> {
    super::check(request)?;
    check_texts(&request.messages)?;
    check_end(&request.messages)?;
    check_choice(request)?;
    check_thinking(request)?;
    check_citations(request)?;
    if request.temperature.is_some_and(|temperature| !(0.0..=1.0).contains(&temperature)) {
        return Err("temperature: range: 0..1".into());
    }
    if request.stop_sequences.iter().any(|stop| stop.trim().is_empty()) {
        return Err("stop_sequences: each stop sequence must contain non-whitespace".into());
    }
    Ok(())
}

/// Checks that the messages say something, but not those in results: a tool may well have nothing to say.
fn check_texts(messages: &[InputMessage]) -> Result<(), String> {
    let is_empty = |message: &InputMessage| match &message.content {
        Content::Text(text) => text.is_empty(),
        Content::Blocks(blocks) => blocks.is_empty(),
    };
    for (at, message) in messages.iter().enumerate() {
        let may_be_empty = match message.role {
            Role::User => false,
            Role::Assistant => at + 1 == messages.len(),
            // It may consist of settings.
            Role::System => true,
        };
        if !may_be_empty && is_empty(message) {
            let reason = "all messages must have non-empty content except for the optional final assistant message";
            return Err(format!("messages.{at}: {reason}"));
        }
        for block in message.content.listed() {
            let ContentBlock::Text { text, .. } = block else { continue };
            if text.is_empty() {
                return Err("messages: text content blocks must be non-empty".into());
            }
            if message.role == Role::User && text.trim().is_empty() {
                return Err("messages: text content blocks must contain non-whitespace text".into());
            }
        }
    }
    Ok(())
}

/// Checks the end of the conversation, where the assistant's text is the beginning of the answer.
fn check_end(messages: &[InputMessage]) -> Result<(), String> {
    let begun = messages.last().filter(|last| last.role == Role::Assistant).and_then(|last| last_text(&last.content));
    match begun {
        Some(text) if text.ends_with(char::is_whitespace) => {
            Err("messages: final assistant content cannot end with trailing whitespace".into())
        }
        _ => Ok(()),
    }
}

/// The text that the content ends with, if it ends with text.
fn last_text(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text),
        Content::Blocks(blocks) => match blocks.last() {
            Some(ContentBlock::Text { text, .. }) => Some(text),
            _ => None,
        },
    }
}

/// Checks the choice of tools. With a further field it asks for other calls than would be made.
fn check_choice(request: &MessagesRequest) -> Result<(), String> {
    let Some(choice) = &request.tool_choice else { return Ok(()) };
    match choice.extra().into_iter().flatten().find(|(_, value)| !value.is_null()) {
        Some((name, _)) => Err(format!("tool_choice.{}.{name}: Extra inputs are not permitted", choice.kind())),
        None => Ok(()),
    }
}

/// Checks that thinking with a budget has one. How much is no matter here, as the model ends its thoughts itself.
fn check_thinking(request: &MessagesRequest) -> Result<(), String> {
    let Some(thinking) = request.extra.get("thinking").filter(|thinking| thinking["type"] == "enabled") else { return Ok(()) };
    let reason = match thinking.get("budget_tokens") {
        None | Some(Value::Null) => "Field required".to_owned(),
        Some(budget) => match budget.as_i64() {
            None => "Input should be a valid integer".to_owned(),
            Some(budget) if budget < LEAST_BUDGET => {
                format!("Input should be greater than or equal to {LEAST_BUDGET}")
            }
            Some(_) => return Ok(()),
        },
    };
    Err(format!("thinking.enabled.budget_tokens: {reason}"))
}

/// Checks that an answer of one JSON value is not to have citations between its pieces of text.
fn check_citations(request: &MessagesRequest) -> Result<(), String> {
    if !matches!(OutputFormat::of(&request.extra), Ok(Some(_))) {
        return Ok(());
    }
    for (at, message) in request.messages.iter().enumerate() {
        for (index, block) in message.content.listed().iter().enumerate() {
            let citations = block.extra().and_then(|extra| extra.get("citations"));
            if citations.is_some_and(|citations| citations["enabled"] == true) {
                let field = format!("messages.{at}.content.{index}.{}.citations", block.kind());
                return Err(format!("{field}: citations cannot be combined with an output format"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::request;
    use super::*;

    fn refused(extra: Value) -> Option<String> {
        check_as_anthropic(&request(extra)).err()
    }

    #[test]
    fn anthropics_own_limits_hold_at_its_route() {
        let say = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        let document = json!({"type": "document", "source": {"type": "text", "data": "A"}, "citations": {"enabled": true}});
        let format = json!({"format": {"type": "json_schema", "schema": {"type": "object"}}});
        let cited = json!({"messages": say(json!([document]))["messages"], "output_config": format});
        for (extra, reason) in [
            (json!({"temperature": 3}), "temperature: range: 0..1"),
            (json!({"temperature": -0.5}), "temperature: range: 0..1"),
            (json!({"thinking": {"type": "enabled"}}), "thinking.enabled.budget_tokens: Field required"),
            (json!({"thinking": {"type": "enabled", "budget_tokens": null}}), "thinking.enabled.budget_tokens: Field required"),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": 1}}),
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            ),
            (
                json!({"thinking": {"type": "enabled", "budget_tokens": "many"}}),
                "thinking.enabled.budget_tokens: Input should be a valid integer",
            ),
            (say(json!([{"type": "text", "text": ""}])), "messages: text content blocks must be non-empty"),
            (json!({"stop_sequences": ["END", "\n"]}), "stop_sequences: each stop sequence must contain non-whitespace"),
            (json!({"stop_sequences": [""]}), "stop_sequences: each stop sequence must contain non-whitespace"),
            (json!({"tool_choice": {"type": "auto", "tools": ["a"]}}), "tool_choice.auto.tools: Extra inputs are not permitted"),
            (cited, "messages.0.content.0.document.citations: citations cannot be combined with an output format"),
        ] {
            assert_eq!(refused(extra.clone()).as_deref(), Some(reason), "{extra}");
            assert_eq!(super::super::check(&request(extra.clone())), Ok(()), "OpenAI's routes take {extra}");
        }
    }

    #[test]
    fn what_anthropic_takes_is_taken() {
        let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": ""}]});
        for extra in [
            json!({"temperature": 1.0}),
            json!({"thinking": {"type": "adaptive"}}),
            json!({"thinking": {"type": "disabled"}}),
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            json!({"stop_sequences": [" END"]}),
            json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true, "x": null}}),
            json!({"tool_choice": {"type": "none", "disable_parallel_tool_use": true}}),
            json!({"messages": [{"role": "user", "content": [result, {"type": "text", "text": "Go on."}]}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "text", "data": "A"},
                "citations": {"enabled": true}}]}]}),
        ] {
            assert_eq!(refused(extra.clone()), None, "{extra}");
        }
    }

    #[test]
    fn a_begun_answer_does_not_end_with_white_space() {
        let user = json!({"role": "user", "content": "Hi"});
        let begun = json!({"role": "assistant", "content": "So: "});
        let reason = "messages: final assistant content cannot end with trailing whitespace";
        assert_eq!(refused(json!({"messages": [user, begun]})).as_deref(), Some(reason));
        assert_eq!(refused(json!({"messages": [begun, user]})), None);
    }
}
