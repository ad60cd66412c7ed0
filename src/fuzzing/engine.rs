//! What needs a tokenizer: calls in texts, chat templates, and the headers of weight files.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde_json::json;

use super::text_pieces;
use crate::engine::decode::{ToolFormatName, parsed};
use crate::engine::text::{ChatTemplate, Tokenizer};
use crate::tensor_file::TensorFile;
use crate::wire::{MessagesRequest, Tool};

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny");
    Tokenizer::load(&model).unwrap_or_else(|error| panic!("{error}"))
});

const FORMATS: [ToolFormatName; 10] = ToolFormatName::ALL;

/// A conversation with a tool and a call of it.
fn request() -> MessagesRequest {
    let body = json!({
        "model": "m", "max_tokens": 1,
        "tools": [
            {"name": "Read", "description": "Reads.", "input_schema": {"type": "object", "properties": {
                "path": {"type": "string"}, "limit": {"type": "integer"}, "deep": {"type": "object"}}, "required": ["path"]}},
            {"name": "Empty", "input_schema": {}}],
        "messages": [
            {"role": "user", "content": "Read a."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {"path": "a"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "b"}]}]
    });
    serde_json::from_value(body).unwrap_or_else(|error| panic!("{error}"))
}

/// In every format the calls in a text are the same however the text is cut.
pub fn calls(bytes: &[u8]) {
    let tools: Arc<[Tool]> = request().tools.into();
    let (text, pieces) = text_pieces(bytes);
    for format in FORMATS {
        let whole = parsed(format.format(), tools.clone(), [text.as_str()]);
        let in_pieces = parsed(format.format(), tools.clone(), pieces.iter().map(String::as_str));
        assert_eq!(whole, in_pieces, "{}", format.name());
    }
}

/// A template ends: with a prompt, or with an error.
pub fn template(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    if let Ok(template) = ChatTemplate::from_source(source.into(), &TOKENIZER) {
        template.render(&request()).ok();
    }
}

/// A file's header is read or refused.
pub fn tensor_file(bytes: &[u8]) {
    let Ok(file) = tempfile::NamedTempFile::new() else { return };
    if fs::write(file.path(), bytes).is_ok() {
        TensorFile::open(file.path()).ok();
    }
    safetensors::SafeTensors::read_metadata(bytes).ok();
}
