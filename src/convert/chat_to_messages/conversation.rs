//! The messages of a chat request as messages of the Messages protocol.

use serde_json::{Map, Value};

use crate::convert::Omitted;
use crate::convert::stand_in::stand_in;
use crate::convert::turns::{ConversationBuilder, arguments_object, document, embedded_source, source_at};
use crate::wire::openai::{AssistantMessage, ChatContent, ChatFile, ChatMessage, ContentPart};
use crate::wire::{Content, ContentBlock, Role};

/// The conversation.
///
/// # Errors
/// One sentence that names the field: a call is in the form that OpenAI has given up.
pub(super) fn conversation(chat: Vec<ChatMessage>, omitted: &mut Omitted) -> Result<ConversationBuilder, String> {
    let mut turns = ConversationBuilder::default();
    for (at, message) in chat.into_iter().enumerate() {
        match message {
            ChatMessage::System { content, extra } | ChatMessage::Developer { content, extra } => {
                omitted.fields("system", &extra);
                turns.instruct(plain(content, omitted));
            }
            ChatMessage::User { content, extra } => {
                omitted.fields("user", &extra);
                let content = match content {
                    ChatContent::Text(text) => Content::Text(text),
                    ChatContent::Parts(parts) => {
                        Content::Blocks(parts.into_iter().filter_map(|part| block(part, omitted)).collect())
                    }
                };
                turns.push(Role::User, content);
            }
            ChatMessage::Assistant(message) => {
                let blocks = assistant(message, at, omitted)?;
                turns.push(Role::Assistant, Content::Blocks(blocks));
            }
            ChatMessage::Tool { tool_call_id, content, extra } => {
                omitted.fields("tool", &extra);
                turns.result(tool_call_id, result_content(content, omitted));
            }
        }
    }
    Ok(turns)
}

/// A tool's output: one text, or blocks if there is more than text in it.
fn result_content(content: ChatContent, omitted: &mut Omitted) -> Content {
    match content {
        ChatContent::Parts(parts) if parts.iter().any(|part| !matches!(part, ContentPart::Text { .. })) => {
            Content::Blocks(parts.into_iter().filter_map(|part| block(part, omitted)).collect())
        }
        content => Content::Text(plain(content, omitted)),
    }
}

fn assistant(message: AssistantMessage, at: usize, omitted: &mut Omitted) -> Result<Vec<ContentBlock>, String> {
    if message.extra.get("function_call").is_some_and(|call| !call.is_null()) {
        return Err(format!("messages.{at}.function_call: not supported: give the call in tool_calls"));
    }
    omitted.fields("assistant", &message.extra);
    let mut blocks = Vec::new();
    if let Some(thinking) = message.reasoning_content.or(message.reasoning).filter(|text| !text.is_empty()) {
        blocks.push(ContentBlock::Thinking { thinking, signature: String::new() });
    }
    let text = message.content.map(|content| plain(content, omitted)).unwrap_or_default();
    if !text.is_empty() {
        blocks.push(ContentBlock::text(text));
    }
    for call in message.tool_calls {
        omitted.unread("tool_calls", &call.extra, &["index"]);
        let input = arguments_object(&call.function.arguments, "tool_calls.function.arguments", omitted);
        blocks.push(ContentBlock::ToolUse { id: call.id, name: call.function.name, input, extra: Map::new() });
    }
    Ok(blocks)
}

/// A message's text, with stand-ins for other parts.
fn plain(content: ChatContent, omitted: &mut Omitted) -> String {
    match content {
        ChatContent::Text(text) => text,
        ChatContent::Parts(parts) => {
            let texts = parts.into_iter().map(|part| match part {
                ContentPart::Text { text, extra } => {
                    omitted.fields("text", &extra);
                    text
                }
                ContentPart::Refusal { refusal, extra } => {
                    omitted.fields("refusal", &extra);
                    refusal
                }
                ContentPart::ImageUrl { .. } => {
                    omitted.add("image_url outside a user's message");
                    stand_in(&ContentBlock::Image { source: Value::Null, extra: Map::new() })
                }
                ContentPart::File { file, .. } => {
                    omitted.add("file outside a user's message");
                    stand_in(&file_block(file))
                }
            });
            texts.collect::<Vec<_>>().join("\n\n")
        }
    }
}

fn block(part: ContentPart, omitted: &mut Omitted) -> Option<ContentBlock> {
    match part {
        ContentPart::Text { text, extra } => {
            Some(ContentBlock::Text { text, logprobs: Vec::new(), extra: breakpoint("text", extra, omitted) })
        }
        ContentPart::Refusal { refusal, extra } => {
            omitted.fields("refusal", &extra);
            Some(ContentBlock::text(refusal))
        }
        ContentPart::ImageUrl { image_url, extra } => {
            omitted.fields("image_url", &image_url.extra);
            Some(ContentBlock::Image { source: source_at(&image_url.url), extra: breakpoint("image_url", extra, omitted) })
        }
        ContentPart::File { file, extra } if file.file_data.is_none() => {
            omitted.fields("file", &extra);
            omitted.add("file without file_data");
            Some(ContentBlock::text(stand_in(&file_block(file))))
        }
        ContentPart::File { file, extra } => {
            omitted.fields("file", &extra);
            omitted.fields("file", &file.extra);
            Some(file_block(file))
        }
    }
}

/// The cache breakpoint among a part's further fields: some clients set them for Anthropic's models. The others are left out.
fn breakpoint(owner: &str, mut extra: Map<String, Value>, omitted: &mut Omitted) -> Map<String, Value> {
    let breakpoint = extra.remove_entry("cache_control");
    omitted.fields(owner, &extra);
    breakpoint.into_iter().collect()
}

fn file_block(ChatFile { filename, file_data, .. }: ChatFile) -> ContentBlock {
    document(file_data.map(|data| embedded_source(&data)).unwrap_or_default(), filename)
}
