//! The formats in which models write tool calls, one file each.

mod as_written;
mod declared;
mod deepseek;
mod gemma;
mod glm;
mod harmony;
mod hermes;
mod llama3;
mod minimax;
mod mistral;
mod openai;
mod parameters_in_tags;
mod patterns;
mod qwen3_coder;

#[cfg(test)]
mod cases;

use std::sync::Arc;

use super::tool_format::ToolFormat;
use crate::engine::text::{ChatTemplate, Tokenizer};

use as_written::AsWritten;

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
    /// `<tool_call>…<arg_key>…</arg_key><arg_value>`: GLM
    Glm,
    /// `<minimax:tool_call><invoke name="…"><parameter name="…">`: MiniMax
    MiniMax,
    /// `<|channel|>commentary to=functions.…`: gpt-oss
    Harmony,
    /// `<|tool_call>call:…{…}` with strings between `<|"|>`: Gemma 4
    Gemma,
    /// `{"tool_calls": …}` or `{"function_call": …}` as text
    OpenAi,
}

impl ToolFormatName {
    /// All formats.
    pub const ALL: [Self; 10] = [
        Self::Hermes,
        Self::Qwen3Coder,
        Self::Llama3,
        Self::Mistral,
        Self::DeepSeek,
        Self::Glm,
        Self::MiniMax,
        Self::Harmony,
        Self::Gemma,
        Self::OpenAi,
    ];

    /// The name that users write in options and configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hermes => "hermes",
            Self::Qwen3Coder => "qwen3-coder",
            Self::Llama3 => "llama3",
            Self::Mistral => "mistral",
            Self::DeepSeek => "deepseek",
            Self::Glm => "glm",
            Self::MiniMax => "minimax",
            Self::Harmony => "harmony",
            Self::Gemma => "gemma",
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
            Self::Glm => Arc::new(glm::Glm),
            Self::MiniMax => Arc::new(minimax::MiniMax),
            Self::Harmony => Arc::new(harmony::Harmony),
            Self::Gemma => Arc::new(gemma::Gemma),
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
