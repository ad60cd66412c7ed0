//! A conversation of OpenAI's protocols on its way to the Messages protocol.

use serde_json::{Map, Value, json};

use super::Omitted;
use crate::wire::{Content, ContentBlock, InputMessage, Role};

/// A conversation that grows turn by turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The texts of the system prompt.
    pub system: Vec<String>,
    pub messages: Vec<InputMessage>,
}

impl Turns {
    /// Adds instructions: before the first message they belong to the system prompt.
    pub(super) fn instruct(&mut self, text: String) {
        match self.messages.is_empty() {
            true => self.system.push(text),
            false => self.push(Role::System, Content::Text(text)),
        }
    }

    /// Adds a message.
    pub(super) fn push(&mut self, role: Role, content: Content) {
        self.messages.push(InputMessage { role, content });
    }

    /// Adds a block of the model: all it says in one turn is one message.
    pub(super) fn says(&mut self, block: ContentBlock) {
        match self.messages.last_mut() {
            Some(InputMessage { role: Role::Assistant, content: Content::Blocks(blocks) }) => blocks.push(block),
            _ => self.push(Role::Assistant, Content::Blocks(vec![block])),
        }
    }

    /// Adds a tool's result: the results of one turn share a message.
    pub(super) fn result(&mut self, tool_use_id: String, content: Content) {
        let result = ContentBlock::ToolResult { tool_use_id, content: Some(content), is_error: false, extra: Map::new() };
        match self.messages.last_mut() {
            Some(InputMessage { role: Role::User, content: Content::Blocks(blocks) })
                if matches!(blocks.last(), Some(ContentBlock::ToolResult { .. })) =>
            {
                blocks.push(result);
            }
            _ => self.push(Role::User, Content::Blocks(vec![result])),
        }
    }

    /// Makes the last of the system texts the user's, if there is no message: OpenAI's clients may send instructions alone, and a
    /// Messages request needs a turn to answer.
    pub(super) fn answer_instructions(&mut self) {
        if self.messages.is_empty()
            && let Some(text) = self.system.pop()
        {
            self.push(Role::User, Content::Text(text));
        }
    }
}

/// The arguments of a past call. What is no object, such as those of a call that was cut, must not end the session: it becomes
/// the only argument. `field` names the arguments where that is said.
pub(super) fn arguments_object(arguments: &str, field: &str, omitted: &mut Omitted) -> Value {
    let arguments = Some(arguments.trim()).filter(|text| !text.is_empty()).unwrap_or("{}");
    serde_json::from_str::<Map<String, Value>>(arguments).map(Value::Object).unwrap_or_else(|_| {
        omitted.add(format!("{field} (no JSON object: kept as text)"));
        json!({ "arguments": arguments })
    })
}

/// The source of a picture or a file at a URL: a `data:` URL contains it, any other leads to it.
pub(super) fn source_at(url: &str) -> Value {
    match url.strip_prefix("data:") {
        Some(_) => embedded_source(url),
        None => json!({"type": "url", "url": url}),
    }
}

/// The source of a file that is in the request: as a `data:` URL, or as its base64 alone.
pub(super) fn embedded_source(data: &str) -> Value {
    let url = data.strip_prefix("data:").and_then(|rest| rest.split_once(','));
    let (head, data) = url.unwrap_or(("application/octet-stream", data));
    let media_type = head.split(';').next().unwrap_or_default();
    json!({"type": "base64", "media_type": media_type, "data": data})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_embedded_or_elsewhere() {
        let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "AA=="});
        assert_eq!(source_at("data:application/pdf;base64,AA=="), pdf);
        assert_eq!(embedded_source("data:application/pdf;name=a.pdf;base64,AA=="), pdf);
        let bare = json!({"type": "base64", "media_type": "application/octet-stream", "data": "JVBERi0="});
        assert_eq!(embedded_source("JVBERi0="), bare);
        assert_eq!(source_at("https://example.org/a.png"), json!({"type": "url", "url": "https://example.org/a.png"}));
    }

    #[test]
    fn cut_arguments_become_the_only_argument() {
        let mut omitted = Omitted::default();
        let mut object = |arguments: &str| arguments_object(arguments, "arguments", &mut omitted);
        assert_eq!(object(" {\"path\": \"a\"} "), json!({"path": "a"}));
        assert_eq!(object(""), json!({}));
        assert_eq!(object("{\"path\": \"a"), json!({"arguments": "{\"path\": \"a"}));
        assert_eq!(object("[]"), json!({"arguments": "[]"}));
        assert_eq!(omitted.to_string(), "arguments (no JSON object: kept as text)");
    }
}
