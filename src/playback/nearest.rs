//! Which recording comes nearest to a request that has none, and where it differs. Pure.

use std::fmt;

use serde_json::{Map, Value};

use super::canonical::Canonical;
use crate::replay::{member, one_line};

/// The longest value in a message, in characters.
const SHOWN: usize = 100;

/// In which order fields are compared: what a whole session shares comes first. Other fields come behind the first.
const ORDER: [&str; 4] = ["model", "tools", "system", "messages"];

/// Where in a request a value is. Written out only for the one difference that is told.
enum Place<'a> {
    Request,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Request => Ok(()),
            Self::Member(Self::Request, name) => f.write_str(member(name).trim_start_matches('.')),
            Self::Member(outer, name) => write!(f, "{outer}{}", member(name)),
            Self::Item(outer, at) => write!(f, "{outer}[{at}]"),
        }
    }
}

/// The recording with the most in common, of several the first; and the first place at which it differs, and how.
pub(super) fn nearest<'a, T>(
    request: &Canonical,
    recorded: impl Iterator<Item = (T, &'a Canonical)>,
) -> Option<(T, Option<String>)> {
    let counted = recorded.map(|(name, recording)| (name, recording, alike_fields(&recording.0, &request.0)));
    let (name, recording, _) = counted.reduce(|best, next| if next.2 > best.2 { next } else { best })?;
    let fields = in_order(&recording.0).into_iter().chain(added(&recording.0, in_order(&request.0)));
    Some((name, first_in(fields, &recording.0, &request.0, &Place::Request)))
}

/// How many numbers and texts are equal.
fn alike(recorded: &Value, came: &Value) -> usize {
    match (recorded, came) {
        (Value::Object(recorded), Value::Object(came)) => alike_fields(recorded, came),
        (Value::Array(recorded), Value::Array(came)) => recorded.iter().zip(came).map(|(one, other)| alike(one, other)).sum(),
        _ => usize::from(recorded == came),
    }
}

fn alike_fields(recorded: &Map<String, Value>, came: &Map<String, Value>) -> usize {
    recorded.iter().filter_map(|(name, value)| Some(alike(value, came.get(name)?))).sum()
}

/// The first place at which two values differ, and how.
fn first_difference(recorded: Option<&Value>, came: Option<&Value>, place: &Place) -> Option<String> {
    match (recorded, came) {
        (Some(Value::Object(recorded)), Some(Value::Object(came))) => {
            first_in(recorded.keys().chain(added(recorded, came.keys())), recorded, came, place)
        }
        (Some(Value::Array(recorded)), Some(Value::Array(came))) => (0..recorded.len().max(came.len()))
            .find_map(|at| first_difference(recorded.get(at), came.get(at), &Place::Item(place, at))),
        _ if recorded == came => None,
        _ => Some(format!("{place}: {} is recorded, {} came", shown(recorded, came), shown(came, recorded))),
    }
}

/// The same of the fields with these names.
fn first_in<'a>(
    mut names: impl Iterator<Item = &'a String>,
    recorded: &Map<String, Value>,
    came: &Map<String, Value>,
    place: &Place,
) -> Option<String> {
    names.find_map(|name| first_difference(recorded.get(name), came.get(name), &Place::Member(place, name)))
}

/// Those of the names that the recording has not.
fn added<'a>(recorded: &Map<String, Value>, names: impl IntoIterator<Item = &'a String>) -> impl Iterator<Item = &'a String> {
    names.into_iter().filter(|name| !recorded.contains_key(*name))
}

/// The names of a request's fields in the order in which they are compared.
fn in_order(fields: &Map<String, Value>) -> Vec<&String> {
    let rank = |name: &str| ORDER.iter().position(|known| *known == name).map_or(1, |at| at * 2);
    let mut names: Vec<_> = fields.keys().collect();
    names.sort_by_key(|name| (rank(name), *name));
    names
}

/// A value beside another one: of two texts the part from where they begin to differ.
fn shown(value: Option<&Value>, other: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".into() };
    let (Some(text), Some(other)) = (value.as_str(), other.and_then(Value::as_str)) else {
        return one_line(&value.to_string(), SHOWN);
    };
    let same = text.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    // A few characters before say where that is.
    let skipped = same.saturating_sub(20);
    let rest: String = text.chars().skip(skipped).collect();
    format!("\"{}{}\"", if skipped > 0 { "…" } else { "" }, one_line(&rest, SHOWN))
}
