//! The formats in which models write tool calls, one file each.

mod as_written;
mod deepseek;
mod hermes;
mod llama3;
mod mistral;
mod openai;
mod qwen3_coder;

#[cfg(test)]
mod cases;

use std::sync::Arc;

use serde_json::Value;

use super::form::{Form, Tag};
use super::grammar::{self, Vocabulary};
use super::syntax::{Cursor, Read};
use crate::engine::text::{ChatTemplate, Tokenizer};

use as_written::AsWritten;
pub(super) use qwen3_coder::Parameters;

/// A tool-call format, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolFormatName {
    /// `<tool_call>{"name": …, "arguments": …}</tool_call>`: Hermes, Qwen
    Hermes,
    /// `<tool_call><function=…><parameter=…>`: Qwen3-Coder
    Qwen3Coder,
    /// `{"name": …, "parameters": …}`, also after `<|python_tag|>`: Llama 3
    Llama3,
    /// `[TOOL_CALLS]`: Mistral
    Mistral,
    /// `<｜tool▁calls▁begin｜>`: DeepSeek
    DeepSeek,
    /// `{"tool_calls": …}` or `{"function_call": …}` as text
    OpenAi,
}

impl ToolFormatName {
    /// All formats.
    pub const ALL: [Self; 6] = [Self::Hermes, Self::Qwen3Coder, Self::Llama3, Self::Mistral, Self::DeepSeek, Self::OpenAi];

    /// The name that users write in options and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hermes => "hermes",
            Self::Qwen3Coder => "qwen3-coder",
            Self::Llama3 => "llama3",
            Self::Mistral => "mistral",
            Self::DeepSeek => "deepseek",
            Self::OpenAi => "openai",
        }
    }

    /// The format with its default form of calls.
    pub fn format(self) -> Arc<dyn ToolFormat> {
        match self {
            Self::Hermes => Arc::new(hermes::Hermes),
            Self::Qwen3Coder => Arc::new(qwen3_coder::Qwen3Coder),
            Self::Llama3 => Arc::new(llama3::Llama3),
            Self::Mistral => Arc::new(mistral::Mistral),
            Self::DeepSeek => Arc::new(deepseek::DeepSeek),
            Self::OpenAi => Arc::new(openai::OpenAi),
        }
    }

    /// Detects the format by how a template writes past calls. `None` if no known format reads them.
    pub fn written_by(template: &ChatTemplate, tokenizer: &Tokenizer) -> Option<Self> {
        let calls = template.past_calls()?;
        let written = |name: &Self| Some((AsWritten::new(name.format(), &calls, tokenizer)?.start, *name));
        // A match that begins later would cover only a part of the call.
        Self::ALL.iter().filter_map(written).min_by_key(|(start, _)| *start).map(|(_, name)| name)
    }

    /// The format with calls written exactly as the template writes past ones or, if that is not possible, in its default form.
    pub fn as_written_by(self, template: &ChatTemplate, tokenizer: &Tokenizer) -> Arc<dyn ToolFormat> {
        let written = template.past_calls().and_then(|calls| AsWritten::new(self.format(), &calls, tokenizer));
        written.map_or_else(|| self.format(), |written| Arc::new(written))
    }
}

/// A format of tool calls: the variants that the parser accepts, and the one form that the grammar writes.
///
/// A call consists of a tag, a head with the tool's name, the arguments, and a tail. Tags are referred to by
/// their index in [`Self::tags`].
pub trait ToolFormat: Send + Sync {
    /// The opening tags of calls.
    fn tags(&self) -> &'static [Tag];

    /// Reads from a tag, or from the end of the previous call, to the beginning of the arguments.
    ///
    /// # Errors
    /// The text is something else, or still incomplete.
    fn head(&self, cursor: &mut Cursor, place: Place) -> Read<Head>;

    /// Reads what follows the arguments. `list`: whether [`Head::list`] was set.
    ///
    /// # Errors
    /// The text is something else, or still incomplete. The call counts as complete in either case.
    fn tail(&self, cursor: &mut Cursor, list: bool) -> Read<Next>;

    /// The index of the tag that opens forced calls.
    fn forced_tag(&self) -> usize {
        0
    }

    /// The form of calls under the tag with this index.
    fn form(&self, tag: usize) -> Form;

    /// A Lark grammar from the beginning of the arguments to the end of the call, and the parts of the schema that it does not
    /// enforce.
    fn arguments(&self, form: &Form, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        (grammar::json_arguments(form, schema, vocabulary), vec![])
    }
}

/// Where a call's head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After the tag with this index.
    AfterTag(usize),
    /// After another call under the same tag.
    AfterCall,
}

/// What the parser has read before a call's arguments.
#[derive(Clone, Debug)]
pub struct Head {
    pub name: String,
    pub arguments: Arguments,
    /// Whether more calls may follow under the same tag.
    pub list: bool,
}

/// How arguments are written.
#[derive(Clone, Copy, Debug)]
pub enum Arguments {
    /// As a JSON object.
    Object,
    /// As a JSON object, or as a JSON string that holds one.
    ObjectOrString,
    /// As Qwen3-Coder's `<parameter=…>` tags.
    Parameters,
}

/// What follows a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another call under the same tag.
    Call,
    /// Text.
    Text,
}
