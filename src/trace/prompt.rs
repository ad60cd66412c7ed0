//! A request as a prefix cache sees it.

use std::sync::Arc;

use serde_json::json;

use crate::refuse::check_as_anthropic;
use crate::wire::{Content, ContentBlock, InputMessage, MessagesRequest, Role, System, Tool, without_billing_header};

/// The parts of a request in the order of the prompt.
pub(crate) struct Prompt {
    /// Its session and number.
    pub name: String,
    pub items: Vec<Arc<PromptItem>>,
}

/// An item of one of a request's lists, or a whole request.
#[derive(Default)]
pub(crate) struct PromptItem {
    pub parts: Vec<PromptPart>,
    /// Whether a server takes it, going by itself alone.
    pub is_sound: bool,
    /// How many cache breakpoints are in it, at most.
    pub breakpoints: usize,
}

/// A tool, a system block or a content block of a request.
#[derive(Clone, Debug)]
pub(crate) struct PromptPart {
    pub kind: PartKind,
    /// What to call it in output, such as `message 1 (user), block 2`.
    pub label: String,
    pub text: String,
    /// The text's length.
    pub characters: usize,
}

/// What a part is, beside its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PartKind {
    Tool,
    System,
    Message(Role),
}

impl PromptPart {
    pub(crate) fn new(kind: PartKind, label: String, text: String) -> Self {
        let characters = text.chars().count();
        Self { kind, label, text, characters }
    }

    /// Whether a model sees the same. Labels do not count: a text and a list with this text alone are called otherwise.
    fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.kind == other.kind && self.text == other.text)
    }
}

impl Prompt {
    pub(crate) fn parts(&self) -> impl Iterator<Item = &PromptPart> {
        self.items.iter().flat_map(|item| &item.parts)
    }

    /// The first parts in which it differs from another; `None` if one only has more parts at its end.
    pub(crate) fn first_different<'a>(&'a self, other: &'a Self) -> Option<(&'a PromptPart, &'a PromptPart)> {
        self.parts().zip(other.parts()).find(|(a, b)| !a.is_same(b))
    }

    /// The label of the first part in which it differs from another; `None` if one only has more parts at its end.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<String> {
        self.first_different(other).map(|(part, _)| part.label.clone())
    }

    /// How many characters of parts it begins with that another begins with, too.
    pub(crate) fn characters_shared_with(&self, other: &Self) -> usize {
        self.parts().zip(other.parts()).take_while(|(a, b)| a.is_same(b)).map(|(part, _)| part.characters).sum()
    }

    /// How many bytes of text it begins with that it has in memory together with another.
    pub(crate) fn bytes_held_with(&self, other: &Self) -> usize {
        let held = self.items.iter().zip(&other.items).take_while(|(one, other)| Arc::ptr_eq(one, other));
        held.flat_map(|(item, _)| &item.parts).map(|part| part.text.len()).sum()
    }
}

impl PromptItem {
    /// A whole request.
    pub(crate) fn of_request(request: &MessagesRequest) -> Self {
        let mut parts: Vec<PromptPart> = request.tools.iter().map(of_tool).collect();
        match &request.system {
            None => {}
            Some(System::Text(text)) => parts.extend(of_system_text(text)),
            Some(System::Blocks(blocks)) => {
                parts.extend(blocks.iter().enumerate().filter_map(|(at, block)| of_system_block(at, block)));
            }
        }
        parts.extend(request.messages.iter().enumerate().flat_map(|(at, message)| of_message(at, message)));
        Self { parts, is_sound: true, breakpoints: 0 }
    }

    /// The item at this place of a list of a request's body. What a server would refuse is not sound.
    ///
    /// # Errors
    /// It is no JSON.
    pub(crate) fn read(list: &str, at: usize, json: &[u8]) -> serde_json::Result<Self> {
        // Whether citations are possible depends on other fields.
        let depends_on_others = memchr::memmem::find(json, b"\"citations\"").is_some();
        let breakpoints = memchr::memmem::find_iter(json, b"\"cache_control\"").count();
        let request: MessagesRequest = match serde_json::from_slice(&request_with(list, json)) {
            Ok(request) => request,
            Err(error) if error.is_data() => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        if check_as_anthropic(&request).is_err() {
            return Ok(Self::default());
        }
        let parts = match (list, &request.system) {
            ("tools", _) => request.tools.iter().map(of_tool).collect(),
            ("system", Some(System::Blocks(blocks))) => blocks.iter().filter_map(|block| of_system_block(at, block)).collect(),
            ("messages", _) => of_message(at, &request.messages[0]),
            _ => return Ok(Self::default()),
        };
        Ok(Self { parts, is_sound: !depends_on_others, breakpoints })
    }
}

/// The JSON of a request with this item of a list, and else only what every request has.
fn request_with(list: &str, item: &[u8]) -> Vec<u8> {
    const BEGIN: &[u8] = br#"{"model":"-","max_tokens":1,"messages":["#;
    const MESSAGE: &[u8] = br#"{"role":"user","content":"-"}]"#;
    match list {
        // In front, since the last message may be what others may not.
        "messages" => [BEGIN, item, b",", MESSAGE, b"}"].concat(),
        _ => [BEGIN, MESSAGE, b",\"", list.as_bytes(), b"\":[", item, b"]}"].concat(),
    }
}

fn of_tool(tool: &Tool) -> PromptPart {
    let text = json!([tool.name, tool.description, tool.input_schema]).to_string();
    PromptPart::new(PartKind::Tool, format!("tool {}", tool.name), text)
}

/// A system prompt that is no list.
pub(crate) fn of_system_text(text: &str) -> Option<PromptPart> {
    instruction(PartKind::System, "system".into(), text)
}

fn of_system_block(at: usize, block: &ContentBlock) -> Option<PromptPart> {
    instruction(PartKind::System, format!("system block {}", at + 1), &text(block))
}

/// Makes a part of a kind, with its label and text.
type MakePart = fn(PartKind, String, &str) -> Option<PromptPart>;

fn of_message(at: usize, message: &InputMessage) -> Vec<PromptPart> {
    let (role, part): (_, MakePart) = match message.role {
        Role::User => ("user", said),
        Role::Assistant => ("assistant", said),
        Role::System => ("system", instruction),
    };
    let (kind, label) = (PartKind::Message(message.role), format!("message {} ({role})", at + 1));
    match &message.content {
        Content::Text(text) => part(kind, label, text).into_iter().collect(),
        Content::Blocks(blocks) => {
            let blocks = blocks.iter().map(text).enumerate();
            blocks.filter_map(|(at, text)| part(kind, format!("{label}, block {}", at + 1), &text)).collect()
        }
    }
}

/// A part of the conversation.
fn said(kind: PartKind, label: String, text: &str) -> Option<PromptPart> {
    Some(PromptPart::new(kind, label, text.to_owned()))
}

/// A part of the system prompt or of a system message, unless it holds nothing but the billing header.
fn instruction(kind: PartKind, label: String, text: &str) -> Option<PromptPart> {
    said(kind, label, &without_billing_header(text)?)
}

/// A content block as the text that the model sees.
fn text(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text { text, .. } => text.clone(),
        ContentBlock::Thinking { thinking, .. } => thinking.clone(),
        ContentBlock::ToolUse { name, input, .. } => json!([name, input]).to_string(),
        ContentBlock::ToolResult { content: Some(Content::Text(text)), .. } => text.clone(),
        ContentBlock::ToolResult { content: Some(Content::Blocks(blocks)), .. } => blocks.iter().map(text).collect(),
        ContentBlock::ToolResult { content: None, .. } | ContentBlock::RedactedThinking { .. } => String::new(),
        ContentBlock::Image { source, .. } | ContentBlock::Document { source, .. } => source.to_string(),
        ContentBlock::ToolReference { tool_name, .. } => tool_name.clone(),
        ContentBlock::ToolAddition { tool, .. } | ContentBlock::ToolRemoval { tool, .. } => tool.to_string(),
        ContentBlock::Other(fields) => json!(fields).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::wire::BILLING_HEADER;

    #[test]
    fn an_item_alone_is_sound_if_a_server_takes_it() {
        let sound = |list: &str, item: Value| PromptItem::read(list, 0, item.to_string().as_bytes()).unwrap().is_sound;
        let says = |role: &str, text: &str| json!({"role": role, "content": text});
        assert!(sound("messages", says("user", "Hi")) && sound("messages", says("assistant", "Hi ")));
        assert!(!sound("messages", says("user", "")) && !sound("messages", json!(7)));
        assert!(sound("tools", json!({"name": "Read", "input_schema": {"type": "object"}})));
        assert!(!sound("tools", json!({"name": "bad name!", "input_schema": {"type": "object"}})));
        assert!(sound("system", json!({"type": "text", "text": "Help."})) && !sound("system", json!({"type": "text"})));
        assert!(!sound("input", says("user", "Hi")));
        assert!(PromptItem::read("messages", 0, b"{\"role\"").is_err());
    }

    #[test]
    fn the_billing_header_is_no_part_wherever_it_stands() {
        let header = format!("{BILLING_HEADER} cch=1;");
        let labels_and_texts = |system: Value| {
            let messages = json!([{"role": "system", "content": format!("A\n{header}")}, {"role": "user", "content": header}]);
            let request = json!({"model": "m", "max_tokens": 9, "system": system, "messages": messages});
            let request: MessagesRequest = serde_json::from_value(request).unwrap();
            PromptItem::of_request(&request)
                .parts
                .into_iter()
                .map(|part| format!("{}: {}", part.label, part.text.trim_end()))
                .collect::<Vec<_>>()
        };
        let said = ["message 1 (system): A".to_owned(), format!("message 2 (user): {header}")];
        let with = |system: &str| [vec![system.to_owned()], said.to_vec()].concat();
        assert_eq!(labels_and_texts(json!(header)), said);
        assert_eq!(labels_and_texts(json!(format!("{header} B"))), with("system: B"));
        let blocks = json!([{"type": "text", "text": header}, {"type": "text", "text": "B"}]);
        assert_eq!(labels_and_texts(blocks), with("system block 2: B"));
    }

    #[test]
    fn a_text_is_the_same_as_a_list_with_it_alone() {
        let prompt = |content: Value| {
            let messages = json!([{"role": "user", "content": content}, {"role": "system", "content": "B"}]);
            let request = json!({"model": "m", "max_tokens": 9, "messages": messages});
            let items = vec![Arc::new(PromptItem::of_request(&serde_json::from_value(request).unwrap()))];
            Prompt { name: String::new(), items }
        };
        let (text, list) = (prompt(json!("A")), prompt(json!([{"type": "text", "text": "A"}])));
        assert_eq!((text.first_difference(&list), text.characters_shared_with(&list)), (None, 2));
        let other = prompt(json!("a"));
        assert_eq!(
            (text.first_difference(&other).as_deref(), other.characters_shared_with(&text)),
            (Some("message 1 (user)"), 0)
        );
    }
}
