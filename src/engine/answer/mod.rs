//! From generated tokens to content blocks: which token may come next, and what the tokens so far say.

/// Something the generated tokens added to the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text for the user; never half a UTF-8 character.
    Text(String),
    /// A tool call starts; its name is known.
    ToolStart { name: String },
    /// More of the open tool call's arguments, as JSON text.
    ToolInput(String),
    /// The open tool call is complete.
    ToolEnd,
}

use std::sync::Arc;

use super::EngineError;
use super::text::Tokenizer;
use crate::wire::MessagesRequest;

/// Placeholder: bytes are text.
pub struct AnswerDecoders;

impl AnswerDecoders {
    pub fn new(_tokenizer: Arc<Tokenizer>) -> Result<Self, EngineError> {
        Ok(Self)
    }
    pub fn start(&self, _request: &MessagesRequest) -> Result<AnswerDecoder, EngineError> {
        Ok(AnswerDecoder { finished: false })
    }
}

pub struct AnswerDecoder {
    finished: bool,
}

impl AnswerDecoder {
    pub fn mask(&mut self) -> Result<Option<TokenMask>, EngineError> {
        Ok(None)
    }
    pub fn push(&mut self, token: u32) -> Result<Vec<Piece>, EngineError> {
        self.finished = token == 256;
        Ok(vec![Piece::Text(char::from_u32(token).map(String::from).unwrap_or_default())])
    }
    pub fn wind_down(&mut self) -> bool {
        false
    }
    pub fn is_finished(&self) -> bool {
        self.finished
    }
    pub fn stop_sequence(&self) -> Option<&str> {
        None
    }
    pub fn finish(&mut self) -> Vec<Piece> {
        Vec::new()
    }
    pub fn called_tool(&self) -> bool {
        false
    }
}

pub struct TokenMask;

impl TokenMask {
    pub fn allows(&self, _token: u32) -> bool {
        true
    }
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        0..270
    }
}
