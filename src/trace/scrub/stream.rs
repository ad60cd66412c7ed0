//! Scrubbing the events of an answer. The joined text of each block is scrubbed and cut where it was cut before.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::structure::{FieldKind, Place};
use super::walk::{Speaker, Walker};
use crate::trace::RecordedEvent;

/// The fields whose text is spread over deltas. A word may begin in one and end in the next.
const SPELLED: [(&str, FieldKind); 4] = [
    ("text", FieldKind::Said),
    ("thinking", FieldKind::Free),
    ("signature", FieldKind::Hash),
    ("partial_json", FieldKind::Arguments),
];

/// What ends a stream of chat completions.
const DONE: &str = "[DONE]";

/// Scrubs events. Each piece of a text keeps its number of characters.
pub(super) fn events(walker: &Walker, events: &mut [RecordedEvent]) {
    let mut pieces_of: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (position, event) in events.iter_mut().enumerate() {
        event.event = walker.text(&event.event, FieldKind::Name, Speaker::Other);
        let index = event.data["index"].as_u64().unwrap_or_default();
        match spelled_in(&event.data) {
            Some((holder, place)) => {
                pieces_of.entry(index).or_default().push(position);
                outside(walker, &mut event.data, holder, place);
            }
            None if event.data == DONE => {}
            None => walker.value(&mut event.data, FieldKind::In(Place::Answer), Speaker::Other),
        }
    }
    for positions in pieces_of.into_values() {
        for (field, kind) in SPELLED {
            respell(walker, events, &positions, field, kind);
        }
    }
}

/// The field of an event that holds pieces of text, and its place; `None` if the event spells nothing.
fn spelled_in(data: &Value) -> Option<(&'static str, Place)> {
    let (holder, place) = match data["type"].as_str()? {
        "content_block_start" => ("content_block", Place::Block),
        "content_block_delta" => ("delta", Place::Delta),
        _ => return None,
    };
    data[holder].is_object().then_some((holder, place))
}

/// Scrubs everything of an event but its piece of text.
fn outside(walker: &Walker, data: &mut Value, holder: &str, place: Place) {
    let mut held = data[holder].take();
    if let Value::Object(fields) = &mut held {
        let spelled = SPELLED.map(|(field, _)| field);
        let spelled: Vec<&str> = spelled.into_iter().filter(|field| fields.get(*field).is_some_and(Value::is_string)).collect();
        walker.fields(fields, place, Speaker::Other, &spelled);
    }
    walker.value(data, FieldKind::In(Place::Answer), Speaker::Other);
    data[holder] = held;
}

/// Scrubs the joined text of `field` in the events at `positions`. Each piece keeps its number of characters; the last one gets
/// the rest.
fn respell(walker: &Walker, events: &mut [RecordedEvent], positions: &[usize], field: &str, kind: FieldKind) {
    let mut pieces: Vec<&mut String> = Vec::new();
    let mut wanted = positions.iter().copied().peekable();
    for (position, event) in events.iter_mut().enumerate() {
        if wanted.next_if_eq(&position).is_some()
            && let Some(Value::String(piece)) = holder_of(&mut event.data).and_then(|fields| fields.get_mut(field))
        {
            pieces.push(piece);
        }
    }
    let whole: String = pieces.iter().map(|piece| piece.as_str()).collect();
    let scrubbed = if whole.is_empty() { whole } else { walker.text(&whole, kind, Speaker::Other) };
    let mut rest = scrubbed.chars();
    let last = pieces.len().saturating_sub(1);
    for (number, piece) in pieces.into_iter().enumerate() {
        let length = if number == last { usize::MAX } else { piece.chars().count() };
        *piece = rest.by_ref().take(length).collect();
    }
}

fn holder_of(data: &mut Value) -> Option<&mut Map<String, Value>> {
    let (holder, _) = spelled_in(data)?;
    data[holder].as_object_mut()
}
