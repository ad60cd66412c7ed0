//! From a request to token ids, and from token ids to text.
//!
//! Owns the tokenizer, the detokenizer and the chat template. Knows nothing of tool-call markup beyond rendering what the
//! template says, and nothing of sampling.

pub(crate) mod call_ids;
mod detokenizer;
mod markup_escaping;
mod messages;
mod offered_tools;
mod prompt_tokenizer;
mod python;
mod template;
mod token_file;
mod tokenizer;
mod tools;

pub(crate) use detokenizer::Detokenizer;
pub(crate) use markup_escaping::unmarked;
pub(crate) use offered_tools::callable;
pub use prompt_tokenizer::PromptTokenizer;
pub use template::{ChatTemplate, TemplateTraits};
pub(crate) use template::{PastCall, PastCalls, past_calls};
pub use token_file::KeptTokens;
pub use tokenizer::{TokenKind, Tokenizer};

use std::path::Path;

use super::EngineError;

/// The text of one of the model folder's files; `None` if there is no such file.
fn read_optional(dir: &Path, name: &str) -> Result<Option<String>, EngineError> {
    let path = dir.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EngineError::ModelFile { path, reason: error.to_string() }),
    }
}

/// One of the model folder's JSON files; `None` if there is no such file.
fn read_optional_json(dir: &Path, name: &str) -> Result<Option<serde_json::Value>, EngineError> {
    let Some(text) = read_optional(dir, name)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| EngineError::ModelFile { path: dir.join(name), reason: format!("not JSON: {error}") })
}

/// The folder of the committed model.
#[cfg(test)]
pub(crate) fn tiny_model() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny")
}
