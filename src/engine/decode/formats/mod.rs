//! The ways in which models write tool calls, one file for each.

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

pub use qwen3_coder::Parameters;

/// The name of a format.
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

    /// The format's name, as users write it.
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

    /// The format that a chat template writes calls in; Hermes where the template does not tell.
    pub fn of_template(template: &str) -> Self {
        let marks = [
            (deepseek::CALLS, Self::DeepSeek),
            (mistral::CALLS, Self::Mistral),
            ("<function=", Self::Qwen3Coder),
            ("<tool_call>", Self::Hermes),
            ("<|python_tag|>", Self::Llama3),
            ("\"parameters\": ", Self::Llama3),
            ("\"tool_calls\"", Self::OpenAi),
            ("\"function_call\"", Self::OpenAi),
        ];
        marks.iter().find(|(mark, _)| template.contains(mark)).map_or(Self::Hermes, |(_, name)| *name)
    }

    /// The format, in the variant that this template writes.
    pub fn format(self, template: &str) -> Arc<dyn ToolFormat> {
        match self {
            Self::Hermes => Arc::new(hermes::Hermes),
            Self::Qwen3Coder => Arc::new(qwen3_coder::Qwen3Coder),
            Self::Llama3 => Arc::new(llama3::Llama3),
            Self::Mistral => Arc::new(mistral::Mistral::of_template(template)),
            Self::DeepSeek => Arc::new(deepseek::DeepSeek::of_template(template)),
            Self::OpenAi => Arc::new(openai::OpenAi),
        }
    }
}

/// How a model writes tool calls: what the parser reads, and the one form that the grammar writes.
///
/// A call is a tag, a head with the tool's name, the arguments, and a tail.
pub trait ToolFormat: Send + Sync {
    /// What calls start with.
    fn tags(&self) -> &'static [Tag];

    /// Reads what stands between a tag (or the call before) and the arguments.
    ///
    /// # Errors
    /// It is not there, or not yet.
    fn head(&self, cursor: &mut Cursor, place: Place) -> Read<Head>;

    /// Reads what stands after the arguments. `list`: as the head said.
    ///
    /// # Errors
    /// It is not there, or not yet: the call is complete all the same.
    fn tail(&self, cursor: &mut Cursor, list: bool) -> Read<Next>;

    /// The form that the grammar writes after the tag of this number. A forced call has the first one.
    fn form(&self, tag: usize) -> Form;

    /// From where the head ends to where the call does, in Lark, and what of the schema it does not enforce.
    fn arguments(&self, tag: usize, schema: &Value, vocabulary: &Vocabulary) -> (String, Vec<String>) {
        (grammar::json_arguments(&self.form(tag), schema, vocabulary), vec![])
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After the tag of this number.
    AfterTag(usize),
    /// After another call under the same tag.
    AfterCall,
}

/// What stands before a call's arguments.
#[derive(Clone, Debug)]
pub struct Head {
    pub name: String,
    pub arguments: Arguments,
    /// Whether other calls may follow under the same tag.
    pub list: bool,
}

/// How arguments are written.
#[derive(Clone, Copy, Debug)]
pub enum Arguments {
    /// As a JSON object.
    Object,
    /// As a JSON object, or as a JSON string that holds one.
    ObjectOrString,
    /// As Qwen3-Coder's parameters.
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
