//! `POST /v1/completions`: OpenAI's first API, which continues a text.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::token_limit::limit_or_all;
use super::{ChatUsage, StopSequences, StreamOptions};
use crate::wire::content::TextOrList;
use crate::wire::nullable::null_is_default;

/// The body of `POST /v1/completions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionRequest {
    #[serde(default)]
    pub model: String,
    pub prompt: CompletionPrompt,
    /// Upper bound on generated tokens. -1 is read as [`AS_MANY_AS_FIT`](crate::wire::MessagesRequest::AS_MANY_AS_FIT).
    #[serde(default, deserialize_with = "limit_or_all", skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopSequences>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub stream: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The text to continue. The protocol also has lists: of several texts, and of tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CompletionPrompt {
    Text(String),
    List(Vec<Value>),
}

impl<'de> Deserialize<'de> for CompletionPrompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList::<Self, Value>::of("a string"))
    }
}

impl From<String> for CompletionPrompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Value>> for CompletionPrompt {
    fn from(list: Vec<Value>) -> Self {
        Self::List(list)
    }
}

/// A whole answer, or a chunk of a streamed one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completion {
    pub id: String,
    /// Always `text_completion`.
    pub object: &'static str,
    /// Seconds since 1970.
    pub created: i64,
    pub model: String,
    /// One; none in the chunk with the usage.
    pub choices: Vec<CompletionChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<ChatUsage>,
}

/// The continuation, or a piece of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CompletionChoice {
    pub text: String,
    /// Always 0.
    pub index: usize,
    /// Log-probabilities of the text's tokens, if the request asked for them.
    pub logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`, at the end.
    pub finish_reason: Option<&'static str>,
}

/// Log-probabilities of a text's tokens: four lists of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CompletionLogprobs {
    pub tokens: Vec<String>,
    pub token_logprobs: Vec<f64>,
    /// For each token the likeliest ones in its place, and the token itself.
    pub top_logprobs: Vec<Map<String, Value>>,
    /// Where each token begins in the continuation, in characters. A token may begin inside of one.
    pub text_offset: Vec<usize>,
}
