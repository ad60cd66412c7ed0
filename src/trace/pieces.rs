//! Texts that a stream spells in pieces: which events add to which text, in all three protocols.
//!
//! A word or a secret may begin in one piece and end in the next, so redaction and scrubbing look at the text as a whole.

use serde_json::{Map, Value};

use crate::wire::DONE;

/// A text that comes in pieces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PieceId {
    /// What holds it.
    pub holder: PieceHolder,
    /// The field that the pieces add to, with the way to it where it is deeper. For the Responses API, the type of the events.
    pub field: String,
}

/// What holds a text, by the indices that the protocol gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PieceHolder {
    /// A content block of a message.
    Block(u64),
    /// One of a chat completion's alternatives.
    Choice(u64),
    /// A call in one of the alternatives.
    Call { choice: u64, call: u64 },
    /// A part of the reasoning in one of the alternatives.
    Reasoning { choice: u64, part: u64 },
    /// A part of an item of the Responses API.
    Item { output: u64, part: u64 },
    /// An event that none of these protocols has.
    Other,
}

/// A piece of a text.
pub(super) struct TextPiece<'a> {
    /// Which text it belongs to.
    pub id: PieceId,
    /// The piece.
    pub text: &'a mut String,
}

/// The events of a message that spell nothing.
const KNOWN: [&str; 6] = ["message_start", "content_block_stop", "message_delta", "message_stop", "ping", "error"];

/// The fields of a content block's start that its deltas add to.
const STARTED: [&str; 4] = ["text", "thinking", "signature", "content"];

/// The pieces in the data of an event, in the order in which they stand there.
pub(super) fn pieces_in(data: &mut Value) -> Vec<TextPiece<'_>> {
    if data == DONE {
        return Vec::new();
    }
    let Value::Object(fields) = data else { return spelled_in(vec![whole(data)], &PieceHolder::Other) };
    let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    match fields.get("type").and_then(Value::as_str) {
        Some("content_block_start") => {
            let holder = PieceHolder::Block(number("index"));
            texts_of(fields.get_mut("content_block"), &holder, |name| STARTED.contains(&name))
        }
        Some("content_block_delta") => {
            let holder = PieceHolder::Block(number("index"));
            texts_of(fields.get_mut("delta"), &holder, |name| name != "type")
        }
        Some(kind) if kind.starts_with("response.") => {
            let part = ["content_index", "summary_index"].into_iter().find(|name| fields.contains_key(*name)).map_or(0, number);
            let id = PieceId { holder: PieceHolder::Item { output: number("output_index"), part }, field: kind.to_owned() };
            match fields.get_mut("delta") {
                Some(Value::String(text)) => vec![TextPiece { id, text }],
                _ => Vec::new(),
            }
        }
        Some(kind) if KNOWN.contains(&kind) => Vec::new(),
        _ if fields.contains_key("choices") => {
            items(fields.get_mut("choices")).flat_map(|(index, choice)| of_choice(index, choice)).collect()
        }
        _ => spelled_in(fields.iter_mut().map(|(name, value)| nested("", name, value)).collect(), &PieceHolder::Other),
    }
}

/// What other protocols call a text that may come in pieces.
const TEXTS: [&str; 9] =
    ["completion", "content", "delta", "generated_text", "output", "output_text", "reasoning", "response", "text"];

/// A value inside of an event.
struct Nested<'a> {
    /// The way to it; empty for the event itself.
    way: String,
    /// Whether a text may be spelled there.
    is_text: bool,
    value: &'a mut Value,
}

fn whole(value: &mut Value) -> Nested<'_> {
    Nested { way: String::new(), is_text: true, value }
}

fn nested<'a>(way: &str, name: &str, value: &'a mut Value) -> Nested<'a> {
    Nested { way: format!("{way}/{name}"), is_text: TEXTS.contains(&name), value }
}

/// The texts in these values, at any depth, that other protocols spell in pieces. The order is the same for the same event.
fn spelled_in<'a>(mut values: Vec<Nested<'a>>, holder: &PieceHolder) -> Vec<TextPiece<'a>> {
    let mut pieces = Vec::new();
    while let Some(Nested { way, is_text, value }) = values.pop() {
        match value {
            Value::String(text) if is_text => {
                pieces.push(TextPiece { id: PieceId { holder: holder.clone(), field: way }, text });
            }
            Value::Array(items) => {
                let items = items.iter_mut().enumerate();
                values.extend(items.map(|(index, value)| Nested { way: format!("{way}/{index}"), is_text, value }));
            }
            Value::Object(fields) => values.extend(fields.iter_mut().map(|(name, value)| nested(&way, name, value))),
            _ => {}
        }
    }
    pieces
}

/// The pieces in a chunk's part for one alternative.
fn of_choice(choice: u64, fields: &mut Map<String, Value>) -> Vec<TextPiece<'_>> {
    let mut pieces = Vec::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("text", Value::String(text)) => {
                pieces.push(TextPiece { id: PieceId { holder: PieceHolder::Choice(choice), field: name.clone() }, text });
            }
            ("delta", Value::Object(delta)) => {
                delta.iter_mut().for_each(|(name, value)| of_delta(choice, name, value, &mut pieces))
            }
            _ => {}
        }
    }
    pieces
}

/// Adds the pieces in one field of a chunk's delta.
fn of_delta<'a>(choice: u64, name: &str, value: &'a mut Value, pieces: &mut Vec<TextPiece<'a>>) {
    match (name, value) {
        // It is repeated, not continued.
        ("role", _) => {}
        (_, Value::String(text)) => {
            pieces.push(TextPiece { id: PieceId { holder: PieceHolder::Choice(choice), field: name.to_owned() }, text });
        }
        ("function_call", call) => pieces.extend(texts_of(Some(call), &PieceHolder::Choice(choice), is_of_call)),
        ("tool_calls", calls) => {
            for (call, fields) in items(Some(calls)) {
                let holder = PieceHolder::Call { choice, call };
                for (_, called) in fields.iter_mut().filter(|(name, _)| ["function", "custom"].contains(&name.as_str())) {
                    pieces.extend(texts_of(Some(called), &holder, is_of_call));
                }
            }
        }
        ("reasoning_details", parts) => {
            for (part, fields) in items(Some(parts)) {
                let holder = PieceHolder::Reasoning { choice, part };
                pieces.extend(texts_in(fields, &holder, |name| ["text", "summary", "data", "signature"].contains(&name)));
            }
        }
        // Parts of a content, audio, and what else a server has.
        (_, value) => {
            let parts = spelled_in(vec![whole(value)], &PieceHolder::Choice(choice)).into_iter();
            pieces.extend(
                parts
                    .map(|TextPiece { id, text }| TextPiece { id: PieceId { field: format!("{name}{}", id.field), ..id }, text }),
            );
        }
    }
}

fn is_of_call(name: &str) -> bool {
    ["name", "arguments", "input"].contains(&name)
}

/// The objects of a list with their indices: what `index` says, or else their positions.
fn items(list: Option<&mut Value>) -> impl Iterator<Item = (u64, &mut Map<String, Value>)> {
    let items = list.and_then(Value::as_array_mut).into_iter().flatten();
    items.zip(0..).filter_map(|(item, position)| {
        let fields = item.as_object_mut()?;
        Some((fields.get("index").and_then(Value::as_u64).unwrap_or(position), fields))
    })
}

/// The texts among an object's fields.
fn texts_of<'a>(object: Option<&'a mut Value>, holder: &PieceHolder, is_piece: fn(&str) -> bool) -> Vec<TextPiece<'a>> {
    object.and_then(Value::as_object_mut).map_or_else(Vec::new, |fields| texts_in(fields, holder, is_piece))
}

fn texts_in<'a>(fields: &'a mut Map<String, Value>, holder: &PieceHolder, is_piece: fn(&str) -> bool) -> Vec<TextPiece<'a>> {
    let mut pieces = Vec::new();
    for (name, value) in fields {
        if let Value::String(text) = value
            && is_piece(name)
        {
            pieces.push(TextPiece { id: PieceId { holder: holder.clone(), field: name.clone() }, text });
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(mut data: Value) -> Vec<String> {
        let pieces = pieces_in(&mut data);
        pieces.iter().map(|TextPiece { id, text }| format!("{:?} {} {text}", id.holder, id.field)).collect()
    }

    #[test]
    fn the_pieces_of_every_protocol_are_found() {
        let found: Vec<String> = [
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": "a", "id": "x"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "b"}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "c"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
            json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "d", "reasoning": "e"}}, {"index": 1, "delta": {"content": "f"}}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"index": 3, "id": "call", "function": {"name": "g", "arguments": "h"}}, {"custom": {"input": "i"}}]}}]}),
            json!({"choices": [{"text": "j", "index": 0}]}),
            json!({"type": "response.output_text.delta", "item_id": "x", "output_index": 1, "content_index": 2, "delta": "k"}),
            json!({"type": "response.output_text.done", "text": "whole"}),
            json!("[DONE]"),
            json!("plain"),
            json!({"choices": [{"delta": {"content": [{"type": "text", "text": "l"}], "audio": {"id": "x", "text": "m"}}}]}),
            json!({"type": "completion", "completion": "n", "model": "x"}),
            json!({"candidates": [{"content": {"parts": [{"text": "o"}], "role": "model"}}]}),
        ]
        .into_iter()
        .flat_map(found)
        .collect();
        insta::assert_snapshot!(found.join("\n"), @r"
        Block(1) text a
        Block(1) text b
        Block(2) partial_json c
        Choice(0) content d
        Choice(0) reasoning e
        Choice(1) content f
        Call { choice: 0, call: 3 } name g
        Call { choice: 0, call: 3 } arguments h
        Call { choice: 0, call: 1 } input i
        Choice(0) text j
        Item { output: 1, part: 2 } response.output_text.delta k
        Other  plain
        Choice(0) content/0/text l
        Choice(0) audio/text m
        Other /completion n
        Other /candidates/0/content/parts/0/text o
        ");
    }
}
