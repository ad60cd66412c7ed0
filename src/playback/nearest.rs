//! Which recording comes nearest to a request that has none, and where it differs. Pure.

use serde_json::{Map, Value};

use super::canonical::Canonical;
use crate::replay::{member, one_line};

/// The longest value in a message, in characters.
const SHOWN: usize = 100;

/// In which order fields are compared: what a whole session shares comes first. Other fields come behind the first.
const ORDER: [&str; 4] = ["model", "tools", "system", "messages"];

/// Two requests beside each other.
#[derive(Default)]
pub(super) struct Comparison {
    /// How many numbers and texts are equal.
    alike: usize,
    /// The first place at which they differ, and how.
    pub first: Option<String>,
}

/// The recording with the most in common; of several, the first.
pub(super) fn nearest<'a, T>(request: &Canonical, recorded: impl Iterator<Item = (T, &'a Canonical)>) -> Option<(T, Comparison)> {
    let compared = recorded.map(|(name, recording)| (name, Comparison::of(recording, request)));
    compared.reduce(|best, next| if next.1.alike > best.1.alike { next } else { best })
}

impl Comparison {
    fn of(recorded: &Canonical, request: &Canonical) -> Self {
        let mut comparison = Self::default();
        comparison.objects(&in_order(&recorded.0), &in_order(&request.0), "");
        comparison
    }

    fn values(&mut self, recorded: &Value, came: &Value, place: &str) {
        match (recorded, came) {
            (Value::Object(recorded), Value::Object(came)) => self.objects(recorded, came, place),
            (Value::Array(recorded), Value::Array(came)) => {
                for at in 0..recorded.len().max(came.len()) {
                    self.maybe(recorded.get(at), came.get(at), || format!("{place}[{at}]"));
                }
            }
            _ if recorded == came => self.alike += 1,
            _ => self.differ(place, Some(recorded), Some(came)),
        }
    }

    fn objects(&mut self, recorded: &Map<String, Value>, came: &Map<String, Value>, place: &str) {
        let added = came.keys().filter(|name| !recorded.contains_key(*name));
        for name in recorded.keys().chain(added) {
            let inner = || format!("{place}{}", member(name)).trim_start_matches('.').to_owned();
            self.maybe(recorded.get(name), came.get(name), inner);
        }
    }

    fn maybe(&mut self, recorded: Option<&Value>, came: Option<&Value>, place: impl Fn() -> String) {
        match (recorded, came) {
            (Some(recorded), Some(came)) => self.values(recorded, came, &place()),
            _ => self.differ(&place(), recorded, came),
        }
    }

    fn differ(&mut self, place: &str, recorded: Option<&Value>, came: Option<&Value>) {
        if self.first.is_none() {
            let (recorded, came) = (shown(recorded, came), shown(came, recorded));
            self.first = Some(format!("{place}: {recorded} is recorded, {came} came"));
        }
    }
}

/// The fields in the order in which they are compared.
fn in_order(fields: &Map<String, Value>) -> Map<String, Value> {
    let rank = |name: &str| ORDER.iter().position(|known| *known == name).map_or(1, |at| at * 2);
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| (rank(name), *name));
    sorted.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect()
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
