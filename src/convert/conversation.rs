//! Converting the system prompt and the messages of a Messages request to chat messages.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::pictures::NOT_SHOWN;
use super::stand_in::{self, stand_in};
use super::{Dialect, Omitted};
use crate::wire::openai::{
    AssistantMessage, CallKind, ChatContent, ChatFile, ChatMessage, ChatToolCall, ContentPart, FunctionCall, ImageUrl,
};
use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, Role, System, ToolChange, reminder};

/// The chat messages converted so far.
pub(crate) struct Conversation<'a> {
    dialect: Dialect,
    omitted: &'a mut Omitted,
    messages: Vec<ChatMessage>,
}

impl<'a> Conversation<'a> {
    /// Converts the request's system prompt and messages. What has no counterpart is added to `omitted`.
    pub(crate) fn of(request: &MessagesRequest, dialect: Dialect, omitted: &'a mut Omitted) -> Vec<ChatMessage> {
        let mut conversation = Self { dialect, omitted, messages: Vec::new() };
        conversation.system(request.system.as_ref());
        for message in &request.messages {
            conversation.message(message);
        }
        conversation.messages
    }

    fn system(&mut self, system: Option<&System>) {
        if let Some(System::Blocks(blocks)) = system {
            for block in blocks {
                match block {
                    ContentBlock::Text { extra, .. } => self.omitted.fields("text", extra),
                    other => self.omitted.add(format!("system.{}", other.kind())),
                }
            }
        }
        let text = system.map(System::text).unwrap_or_default();
        if !text.is_empty() {
            self.messages.push(ChatMessage::System { content: text.into(), extra: Map::new() });
        }
    }

    fn message(&mut self, message: &InputMessage) {
        let blocks = &*message.blocks();
        self.omitted.unread("messages", &message.extra, &["output_config"]);
        if let Some(config) = message.extra.get("output_config").and_then(Value::as_object) {
            self.omitted.unread("messages.output_config", config, &["effort"]);
        }
        match message.role {
            Role::Assistant => self.assistant(blocks),
            Role::User => self.user(blocks),
            Role::System if self.dialect.takes_late_system() => {
                let text = texts(&self.parts("system", blocks)).join("\n\n");
                // A message that only changes settings has no text.
                if !text.is_empty() {
                    self.messages.push(ChatMessage::System { content: text.into(), extra: Map::new() });
                }
            }
            Role::System => {
                let mut parts = self.parts("system", blocks);
                // A message that only changes settings has no text.
                parts.retain(|part| !matches!(part, ContentPart::Text { text, .. } if text.is_empty()));
                for part in &mut parts {
                    if let ContentPart::Text { text, .. } = part {
                        *text = reminder(text);
                    }
                }
                self.add_user_parts(parts);
            }
        }
    }

    /// Adds one message for all blocks: the results of its calls must follow it directly. So text between calls joins the text
    /// before them.
    fn assistant(&mut self, blocks: &[ContentBlock]) {
        let (mut texts, mut reasoning, mut calls) = (Vec::new(), Vec::new(), Vec::new());
        for block in blocks {
            match block {
                ContentBlock::Text { text, extra, .. } => {
                    self.omitted.fields("text", extra);
                    texts.push(Cow::from(text));
                }
                ContentBlock::Thinking { thinking, .. } => reasoning.push(thinking.as_str()),
                ContentBlock::ToolUse { id, name, input, extra } => {
                    self.omitted.fields("tool_use", extra);
                    let function = FunctionCall { name: name.clone(), arguments: input.to_string() };
                    calls.push(ChatToolCall { id: id.clone(), kind: CallKind::Function, function, extra: Map::new() });
                }
                other => {
                    self.omitted.add(format!("assistant.{}", other.kind()));
                    texts.push(stand_in(other).into());
                }
            }
        }
        texts.retain(|text| !text.is_empty());
        let text = texts.join("\n\n");
        // A message of calls alone has `null` content, as servers themselves write it.
        let content = (calls.is_empty() || !text.is_empty()).then_some(ChatContent::Text(text));
        let mut message = AssistantMessage { content, tool_calls: calls, ..AssistantMessage::default() };
        let reasoning = (!reasoning.is_empty()).then(|| reasoning.join("\n\n"));
        match self.dialect {
            Dialect::LmStudio | Dialect::Compatible => message.reasoning_content = reasoning,
            Dialect::OpenRouter => message.reasoning = reasoning,
            Dialect::OpenAi if reasoning.is_some() => self.omitted.add("assistant.thinking"),
            Dialect::OpenAi => {}
        }
        self.messages.push(ChatMessage::Assistant(message));
    }

    /// Adds first the results of tool calls, which must follow the calls, then the user's own content. Results are text only, so
    /// their images and files go into the user's message.
    fn user(&mut self, blocks: &[ContentBlock]) {
        let mut parts = Vec::new();
        let mut own = Vec::new();
        for block in blocks {
            match block {
                ContentBlock::ToolResult { tool_use_id, content, is_error, extra } => {
                    self.omitted.fields("tool_result", extra);
                    self.result(tool_use_id, content.as_ref(), *is_error, &mut parts);
                }
                other => own.push(other),
            }
        }
        self.order_results();
        parts.extend(own.into_iter().filter_map(|block| self.part("user", block)));
        self.add_user_parts(parts);
    }

    /// Sorts the latest results into the order of their calls. Clients send results in the order in which tools finish, and many
    /// chat templates show them to the model without their ids.
    fn order_results(&mut self) {
        let is_result = |message: &ChatMessage| matches!(message, ChatMessage::Tool { .. });
        let start = self.messages.iter().rposition(|message| !is_result(message)).map_or(0, |at| at + 1);
        let (before, results) = self.messages.split_at_mut(start);
        let Some(ChatMessage::Assistant(AssistantMessage { tool_calls, .. })) = before.last() else { return };
        results.sort_by_key(|message| match message {
            ChatMessage::Tool { tool_call_id, .. } => tool_calls.iter().position(|call| call.id == *tool_call_id),
            _ => None,
        });
    }

    /// Adds the message for a tool result. Its images and files are appended to `shown`, for the user's message.
    fn result(&mut self, id: &str, content: Option<&Content>, is_error: bool, shown: &mut Vec<ContentPart>) {
        let mut result = match content {
            None => Vec::new(),
            Some(Content::Text(text)) => vec![ContentPart::text(text)],
            Some(Content::Blocks(blocks)) => self.parts("tool_result", blocks),
        };
        let mut media: Vec<ContentPart> = Vec::new();
        for part in &mut result {
            if !matches!(part, ContentPart::Text { .. }) {
                media.push(std::mem::replace(part, ContentPart::text("[shown in the next message]")));
            }
        }
        let prefix = if is_error { "Error: " } else { "" };
        let content = ChatContent::Text(format!("{prefix}{}", texts(&result).join("\n")));
        self.messages.push(ChatMessage::Tool { tool_call_id: id.to_owned(), content, extra: Map::new() });
        if !media.is_empty() {
            shown.push(ContentPart::text(format!("[from the result of {id}]")));
            shown.append(&mut media);
        }
    }

    /// Adds parts to the user's message, or starts one. Two user messages in a row are joined: many chat templates require the
    /// roles to alternate.
    fn add_user_parts(&mut self, mut parts: Vec<ContentPart>) {
        if parts.is_empty() {
            return;
        }
        if let Some(ChatMessage::User { content, .. }) = self.messages.last_mut() {
            let before = std::mem::replace(content, ChatContent::Text(String::new()));
            let mut all = match before {
                ChatContent::Text(text) => vec![ContentPart::text(text)],
                ChatContent::Parts(parts) => parts,
            };
            all.append(&mut parts);
            *content = joined(all);
        } else {
            self.messages.push(ChatMessage::User { content: joined(parts), extra: Map::new() });
        }
    }

    fn parts(&mut self, owner: &str, blocks: &[ContentBlock]) -> Vec<ContentPart> {
        blocks.iter().filter_map(|block| self.part(owner, block)).collect()
    }

    /// A content block as a content part. A note to the model replaces what the server does not accept.
    fn part(&mut self, owner: &str, block: &ContentBlock) -> Option<ContentPart> {
        match block {
            ContentBlock::Text { text, extra, .. } => {
                self.omitted.fields("text", extra);
                Some(ContentPart::text(text))
            }
            ContentBlock::Image { source, extra } => {
                self.omitted.fields("image", extra);
                let url = url_of(source);
                Some(url.map_or_else(
                    || {
                        self.omitted.add(format!("{owner}.image"));
                        ContentPart::text(NOT_SHOWN)
                    },
                    |url| ContentPart::ImageUrl { image_url: ImageUrl { url, extra: Map::new() }, extra: Map::new() },
                ))
            }
            ContentBlock::Document { source, extra } => Some(self.document(owner, source, extra)),
            other => {
                let text = match ToolChange::of(other) {
                    // The request's tools include the tool itself.
                    Some(ToolChange::Found(name)) => format!("The tool {name} can be called now."),
                    Some(ToolChange::Defined(tool)) => format!("The tool {} can be called now.", tool.name),
                    Some(ToolChange::Removed(name)) => format!("The tool {name} is gone."),
                    None => {
                        self.omitted.add(format!("{owner}.{}", other.kind()));
                        stand_in(other)
                    }
                };
                (!text.is_empty()).then(|| ContentPart::text(text))
            }
        }
    }

    fn document(&mut self, owner: &str, source: &Value, extra: &Map<String, Value>) -> ContentPart {
        let mut unread = extra.clone();
        let title = unread.shift_remove("title");
        match (source["type"].as_str(), source["data"].as_str()) {
            (Some("text" | "content"), _) => {
                unread.shift_remove("context");
                self.omitted.fields("document", &unread);
                ContentPart::text(stand_in::document(source, extra))
            }
            (Some("base64"), Some(_)) if self.dialect.takes_files() => {
                self.omitted.fields("document", &unread);
                let filename = title.as_ref().and_then(Value::as_str).unwrap_or("document").to_owned();
                let file = ChatFile { filename: Some(filename), file_data: url_of(source), extra: Map::new() };
                ContentPart::File { file, extra: Map::new() }
            }
            _ => {
                self.omitted.add(format!("{owner}.document"));
                ContentPart::text(stand_in::document(source, extra))
            }
        }
    }
}

/// The URL of an image or a file: its own, or a `data:` URL that contains it.
fn url_of(source: &Value) -> Option<String> {
    match source["type"].as_str()? {
        "url" => source["url"].as_str().map(str::to_owned),
        "base64" => Some(format!("data:{};base64,{}", source["media_type"].as_str()?, source["data"].as_str()?)),
        _ => None,
    }
}

fn texts(parts: &[ContentPart]) -> Vec<&str> {
    let texts = parts.iter().filter_map(|part| match part {
        ContentPart::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// Parts as content. Text alone becomes one string, which every server accepts.
pub(super) fn joined(parts: Vec<ContentPart>) -> ChatContent {
    let texts = texts(&parts);
    if texts.len() == parts.len() { ChatContent::Text(texts.join("\n\n")) } else { ChatContent::Parts(parts) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn convert(messages: Value, dialect: Dialect) -> (Value, String) {
        let request = json!({"model": "m", "max_tokens": 1, "messages": messages});
        let mut omitted = Omitted::default();
        let messages = Conversation::of(&serde_json::from_value(request).unwrap(), dialect, &mut omitted);
        (serde_json::to_value(messages).unwrap(), omitted.to_string())
    }

    fn image(data: &str) -> Value {
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})
    }

    #[test]
    fn a_turn_with_parallel_calls_keeps_its_meaning() {
        let (chat, omitted) = convert(
            json!([
                {"role": "user", "content": "Read both."},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "Two files.", "signature": "s"},
                    {"type": "text", "text": "Reading."},
                    {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a"}},
                    {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "no file"}], "is_error": true},
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "A"},
                    {"type": "text", "text": "Go on.", "cache_control": {"type": "ephemeral"}}]},
            ]),
            Dialect::LmStudio,
        );
        assert_eq!(
            chat,
            json!([
                {"role": "user", "content": "Read both."},
                {"role": "assistant", "content": "Reading.", "reasoning_content": "Two files.", "tool_calls": [
                    {"id": "toolu_1", "type": "function", "function": {"name": "Read", "arguments": "{\"path\":\"a\"}"}},
                    {"id": "toolu_2", "type": "function", "function": {"name": "Read", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "A"},
                {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no file"},
                {"role": "user", "content": "Go on."},
            ])
        );
        assert_eq!(omitted, "cache_control");
    }

    #[test]
    fn images_of_results_are_shown_after_the_last_result() {
        let (chat, _) = convert(
            json!([{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a picture:"}, image("AA==")]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "plain"},
                image("BB=="),
                {"type": "image", "source": {"type": "url", "url": "https://example.org/c.png"}},
            ]}]),
            Dialect::OpenAi,
        );
        assert_eq!(
            chat,
            json!([
                {"role": "tool", "tool_call_id": "t1", "content": "a picture:\n[shown in the next message]"},
                {"role": "tool", "tool_call_id": "t2", "content": "plain"},
                {"role": "user", "content": [
                    {"type": "text", "text": "[from the result of t1]"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,BB=="}},
                    {"type": "image_url", "image_url": {"url": "https://example.org/c.png"}}]},
            ])
        );
    }

    #[test]
    fn each_dialect_gets_what_it_takes() {
        let pdf = json!({"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}});
        let messages = json!([
            {"role": "user", "content": [{"type": "text", "text": "Hi."}, pdf]},
            {"role": "system", "content": "Agents: none."},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": ""}, {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "Ho."}]},
        ]);
        let (local, omitted) = convert(messages.clone(), Dialect::Compatible);
        assert_eq!(
            local,
            json!([
                {"role": "user", "content": "Hi.\n\n[a.pdf (application/pdf, 1 KB), which this model cannot read]\n\n<system-reminder>\nAgents: none.\n</system-reminder>"},
                {"role": "assistant", "content": "Ho.", "reasoning_content": "Hm."},
            ])
        );
        assert_eq!(omitted, "assistant.redacted_thinking, user.document");
        let (openai, omitted) = convert(messages.clone(), Dialect::OpenAi);
        let file = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}});
        assert_eq!(openai[0]["content"][1], file);
        assert_eq!(openai[1], json!({"role": "system", "content": "Agents: none."}));
        assert_eq!(openai[2], json!({"role": "assistant", "content": "Ho."}));
        assert_eq!(omitted, "assistant.redacted_thinking, assistant.thinking");
        assert_eq!(convert(messages, Dialect::OpenRouter).0[2]["reasoning"], "Hm.");
    }

    #[test]
    fn a_system_message_without_text_is_none() {
        let header = "x-anthropic-billing-header: cc_version=1; cch=ab12;";
        let messages = json!([{"role": "user", "content": "Hi"}, {"role": "system", "output_config": {"effort": "low"}},
            {"role": "system", "content": header}, {"role": "system", "content": format!("{header} Be brief.")}]);
        let (chat, _) = convert(messages, Dialect::OpenAi);
        assert_eq!(chat, json!([{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}]));
    }

    #[test]
    fn a_document_that_is_text_keeps_its_title_and_context() {
        let source = json!({"type": "content", "content": [{"type": "text", "text": "A"}]});
        let document =
            json!({"type": "document", "title": "a.md", "context": "A draft.", "citations": {"enabled": true}, "source": source});
        let (chat, omitted) = convert(json!([{"role": "user", "content": [document]}]), Dialect::Compatible);
        assert_eq!(chat, json!([{"role": "user", "content": "A draft.\na.md:\nA"}]));
        assert_eq!(omitted, "document.citations");
    }

    #[test]
    fn an_answer_of_calls_alone_has_no_text() {
        let call = json!({"type": "tool_use", "id": "t", "name": "List", "input": {}});
        let (chat, _) = convert(json!([{"role": "assistant", "content": [call]}]), Dialect::OpenAi);
        assert_eq!(chat[0]["content"], Value::Null);
    }
}
