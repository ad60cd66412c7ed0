//! A conversation of OpenAI's protocols on its way to the Messages protocol.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::Omitted;
use crate::wire::{Content, ContentBlock, InputMessage, Role, from_json};

/// How a PDF begins in base64.
const PDF: &str = "JVBERi";

/// The media type of data of unknown type.
const UNKNOWN: &str = "application/octet-stream";

/// A conversation that grows turn by turn.
#[derive(Debug, Default)]
pub(super) struct ConversationBuilder {
    /// The texts of the system prompt.
    pub system: Vec<String>,
    pub messages: Vec<InputMessage>,
}

impl ConversationBuilder {
    /// Adds instructions: before the first message they belong to the system prompt.
    pub(super) fn instruct(&mut self, text: String) {
        match self.messages.is_empty() {
            true => self.system.push(text),
            false => self.push(Role::System, Content::Text(text)),
        }
    }

    /// Adds a message.
    pub(super) fn push(&mut self, role: Role, content: Content) {
        self.messages.push(InputMessage::new(role, content));
    }

    /// Adds a block of the model: all it says in one turn is one message.
    pub(super) fn says(&mut self, block: ContentBlock) {
        match self.messages.last_mut() {
            Some(InputMessage { role: Role::Assistant, content: Content::Blocks(blocks), .. }) => blocks.push(block),
            _ => self.push(Role::Assistant, Content::Blocks(vec![block])),
        }
    }

    /// Adds a tool's result: the results of one turn share a message.
    pub(super) fn result(&mut self, tool_use_id: String, content: Content) {
        let result = ContentBlock::ToolResult { tool_use_id, content: Some(content), is_error: false, extra: Map::new() };
        match self.messages.last_mut() {
            Some(InputMessage { role: Role::User, content: Content::Blocks(blocks), .. })
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

/// The arguments of a past call. Those that are no object, such as those of a call that was cut, must not end the conversation:
/// they become the only argument. `field` names the arguments where that is said.
pub(super) fn arguments_object(arguments: &str, field: &str, omitted: &mut Omitted) -> Value {
    let arguments = Some(arguments.trim()).filter(|text| !text.is_empty()).unwrap_or("{}");
    from_json::<Map<String, Value>>(arguments.as_bytes()).map(Value::Object).unwrap_or_else(|_| {
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

/// A file. Without a source, it is only named.
pub(super) fn document(source: Value, filename: Option<String>) -> ContentBlock {
    let title = filename.map(|name| ("title".to_owned(), Value::String(name)));
    ContentBlock::Document { source, extra: title.into_iter().collect() }
}

/// The source of a file that is in the request: as a `data:` URL, or as its base64 alone.
pub(super) fn embedded_source(data: &str) -> Value {
    let Some((head, data)) = data.strip_prefix("data:").and_then(|rest| rest.split_once(',')) else {
        let media_type = if data.starts_with(PDF) { "application/pdf" } else { UNKNOWN };
        return json!({"type": "base64", "media_type": media_type, "data": data});
    };
    let media_type = head.split(';').next().filter(|name| !name.is_empty()).unwrap_or("text/plain");
    match head.ends_with(";base64") {
        true => json!({"type": "base64", "media_type": media_type, "data": data}),
        false => json!({"type": "text", "media_type": media_type, "data": percent_decode_str(data).decode_utf8_lossy()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_embedded_or_elsewhere() {
        let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "AA=="});
        assert_eq!(source_at("data:application/pdf;base64,AA=="), pdf);
        assert_eq!(embedded_source("data:application/pdf;name=a.pdf;base64,AA=="), pdf);
        let bare = |media_type: &str, data: &str| json!({"type": "base64", "media_type": media_type, "data": data});
        assert_eq!(embedded_source("JVBERi0="), bare("application/pdf", "JVBERi0="));
        assert_eq!(embedded_source("AAAA"), bare("application/octet-stream", "AAAA"));
        let text = json!({"type": "text", "media_type": "text/plain", "data": "hello world"});
        assert_eq!([source_at("data:,hello%20world"), source_at("data:text/plain,hello%20world")], [text.clone(), text]);
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
        assert_eq!(object(r#"{"a": "\ud83d"}"#), json!({"a": "\u{fffd}"}));
        assert_eq!(omitted.to_string(), "arguments (no JSON object: kept as text)");
    }
}
