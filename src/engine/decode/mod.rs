//! Turns generated tokens into the parts of an answer, and masks the tokens that may not come next.
//!
//! Owns sampling, the tool-call formats, constrained decoding and stop sequences. It never runs a model: the
//! caller hands it logits to sample from and tells it each sampled token.

mod answer_decoder;
mod arguments;
mod budget;
mod call_form;
mod channels;
mod choices;
mod compiler;
mod constraint;
mod declared_properties;
mod demand;
mod endless;
mod fault;
mod follower;
mod formats;
mod grammar;
mod grammar_cache;
mod held_to;
mod json_schema;
mod likeliest_first;
mod limits;
mod logprob_trail;
mod logprobs;
mod number_limits;
mod parser;
mod pattern_size;
mod references;
mod sampler;
mod schema_cost;
mod schema_parts;
mod separator;
mod string_formats;
mod syntax;
mod text_flow;
mod thinking;
mod tool_format;
mod unusable_parts;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod hostile_schemas;
#[cfg(test)]
mod schema_table;

pub use answer_decoder::{AnswerDecoder, AnswerDecoders, AnswerGrammars};
pub use choices::TokenChoice;
pub use follower::TokenMask;
pub use formats::ToolFormatName;
pub use sampler::{Sampler, Sampling};
pub use thinking::ThinkingTags;
pub use tool_format::ToolFormat;

use crate::wire::TokenLogprob;

/// A piece of the decoded answer, in the order of generation: text, thoughts, or a part of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// More of the model's thoughts; given only if the request asks to see them.
    Thinking(String),
    /// More text for the user. Never ends inside a UTF-8 character.
    Text(String),
    /// The same, in place of `Text` where the request asks for log-probabilities.
    TextWithLogprobs {
        /// The text of whole tokens. Only the last one may be cut, by a stop sequence or before a call.
        text: String,
        /// The log-probabilities of the tokens that the text came from.
        logprobs: Vec<TokenLogprob>,
    },
    /// A tool call starts.
    ToolStart {
        /// The tool's name.
        name: String,
    },
    /// More of the open tool call's arguments. Joined, the inputs of a complete call are one JSON object.
    ToolInput(String),
    /// The open tool call is complete. A call that was cut short never gets one.
    ToolEnd,
}

/// What a text is to a parser that gets it in these pieces, for the fuzz target of calls.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn parsed<'a>(
    format: std::sync::Arc<dyn ToolFormat>,
    tools: std::sync::Arc<[crate::wire::Tool]>,
    pieces: impl IntoIterator<Item = &'a str>,
) -> Vec<Piece> {
    let mut parser = parser::Parser::new(format, tools);
    let mut placed: Vec<_> = pieces.into_iter().flat_map(|piece| parser.push(piece)).collect();
    placed.extend(parser.finish());
    joined(placed.into_iter().map(|placed| placed.piece))
}

/// Joins neighbouring pieces of the same kind.
#[cfg(any(test, feature = "fuzzing"))]
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
