//! The items of a Responses conversation as messages.

use serde_json::{Map, Value};

use super::Omitted;
use super::responses_tools::{custom_arguments, model_name};
use super::stand_in::stand_in;
use super::turns::{ConversationBuilder, arguments_object, document, embedded_source, source_at};
use crate::wire::openai::responses::{InputItem, InputPart, ItemContent, ItemRole, TextPart};
use crate::wire::{Content, ContentBlock, Role};

/// Fields with which servers and clients keep account of items. A model could do nothing with them.
const BOOKKEEPING: [&str; 5] = ["id", "status", "phase", "annotations", "logprobs"];

/// Adds an item to the conversation.
///
/// # Errors
/// One sentence: the item refers to what OpenAI's servers keep.
pub(super) fn add_item(turns: &mut ConversationBuilder, item: InputItem, omitted: &mut Omitted) -> Result<(), String> {
    if item.other_type() == Some("item_reference") {
        return Err("nothing is kept between requests: send the item itself".into());
    }
    match item {
        InputItem::Message { role, content, extra } => {
            unread("message", extra, omitted);
            message(turns, role, content, omitted);
        }
        InputItem::FunctionCall { call_id, name, arguments, namespace, extra } => {
            unread("function_call", extra, omitted);
            let input = arguments_object(&arguments, "function_call.arguments", omitted);
            call(turns, call_id, model_name(namespace.as_deref(), &name), input);
        }
        InputItem::CustomToolCall { call_id, name, input, namespace, extra } => {
            unread("custom_tool_call", extra, omitted);
            call(turns, call_id, model_name(namespace.as_deref(), &name), custom_arguments(input));
        }
        InputItem::FunctionCallOutput { call_id, output, extra } | InputItem::CustomToolCallOutput { call_id, output, extra } => {
            unread("function_call_output", extra, omitted);
            turns.result(call_id, content(output, omitted));
        }
        InputItem::Reasoning { summary, content, extra } => {
            unread("reasoning", extra, omitted);
            let parts = if content.is_empty() { summary } else { content };
            let thinking = text(ItemContent::Parts(parts), omitted);
            if !thinking.is_empty() {
                turns.says(ContentBlock::Thinking { thinking, signature: String::new() });
            }
        }
        InputItem::Other(_) => omitted.add(format!("input.{}", item.other_type().unwrap_or_default())),
    }
    Ok(())
}

fn message(turns: &mut ConversationBuilder, role: ItemRole, content: ItemContent, omitted: &mut Omitted) {
    match role {
        ItemRole::System | ItemRole::Developer => turns.instruct(text(content, omitted)),
        ItemRole::User => turns.push(Role::User, self::content(content, omitted)),
        ItemRole::Assistant => {
            let text = text(content, omitted);
            if !text.is_empty() {
                turns.says(ContentBlock::text(text));
            }
        }
    }
}

fn call(turns: &mut ConversationBuilder, id: String, name: String, input: Value) {
    turns.says(ContentBlock::ToolUse { id, name, input, extra: Map::new() });
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
            Some(ContentBlock::Image { source: source_at(&url), extra: Map::new() })
        }
        InputPart::InputFile { file_data, file_url, filename, extra } if file_data.is_some() || file_url.is_some() => {
            unread("input_file", extra, omitted);
            let embedded = file_data.map(|data| embedded_source(&data));
            let source = embedded.or_else(|| file_url.map(|url| source_at(&url))).unwrap_or_default();
            Some(document(source, filename))
        }
        InputPart::InputImage { .. } | InputPart::InputFile { .. } => {
            omitted.add("a file kept at OpenAI (file_id)");
            Some(ContentBlock::text(stand_in(&document(Value::Null, None))))
        }
        InputPart::Other(fields) => Some(ContentBlock::Other(fields)),
    }
}
