//! From a request to token ids, and from token ids to text.

use std::path::Path;
use std::sync::Arc;

use super::EngineError;
use crate::wire::MessagesRequest;

/// Placeholder: every byte is a token.
pub struct Tokenizer;

impl Tokenizer {
    pub fn load(_dir: &Path) -> Result<Arc<Tokenizer>, EngineError> {
        Ok(Arc::new(Self))
    }
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        Ok(text.bytes().map(u32::from).collect())
    }
    pub fn vocab_size(&self) -> usize {
        270
    }
    pub fn eos_tokens(&self) -> &[u32] {
        &[256]
    }
}

pub struct ChatTemplate;

impl ChatTemplate {
    pub fn load(_dir: &Path) -> Result<ChatTemplate, EngineError> {
        Ok(Self)
    }
    pub fn render(&self, request: &MessagesRequest) -> Result<String, EngineError> {
        let messages = serde_json::to_string(&request.messages).unwrap_or_default();
        Ok(self.render_shared_prefix(request)? + &messages)
    }
    pub fn render_shared_prefix(&self, request: &MessagesRequest) -> Result<String, EngineError> {
        Ok(serde_json::to_string(&(&request.tools, &request.system)).unwrap_or_default())
    }
}
