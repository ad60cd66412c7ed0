//! Content blocks as the items of a response.

use serde_json::{Map, Value};

use super::responses_tools::{ClientName, ClientNames, ToolKind, custom_input};
use crate::wire::openai::responses::{ItemStatus, OutputItem, OutputPart};
use crate::wire::{ContentBlock, TokenLogprob};

/// The item that a content block becomes, before anything of it is said. `None` for blocks that clients could not show. `number`
/// makes its id: ids are unique as numbers are.
pub(super) fn announced(block: &ContentBlock, number: &str, names: &ClientNames) -> Option<OutputItem> {
    let (id, status) = (|kind: &str| format!("{kind}_{number}"), ItemStatus::InProgress);
    Some(match block {
        ContentBlock::Text { .. } => OutputItem::Message { id: id("msg"), status, role: "assistant".into(), content: Vec::new() },
        ContentBlock::Thinking { .. } => OutputItem::Reasoning { id: id("rs"), status, summary: Vec::new(), content: Vec::new() },
        ContentBlock::ToolUse { id: call_id, name, .. } => {
            let ClientName { namespace, name, kind } = names.client_name(name);
            let call_id = call_id.clone();
            match kind {
                ToolKind::Function => {
                    OutputItem::FunctionCall { id: id("fc"), status, call_id, namespace, name, arguments: String::new() }
                }
                ToolKind::Custom => {
                    OutputItem::CustomToolCall { id: id("ctc"), status, call_id, namespace, name, input: String::new() }
                }
            }
        }
        _ => return None,
    })
}

/// A whole block's content: its text, or a call's arguments as JSON, which stay open where they were cut.
pub(super) fn said(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text { text, .. } => text.clone(),
        ContentBlock::Thinking { thinking, .. } => thinking.clone(),
        ContentBlock::ToolUse { input: Value::String(open), .. } => open.clone(),
        ContentBlock::ToolUse { input, .. } if input.as_object().is_some_and(Map::is_empty) => String::new(),
        ContentBlock::ToolUse { input, .. } => input.to_string(),
        _ => String::new(),
    }
}

/// The item with all that it says; a message with the log-probabilities of its tokens. A custom tool's input that was cut is
/// empty: clients run these calls without looking at the status, and half of an input must not look like one.
pub(super) fn finished(item: OutputItem, said: String, logprobs: Vec<TokenLogprob>, cut: bool) -> OutputItem {
    // A call whose arguments are one whole object has ended, and what was cut came after it.
    let is_call = matches!(item, OutputItem::FunctionCall { .. } | OutputItem::CustomToolCall { .. });
    let cut = cut && !(is_call && serde_json::from_str::<Map<String, Value>>(&said).is_ok());
    let status = if cut { ItemStatus::Incomplete } else { ItemStatus::Completed };
    match item {
        OutputItem::Message { id, role, .. } => {
            let part = OutputPart::OutputText { text: said, annotations: Vec::new(), logprobs };
            OutputItem::Message { id, status, role, content: vec![part] }
        }
        OutputItem::Reasoning { id, summary, .. } => {
            OutputItem::Reasoning { id, status, summary, content: vec![OutputPart::ReasoningText { text: said }] }
        }
        OutputItem::FunctionCall { id, call_id, namespace, name, .. } => {
            // Clients parse the arguments, so a finished call without any gets an empty object.
            let arguments = if said.is_empty() && !cut { "{}".into() } else { said };
            OutputItem::FunctionCall { id, status, call_id, namespace, name, arguments }
        }
        OutputItem::CustomToolCall { id, call_id, namespace, name, .. } => {
            let (status, input) = match custom_input(&said).filter(|_| !cut) {
                Some(input) => (ItemStatus::Completed, input),
                None => (ItemStatus::Incomplete, String::new()),
            };
            OutputItem::CustomToolCall { id, status, call_id, namespace, name, input }
        }
    }
}
