//! The items of a Responses conversation as messages.

use serde_json::{Map, Value, json};

use super::Omitted;
use super::responses_tools::{custom_arguments, model_name};
use crate::wire::openai::responses::{InputItem, InputPart, ItemContent, ItemRole, TextPart};
use crate::wire::{Content, ContentBlock, InputMessage, Role};

/// Fields with which servers and clients keep account of items. A model could do nothing with them.
const BOOKKEEPING: [&str; 5] = ["id", "status", "phase", "annotations", "logprobs"];

/// A conversation that grows item by item.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The texts of the system prompt.
    pub system: Vec<String>,
    pub messages: Vec<InputMessage>,
}

impl Turns {
    /// Adds an item.
    ///
    /// # Errors
    /// One sentence: the item refers to what OpenAI's servers keep.
    pub(super) fn add(&mut self, item: InputItem, omitted: &mut Omitted) -> Result<(), String> {
        if item.other_type() == Some("item_reference") {
            return Err("nothing is kept between requests: send the item itself".into());
        }
        match item {
            InputItem::Message { role, content, extra } => {
                unread("message", extra, omitted);
                self.message(role, content, omitted);
            }
            InputItem::FunctionCall { call_id, name, arguments, namespace, extra } => {
                unread("function_call", extra, omitted);
                let input = arguments_object(&arguments, omitted);
                self.call(call_id, model_name(namespace.as_deref(), &name), input);
            }
            InputItem::CustomToolCall { call_id, name, input, namespace, extra } => {
                unread("custom_tool_call", extra, omitted);
                self.call(call_id, model_name(namespace.as_deref(), &name), custom_arguments(input));
            }
            InputItem::FunctionCallOutput { call_id, output, extra }
            | InputItem::CustomToolCallOutput { call_id, output, extra } => {
                unread("function_call_output", extra, omitted);
                let content = Some(content(output, omitted));
                let result = ContentBlock::ToolResult { tool_use_id: call_id, content, is_error: false, extra: Map::new() };
                self.result(result);
            }
            InputItem::Reasoning { summary, content, extra } => {
                unread("reasoning", extra, omitted);
                let parts = if content.is_empty() { summary } else { content };
                let thinking = text(ItemContent::Parts(parts), omitted);
                if !thinking.is_empty() {
                    self.says(ContentBlock::Thinking { thinking, signature: String::new() });
                }
            }
            InputItem::Other(_) => omitted.add(format!("input.{}", item.other_type().unwrap_or_default())),
        }
        Ok(())
    }

    fn message(&mut self, role: ItemRole, content: ItemContent, omitted: &mut Omitted) {
        match role {
            ItemRole::System | ItemRole::Developer if self.messages.is_empty() => self.system.push(text(content, omitted)),
            ItemRole::System | ItemRole::Developer => {
                self.messages.push(InputMessage { role: Role::System, content: Content::Text(text(content, omitted)) });
            }
            ItemRole::User => {
                let content = self::content(content, omitted);
                self.messages.push(InputMessage { role: Role::User, content });
            }
            ItemRole::Assistant => {
                let text = text(content, omitted);
                if !text.is_empty() {
                    self.says(ContentBlock::text(text));
                }
            }
        }
    }

    fn call(&mut self, id: String, name: String, input: Value) {
        self.says(ContentBlock::ToolUse { id, name, input, extra: Map::new() });
    }

    /// Adds a block of the model: all it says in one turn is one message.
    fn says(&mut self, block: ContentBlock) {
        match self.messages.last_mut() {
            Some(InputMessage { role: Role::Assistant, content: Content::Blocks(blocks) }) => blocks.push(block),
            _ => self.messages.push(InputMessage { role: Role::Assistant, content: Content::Blocks(vec![block]) }),
        }
    }

    /// Adds a tool result: the results of one turn share a message.
    fn result(&mut self, result: ContentBlock) {
        match self.messages.last_mut() {
            Some(InputMessage { role: Role::User, content: Content::Blocks(blocks) })
                if matches!(blocks.last(), Some(ContentBlock::ToolResult { .. })) =>
            {
                blocks.push(result);
            }
            _ => self.messages.push(InputMessage { role: Role::User, content: Content::Blocks(vec![result]) }),
        }
    }
}

/// The arguments of a past call. What is no object, such as those of a call that was cut, must not end the session: it becomes
/// the only argument.
fn arguments_object(arguments: &str, omitted: &mut Omitted) -> Value {
    let arguments = Some(arguments.trim()).filter(|text| !text.is_empty()).unwrap_or("{}");
    serde_json::from_str::<Map<String, Value>>(arguments).map(Value::Object).unwrap_or_else(|_| {
        omitted.add("function_call.arguments (no JSON object: kept as text)");
        json!({ "arguments": arguments })
    })
}

/// Adds the names of the fields that nobody reads.
fn unread(owner: &str, mut extra: Map<String, Value>, omitted: &mut Omitted) {
    extra.retain(|name, value| !BOOKKEEPING.contains(&name.as_str()) && !value.is_null());
    omitted.fields(owner, &extra);
}

/// A content's text. Other parts are left out.
fn text(content: ItemContent, omitted: &mut Omitted) -> String {
    match content {
        ItemContent::Text(text) => text,
        ItemContent::Parts(parts) => {
            let texts = parts.into_iter().filter_map(|part| match block(part, omitted)? {
                ContentBlock::Text { text, .. } => Some(text),
                other => {
                    omitted.add(format!("{} outside a user's message", other.kind()));
                    None
                }
            });
            texts.collect::<Vec<_>>().join("\n\n")
        }
    }
}

fn content(content: ItemContent, omitted: &mut Omitted) -> Content {
    match content {
        ItemContent::Text(text) => Content::Text(text),
        ItemContent::Parts(parts) => Content::Blocks(parts.into_iter().filter_map(|part| block(part, omitted)).collect()),
    }
}

fn block(part: InputPart, omitted: &mut Omitted) -> Option<ContentBlock> {
    match part {
        InputPart::InputText(TextPart { text, extra })
        | InputPart::OutputText(TextPart { text, extra })
        | InputPart::SummaryText(TextPart { text, extra })
        | InputPart::ReasoningText(TextPart { text, extra })
        | InputPart::Text(TextPart { text, extra }) => {
            unread("text", extra, omitted);
            Some(ContentBlock::text(text))
        }
        InputPart::Refusal { refusal } => Some(ContentBlock::text(refusal)),
        InputPart::InputImage { image_url: Some(url), extra } => {
            unread("input_image", extra, omitted);
            Some(ContentBlock::Image { source: super::chat_to_messages::source(&url), extra: Map::new() })
        }
        InputPart::InputFile { file_data, file_url, filename, extra } if file_data.is_some() || file_url.is_some() => {
            unread("input_file", extra, omitted);
            let source = super::chat_to_messages::source(&file_data.or(file_url).unwrap_or_default());
            let title = filename.map(|name| ("title".to_owned(), Value::String(name)));
            Some(ContentBlock::Document { source, extra: title.into_iter().collect() })
        }
        InputPart::InputImage { .. } | InputPart::InputFile { .. } => {
            omitted.add("a file kept at OpenAI (file_id)");
            None
        }
        InputPart::Other(fields) => Some(ContentBlock::Other(fields)),
    }
}
