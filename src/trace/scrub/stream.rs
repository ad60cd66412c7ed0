//! Scrubbing the events of an answer. The joined text of each block, choice, call and item is scrubbed and cut where it was cut
//! before.

use std::collections::BTreeMap;

use serde_json::Value;

use super::enumerations::enumerated;
use super::kinds::{FieldKind, ObjectKind};
use super::walk::{Speaker, Walker};
use crate::trace::RecordedEvent;
use crate::trace::pieces::{PieceHolder, PieceId, pieces_in};
use crate::wire::DONE;

/// Scrubs events. Each piece of a text keeps its number of characters.
pub(super) fn events(walker: &Walker, events: &mut [RecordedEvent]) {
    let mut texts: BTreeMap<PieceId, Vec<String>> = BTreeMap::new();
    // For each event, the texts that its pieces belong to.
    let mut spelled = Vec::with_capacity(events.len());
    for event in events.iter_mut() {
        let mut ids = Vec::new();
        for piece in pieces_in(&mut event.data) {
            texts.entry(piece.id.clone()).or_default().push(std::mem::take(piece.text));
            ids.push(piece.id);
        }
        spelled.push(ids);
        event.event = enumerated(&event.event);
        if event.data != DONE {
            let object = object_of(&event.data);
            walker.value(&mut event.data, FieldKind::In(object), Speaker::Other);
        }
    }
    let mut respelled: BTreeMap<PieceId, std::vec::IntoIter<String>> =
        texts.into_iter().map(|(id, pieces)| (id.clone(), respell(walker, &id, &pieces).into_iter())).collect();
    for (event, ids) in events.iter_mut().zip(spelled) {
        for (piece, id) in pieces_in(&mut event.data).into_iter().zip(ids) {
            *piece.text = respelled.get_mut(&id).and_then(Iterator::next).unwrap_or_default();
        }
    }
}

/// What the data of an event is.
fn object_of(data: &Value) -> ObjectKind {
    let is_responses = data["type"].as_str().is_some_and(|kind| kind.starts_with("response."));
    if is_responses { ObjectKind::ResponsesEvent } else { ObjectKind::Answer }
}

/// Scrubs a text that comes in these pieces. Each piece keeps its number of characters; the last one gets the rest.
fn respell(walker: &Walker, id: &PieceId, pieces: &[String]) -> Vec<String> {
    let whole = pieces.concat();
    let scrubbed = if whole.is_empty() { whole } else { walker.text(&whole, kind_of(id), Speaker::Other) };
    let mut rest = scrubbed.chars();
    let last = pieces.len().saturating_sub(1);
    let length = |number: usize, piece: &String| if number == last { usize::MAX } else { piece.chars().count() };
    pieces.iter().enumerate().map(|(number, piece)| rest.by_ref().take(length(number, piece)).collect()).collect()
}

/// What a text in pieces is: the same that it is in one piece.
fn kind_of(id: &PieceId) -> FieldKind {
    let field = id.field.as_str();
    let kind = match id.holder {
        PieceHolder::Block(_) => ObjectKind::Delta.kind(field),
        PieceHolder::Choice(_) if ["text", "name", "arguments"].contains(&field) => ObjectKind::Tool.kind(field),
        PieceHolder::Choice(_) => ObjectKind::Message.kind(field),
        PieceHolder::Call { .. } => ObjectKind::Tool.kind(field),
        PieceHolder::Reasoning { .. } => ObjectKind::Block.kind(field),
        PieceHolder::Other => None,
        PieceHolder::Item { .. } => {
            let is_input = ["arguments.delta", "input.delta"].iter().any(|end| field.ends_with(end));
            Some(if is_input { FieldKind::Arguments } else { FieldKind::Said })
        }
    };
    kind.unwrap_or(FieldKind::Free)
}
