//! Shaping recorded requests for a replay, and describing them to people. Pure.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Map;

use crate::snapshot::Outcome;
use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, Role, System, ToolChoice};

/// What a replay does to a request's `tool_choice`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoiceMode {
    /// Force the first tool that the recorded answer called; if it called none, leave the request as it is.
    Recorded,
    /// Let the model decide.
    Auto,
    /// Force some tool.
    Any,
}

impl ToolChoiceMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::Recorded, Self::Auto, Self::Any];

    /// The mode's name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Auto => "auto",
            Self::Any => "any",
        }
    }
}

/// What a replay sets in a request, beside the temperature.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    /// In place of the recorded one; `None` leaves it.
    tool_choice: Option<ToolChoice>,
    max_tokens: u32,
}

impl Shape {
    /// For a request, to which `recorded` was the answer.
    pub(super) fn of(request: &MessagesRequest, recorded: Option<&Outcome>, mode: ToolChoiceMode, max_tokens: u32) -> Self {
        Self { tool_choice: tool_choice(request, recorded, mode), max_tokens: request.max_tokens.min(max_tokens) }
    }
}

/// The recorded request as a replay sends it: at temperature 0, streamed, with its length limited and its tool choice set.
pub(super) fn shape(request: MessagesRequest, Shape { tool_choice, max_tokens }: Shape) -> MessagesRequest {
    let mut request = as_recorded(request);
    request.temperature = Some(0.0);
    request.top_p = None;
    request.top_k = None;
    request.max_tokens = max_tokens;
    // With thinking, the Messages API allows neither temperature 0 nor a forced tool. `context_management` needs a beta header.
    request.extra.shift_remove("thinking");
    request.extra.shift_remove("context_management");
    request.tool_choice = tool_choice.or(request.tool_choice);
    request
}

/// The recorded request as a replay sends it to recordings, which answer no other one: only streamed.
pub(super) fn as_recorded(request: MessagesRequest) -> MessagesRequest {
    MessagesRequest { stream: true, ..request }
}

fn tool_choice(request: &MessagesRequest, recorded: Option<&Outcome>, mode: ToolChoiceMode) -> Option<ToolChoice> {
    if request.tools.is_empty() {
        return None;
    }
    match mode {
        ToolChoiceMode::Auto => Some(ToolChoice::Auto { disable_parallel_tool_use: false, extra: Map::new() }),
        ToolChoiceMode::Any => Some(ToolChoice::Any { disable_parallel_tool_use: false, extra: Map::new() }),
        ToolChoiceMode::Recorded => {
            let name = &recorded?.tool_use.first()?.name;
            let known = request.tools.iter().any(|tool| &tool.name == name);
            known.then(|| ToolChoice::Tool { name: name.clone(), disable_parallel_tool_use: false, extra: Map::new() })
        }
    }
}

/// The request with a system block before all others, so that its prompt begins like no earlier one.
pub(super) fn salted(mut request: MessagesRequest, salt: &str) -> MessagesRequest {
    let mut blocks = vec![ContentBlock::text(format!("{salt} is the number of this replay."))];
    match request.system.take() {
        Some(System::Text(text)) => blocks.push(ContentBlock::text(text)),
        Some(System::Blocks(more)) => blocks.extend(more),
        None => {}
    }
    request.system = Some(System::Blocks(blocks));
    request
}

/// Another conversation with the same tools and system prompt. Sending it leaves exactly the shared prefix of both in a cache.
pub(super) fn other_conversation(mut request: MessagesRequest) -> MessagesRequest {
    request.messages = vec![InputMessage::new(Role::User, Content::Text("Another conversation.".into()))];
    least_output(request)
}

/// The request with an answer as short as the protocol allows.
pub(super) fn least_output(mut request: MessagesRequest) -> MessagesRequest {
    request.max_tokens = 1;
    request
}

/// The text of the last user turn without what the client adds to it (`<system-reminder>`). Tool results are labelled.
pub fn last_user_turn(request: &MessagesRequest) -> String {
    let turn = request.messages.iter().rev().find(|message| message.role == Role::User);
    match turn.map(|turn| &turn.content) {
        None => String::new(),
        Some(Content::Text(text)) => text.trim().into(),
        Some(Content::Blocks(blocks)) => {
            let texts: Vec<String> = blocks.iter().filter_map(block_text).collect();
            let is_reminder = |text: &&String| text.starts_with("<system-reminder>");
            let own: Vec<String> = texts.iter().filter(|text| !is_reminder(text)).cloned().collect();
            if own.is_empty() { texts.join("\n") } else { own.join("\n") }
        }
    }
}

fn block_text(block: &ContentBlock) -> Option<String> {
    match block {
        ContentBlock::Text { text, .. } => Some(text.trim().into()),
        ContentBlock::Image { .. } => Some("[image]".into()),
        ContentBlock::ToolResult { content, is_error, .. } => {
            let text = match content {
                Some(Content::Text(text)) => text.trim().into(),
                Some(Content::Blocks(blocks)) => blocks.iter().filter_map(block_text).collect::<Vec<_>>().join("\n"),
                None => String::new(),
            };
            let label = if *is_error { "[tool error]" } else { "[tool result]" };
            Some(format!("{label} {text}").trim_end().into())
        }
        _ => None,
    }
}

/// The text on one line of at most `limit` characters, with an ellipsis if something was cut off.
pub fn one_line(text: &str, limit: usize) -> String {
    let line =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= limit {
        return line;
    }
    let cut: String = line.chars().take(limit.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::ToolUse;
    use serde_json::{Value, json};

    fn request(overrides: Value) -> MessagesRequest {
        let mut body = json!({
            "model": "claude", "max_tokens": 64000, "temperature": 1.0, "top_p": 0.9,
            "messages": [{"role": "user", "content": "Read hello.txt"}],
            "tools": [{"name": "Read"}, {"name": "Bash"}],
            "thinking": {"type": "adaptive"}, "metadata": {"user_id": "u"},
        });
        body.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    fn called(names: &[&str]) -> Outcome {
        let tool_use = names.iter().map(|name| ToolUse { name: name.to_string(), input: json!({}) }).collect();
        Outcome { stop_reason: None, tool_use }
    }

    fn sent(request: MessagesRequest, recorded: Option<&Outcome>, mode: ToolChoiceMode) -> MessagesRequest {
        let wanted = Shape::of(&request, recorded, mode, 256);
        shape(request, wanted)
    }

    #[test]
    fn a_shaped_request_has_temperature_0_a_stream_a_limit_and_no_thinking() {
        let shaped = sent(request(json!({})), None, ToolChoiceMode::Recorded);
        assert_eq!(
            serde_json::to_value(&shaped).unwrap(),
            json!({
                "model": "claude", "max_tokens": 256, "temperature": 0.0, "stream": true,
                "messages": [{"role": "user", "content": "Read hello.txt"}],
                "tools": [{"name": "Read", "input_schema": {}}, {"name": "Bash", "input_schema": {}}],
                "metadata": {"user_id": "u"},
            })
        );
        assert_eq!(sent(request(json!({"max_tokens": 16})), None, ToolChoiceMode::Recorded).max_tokens, 16);
    }

    #[test]
    fn the_tool_choice_follows_the_mode() {
        let auto = json!({"type": "auto", "disable_parallel_tool_use": false});
        let any = json!({"type": "any", "disable_parallel_tool_use": false});
        let bash = json!({"type": "tool", "name": "Bash", "disable_parallel_tool_use": false});
        let table = [
            (ToolChoiceMode::Recorded, json!({}), vec!["Bash", "Read"], bash),
            (ToolChoiceMode::Recorded, json!({}), vec![], Value::Null),
            (ToolChoiceMode::Recorded, json!({}), vec!["Gone"], Value::Null),
            (ToolChoiceMode::Recorded, json!({"tool_choice": any}), vec![], any.clone()),
            (ToolChoiceMode::Auto, json!({"tool_choice": any}), vec!["Bash"], auto),
            (ToolChoiceMode::Any, json!({}), vec![], any.clone()),
            (ToolChoiceMode::Any, json!({"tools": []}), vec![], Value::Null),
        ];
        for (mode, overrides, recorded, expected) in table {
            let shaped = sent(request(overrides), Some(&called(&recorded)), mode);
            assert_eq!(serde_json::to_value(shaped.tool_choice).unwrap(), expected, "{mode:?}, recorded {recorded:?}");
        }
    }

    #[test]
    fn salt_comes_before_every_kind_of_system_prompt() {
        let salt = json!({"type": "text", "text": "s1 is the number of this replay."});
        let block = json!({"type": "text", "text": "Be good.", "cache_control": {"type": "ephemeral"}});
        let table = [
            (json!({}), json!([salt])),
            (json!({"system": "Be good."}), json!([salt, {"type": "text", "text": "Be good."}])),
            (json!({"system": [block]}), json!([salt, block])),
        ];
        for (overrides, expected) in table {
            assert_eq!(serde_json::to_value(salted(request(overrides), "s1").system).unwrap(), expected);
        }
    }

    #[test]
    fn another_conversation_keeps_tools_and_system() {
        let mut original = request(json!({"system": "Be good."}));
        let other = other_conversation(original.clone());
        assert_ne!(other.messages, original.messages);
        original.messages.clone_from(&other.messages);
        original.max_tokens = 1;
        assert_eq!(other, original);
    }

    #[test]
    fn the_last_user_turn_is_what_the_user_said() {
        let reminder = json!({"type": "text", "text": "<system-reminder>Today is Monday.</system-reminder>"});
        let table = [
            (json!([{"role": "user", "content": " Hi "}]), "Hi"),
            (json!([{"role": "user", "content": [reminder, {"type": "text", "text": "Read it"}]}]), "Read it"),
            (json!([{"role": "user", "content": [reminder]}]), "<system-reminder>Today is Monday.</system-reminder>"),
            (
                json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
                       {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "no such file", "is_error": true}]},
                       {"role": "system", "content": "Skills: none"}]),
                "[tool error] no such file",
            ),
            (json!([]), ""),
        ];
        for (messages, expected) in table {
            assert_eq!(last_user_turn(&request(json!({ "messages": messages }))), expected);
        }
    }

    #[test]
    fn one_line_shortens_and_flattens() {
        let table =
            [("a\n\n b\tc\u{7}", 20, "a b c"), ("Überlänge", 9, "Überlänge"), ("Überlänge!", 6, "Überl…"), ("ab cd", 4, "ab…")];
        for (text, limit, expected) in table {
            assert_eq!(one_line(text, limit), expected);
        }
    }
}
