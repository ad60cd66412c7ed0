//! From generated tokens to content blocks: which token may come next, and what the tokens so far say.
//!
//! Owns the tool-call formats, constrained decoding, stop sequences. Never sees a model: it is told
//! each token that was sampled.

mod answer_decoder;
mod arguments;
mod constraint;
mod declared_properties;
mod fault;
mod form;
mod formats;
mod grammar;
mod json_schema;
mod parser;
mod sampler;
mod string_formats;
mod syntax;
mod text_flow;
mod thinking;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod schema_table;

pub use answer_decoder::{AnswerDecoder, AnswerDecoders};
pub use constraint::TokenMask;
pub use formats::{ToolFormat, ToolFormatName};
pub use sampler::{Sampler, Sampling};
pub use thinking::ThinkingTags;

/// A piece of the decoded answer, in the order of generation: text, thoughts, or a part of a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What the model thinks before it answers; only where the request asks for it.
    Thinking(String),
    /// Text for the user; never half a UTF-8 character.
    Text(String),
    /// A tool call starts; its name is known.
    ToolStart {
        /// The tool's name.
        name: String,
    },
    /// More of the open tool call's arguments, as JSON text.
    ToolInput(String),
    /// The open tool call is complete.
    ToolEnd,
}

/// Joins neighbouring pieces of the same kind.
#[cfg(test)]
fn joined(pieces: impl IntoIterator<Item = Piece>) -> Vec<Piece> {
    let mut joined: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (joined.last_mut(), &piece) {
            (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(more),
            (Some(Piece::Thinking(text)), Piece::Thinking(more)) => text.push_str(more),
            (Some(Piece::ToolInput(text)), Piece::ToolInput(more)) => text.push_str(more),
            _ => joined.push(piece),
        }
    }
    joined
}
