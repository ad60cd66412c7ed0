//! Which recording comes nearest to a request that has none, and where it differs. Pure.

use serde_json::{Map, Value};

use crate::replay::{JsonDifference, json_differences, member, one_line};
use crate::trace::CanonicalRequest;

/// The longest value in a message, and the longest place, in characters.
const SHOWN: usize = 100;

/// How many of these characters are before the first one that differs.
const SHOWN_BEFORE: usize = 20;

/// In which order fields are compared: what a whole session shares comes first. Other fields come behind the first.
const ORDER: [&str; 4] = ["model", "tools", "system", "messages"];

/// The recording with the most in common, of several the first; and the first place at which it differs, and how.
pub(super) fn nearest<'a, T>(
    request: &CanonicalRequest,
    recorded: impl Iterator<Item = (T, &'a CanonicalRequest)>,
) -> Option<(T, Option<String>)> {
    let counted = recorded.map(|(name, recording)| (name, recording, alike_fields(recording.fields(), request.fields())));
    let (name, recording, _) = counted.reduce(|best, next| if next.2 > best.2 { next } else { best })?;
    Some((name, first_difference(recording.fields(), request.fields()).map(told)))
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

fn first_difference<'a>(recorded: &'a Map<String, Value>, came: &'a Map<String, Value>) -> Option<JsonDifference<'a>> {
    let rank = |name: &str| ORDER.iter().position(|known| *known == name).map_or(1, |at| at * 2);
    let added = came.keys().filter(|name| !recorded.contains_key(*name));
    let mut names: Vec<_> = recorded.keys().chain(added).collect();
    names.sort_by_key(|name| (rank(name), *name));
    names.into_iter().find_map(|name| {
        let place = member(name).trim_start_matches('.').to_owned();
        match (recorded.get(name), came.get(name)) {
            (Some(old), Some(new)) => json_differences(old, new, &place).into_iter().next(),
            (old, new) => Some(JsonDifference { place, old, new }),
        }
    })
}

fn told(JsonDifference { place, old, new }: JsonDifference<'_>) -> String {
    let place = one_line(&place, SHOWN);
    match (old, new) {
        (Some(Value::String(old)), Some(Value::String(new))) => {
            let same = old.chars().zip(new.chars()).take_while(|(one, other)| one == other).count();
            let (old, new) = (excerpt(old, same), excerpt(new, same));
            format!("{place}, character {}: {old} is recorded, {new} came", same + 1)
        }
        _ => format!("{place}: {} is recorded, {} came", shown(old), shown(new)),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| one_line(&value.to_string(), SHOWN))
}

/// The part of a text around the first character that differs. Blanks are as they are, and what cannot be seen is escaped: it may
/// be all that differs.
fn excerpt(text: &str, same: usize) -> String {
    let skipped = same.saturating_sub(SHOWN_BEFORE);
    let mut rest = text.chars().skip(skipped);
    let part: String = rest.by_ref().take(SHOWN).collect();
    let before = if skipped > 0 { "…" } else { "" };
    let behind = if rest.next().is_some() { "…" } else { "" };
    format!("{before}{part:?}{behind}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(recorded: Value, came: Value) -> String {
        let [recorded, came] = [recorded, came].map(CanonicalRequest::of);
        nearest(&came, [((), &recorded)].into_iter()).unwrap().1.unwrap()
    }

    #[test]
    fn a_difference_is_shown_though_it_cannot_be_seen() {
        let says = |text: &str| json!({"messages": [{"role": "user", "content": text}]});
        let long = "word ".repeat(30);
        let table = [
            difference(says("a b"), says("a  b")),
            difference(says("a\n"), says("a\r\n")),
            difference(says("a b"), says("a\u{a0}b")),
            difference(says(&format!("{long}a{long}")), says(&format!("{long}\ta{long}"))),
        ];
        insta::assert_snapshot!(table.join("\n"), @r#"
        messages[0].content[0].text, character 3: "a b" is recorded, "a  b" came
        messages[0].content[0].text, character 2: "a\n" is recorded, "a\r\n" came
        messages[0].content[0].text, character 2: "a b" is recorded, "a\u{a0}b" came
        messages[0].content[0].text, character 151: …"word word word word aword word word word word word word word word word word word word word word word"… is recorded, …"word word word word \taword word word word word word word word word word word word word word word wor"… came
        "#);
    }

    #[test]
    fn a_long_name_is_cut_and_what_a_session_shares_comes_first() {
        let name = "x".repeat(1_000);
        let told = difference(json!({"messages": []}), json!({"messages": [], name: 1}));
        assert!(told.chars().count() < 200 && told.ends_with("…: nothing is recorded, 1 came"), "{told}");
        let both = difference(
            json!({"model": "a", "tools": [{"name": "T"}]}),
            json!({"model": "a", "tools": [{"name": "U"}], "top_k": 1}),
        );
        insta::assert_snapshot!(both, @"top_k: nothing is recorded, 1 came");
    }
}
