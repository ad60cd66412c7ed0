//! What a model's chat template and vocabulary make of conversations, for people.

use serde_json::json;

use super::text_side::TextSide;
use crate::engine::EngineError;
use crate::engine::decode::{ThinkingTags, ToolFormatName};
use crate::wire::MessagesRequest;

/// What a model's chat template and vocabulary make of conversations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationTraits {
    /// The format of tool calls that the template writes; `None`: none that is known.
    pub tool_format: Option<ToolFormatName>,
    /// What the template asks for beyond what most do, in words.
    pub template: String,
    /// Whether an earlier call, with its arguments, and its result are in the prompt.
    pub shows_past_calls: bool,
    /// When the model thinks.
    pub thinking: ThinkingSwitch,
    /// The texts of the tokens that end an answer.
    pub ends: Vec<String>,
}

/// When a model thinks, as far as its template decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThinkingSwitch {
    /// Where a request asks for it.
    Asked,
    /// Always: every prompt opens thoughts.
    Always,
    /// The template does not say.
    NotInTemplate,
}

/// Words that stand nowhere in a template.
const ARGUMENT: &str = "weathered-oak";
const RESULT: &str = "seven-rings";

impl TextSide {
    /// Tries the template on a conversation with a call and its result.
    ///
    /// # Errors
    /// The template fails.
    pub(super) fn conversation_traits(&self) -> Result<ConversationTraits, EngineError> {
        let plain = self.template().render(&conversation("disabled")?)?;
        let thinking = self.template().render(&conversation("enabled")?)?;
        let ends = self.decoders.ends().iter().map(|token| String::from_utf8_lossy(self.tokenizer.bytes(*token)).into_owned());
        Ok(ConversationTraits {
            tool_format: ToolFormatName::written_by(self.template(), &self.tokenizer),
            template: self.template().traits().to_string(),
            shows_past_calls: [ARGUMENT, RESULT].iter().all(|word| plain.contains(word)),
            thinking: if plain != thinking {
                ThinkingSwitch::Asked
            } else if ThinkingTags::opened_by(&plain).is_some() {
                ThinkingSwitch::Always
            } else {
                ThinkingSwitch::NotInTemplate
            },
            ends: ends.collect(),
        })
    }
}

/// A conversation of Claude Code's shape: system prompt, tool, call, result with text beside it.
fn conversation(thinking: &str) -> Result<MessagesRequest, EngineError> {
    let request = json!({
        "model": "check", "max_tokens": 2048, "system": "You help with trees.",
        "thinking": {"type": thinking, "budget_tokens": 1024},
        "tools": [{"name": "find_tree", "description": "Finds a tree.", "input_schema": {
            "type": "object", "properties": {"tree": {"type": "string"}}, "required": ["tree"]}}],
        "messages": [
            {"role": "user", "content": "How old is it?"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_1", "name": "find_tree", "input": {"tree": ARGUMENT}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": RESULT},
                {"type": "text", "text": "Well?"}]},
        ],
    });
    serde_json::from_value(request).map_err(|error| EngineError::Request(error.to_string()))
}
