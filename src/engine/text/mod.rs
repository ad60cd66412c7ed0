//! Turns requests into token ids, and token ids into text.
//!
//! Owns the tokenizer, the detokenizer and the chat template. Knows nothing of sampling, and nothing of tool-call
//! markup beyond what the template renders.

pub(crate) mod call_ids;
mod detokenizer;
mod markup_escaping;
mod messages;
mod offered_tools;
mod prompt_tokenizer;
mod python;
mod recent_tokens;
mod template;
mod template_traits;
mod token_file;
mod tokenizer;
mod tools;

pub(crate) use detokenizer::Detokenizer;
pub(crate) use markup_escaping::unmarked;
pub(crate) use offered_tools::callable;
pub use prompt_tokenizer::PromptTokenizer;
pub use template::ChatTemplate;
pub(crate) use template::{PastCall, PastCalls, past_calls};
pub use template_traits::TemplateTraits;
pub use token_file::KeptTokens;
pub use tokenizer::{TokenKind, Tokenizer};

use std::path::Path;

use super::EngineError;
use crate::files::open_regular;

/// The text of a file in the model folder; `None` if it does not exist.
fn read_optional(dir: &Path, name: &str) -> Result<Option<String>, EngineError> {
    let path = dir.join(name);
    match open_regular(&path).and_then(std::io::read_to_string) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EngineError::ModelFile { path, reason: error.to_string() }),
    }
}

/// A JSON file in the model folder; `None` if it does not exist.
fn read_optional_json(dir: &Path, name: &str) -> Result<Option<serde_json::Value>, EngineError> {
    let Some(text) = read_optional(dir, name)? else { return Ok(None) };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| EngineError::ModelFile { path: dir.join(name), reason: format!("not JSON: {error}") })
}

/// The folder of the small model that is committed for tests.
#[cfg(test)]
pub(crate) fn tiny_model() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny")
}

/// That model's tokenizer with more markup, each a token of its own.
#[cfg(test)]
pub(crate) fn tiny_tokenizer_with(markup: &[&str]) -> std::sync::Arc<Tokenizer> {
    let dir = tempfile::tempdir().unwrap();
    for file in ["generation_config.json", "tokenizer_config.json"] {
        std::fs::copy(tiny_model().join(file), dir.path().join(file)).unwrap();
    }
    let text = std::fs::read_to_string(tiny_model().join("tokenizer.json")).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let added = tokenizer["added_tokens"].as_array_mut().unwrap();
    let next = 1 + added.iter().filter_map(|token| token["id"].as_u64()).max().unwrap();
    for (id, text) in (next..).zip(markup) {
        added.push(serde_json::json!({"id": id, "content": text, "special": true, "single_word": false, "lstrip": false,
                                      "rstrip": false, "normalized": false}));
    }
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    Tokenizer::load(dir.path()).unwrap()
}
