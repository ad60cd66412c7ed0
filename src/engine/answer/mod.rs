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
