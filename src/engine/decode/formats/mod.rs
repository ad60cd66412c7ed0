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

    /// The format, writing calls in its default form.
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

    /// The format in which a template writes past calls; `None` if it is none of these.
    pub fn written_by(template: &ChatTemplate, tokenizer: &Tokenizer) -> Option<Self> {
        let calls = template.past_calls()?;
        let written = |name: &Self| Some((AsWritten::new(name.format(), &calls, tokenizer)?.start, *name));
        // Several formats may match, because one format's markup can contain another's. The outermost starts
        // first.
        Self::ALL.iter().filter_map(written).min_by_key(|(start, _)| *start).map(|(_, name)| name)
    }

    /// The format, writing calls exactly as the template writes past ones, or in its default form if that cannot
    /// be done.
    pub fn as_written_by(self, template: &ChatTemplate, tokenizer: &Tokenizer) -> Arc<dyn ToolFormat> {
        let written = template.past_calls().and_then(|calls| AsWritten::new(self.format(), &calls, tokenizer));
        written.map_or_else(|| self.format(), |written| Arc::new(written))
    }
}

/// How a model writes tool calls: the variants that the parser reads, and the one form that grammars allow.
///
/// A call consists of a tag, a head with the tool's name, the arguments, and a tail. Tags are referred to by
/// their index in [`Self::tags`].
pub trait ToolFormat: Send + Sync {
    /// The tags that calls may start with.
    fn tags(&self) -> &'static [Tag];

    /// Reads the head: all between the tag, or the previous call, and the arguments.
    ///
    /// # Errors
    /// The text is not a head, or not a whole one yet.
    fn head(&self, cursor: &mut Cursor, place: Place) -> Read<Head>;

    /// Reads the tail: all from the arguments to the end of the call. `list`: [`Head::list`] of this call.
    ///
    /// # Errors
    /// The text is not a tail, or not a whole one yet. The call is complete even so, since its arguments are.
    fn tail(&self, cursor: &mut Cursor, list: bool) -> Read<Next>;

    /// The tag used if the grammar, not the model, opens the call.
    fn forced_tag(&self) -> usize {
        0
    }

    /// The form of calls under this tag.
    fn form(&self, tag: usize) -> Form;

    /// The Lark grammar from the arguments to the end of the call, and the parts of the schema that it does not
    /// enforce.
    fn arguments(&self, form: &Form, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        (grammar::json_arguments(form, schema, vocabulary), vec![])
    }
}

/// What a call's head comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After the tag with this index.
    AfterTag(usize),
    /// After another call under the same tag.
    AfterCall,
}

/// What was read ahead of a call's arguments.
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
