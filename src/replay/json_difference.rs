//! What differs between two JSON values, by places. Pure.

use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::place::member;
use crate::trace::digest;

/// A place at which two values differ, as far down as it goes.
#[derive(Debug, PartialEq)]
pub struct JsonDifference<'a> {
    /// Such as `request.body.messages[3].content`. Items are counted as the old value has them, added ones as the new one does.
    pub place: String,
    /// `None` if only the new value has something there.
    pub old: Option<&'a Value>,
    /// `None` if only the old value has something there.
    pub new: Option<&'a Value>,
}

/// The differences of two values at a place. The order of keys counts as none; the items of lists are paired so that the least has
/// changed.
pub fn json_differences<'a>(old: &'a Value, new: &'a Value, place: &str) -> Vec<JsonDifference<'a>> {
    let mut differences = Vec::new();
    of_values(old, new, place, &mut differences);
    differences
}

fn of_values<'a>(old: &'a Value, new: &'a Value, place: &str, differences: &mut Vec<JsonDifference<'a>>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(old), Value::Object(new)) => of_fields(old, new, place, differences),
        (Value::Array(old), Value::Array(new)) => of_items(old, new, place, differences),
        _ => differences.push(JsonDifference { place: place.to_owned(), old: Some(old), new: Some(new) }),
    }
}

fn of_fields<'a>(
    old: &'a Map<String, Value>,
    new: &'a Map<String, Value>,
    place: &str,
    differences: &mut Vec<JsonDifference<'a>>,
) {
    for (name, value) in old {
        let place = format!("{place}{}", member(name));
        match new.get(name) {
            Some(other) => of_values(value, other, &place, differences),
            None => differences.push(JsonDifference { place, old: Some(value), new: None }),
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        differences.push(JsonDifference { place: format!("{place}{}", member(name)), old: None, new: Some(value) });
    }
}

fn of_items<'a>(old: &'a [Value], new: &'a [Value], place: &str, differences: &mut Vec<JsonDifference<'a>>) {
    let digests = [old, new].map(|items| items.iter().map(digest).collect::<Vec<_>>());
    for operation in capture_diff_slices(Algorithm::Myers, &digests[0], &digests[1]) {
        if let DiffOp::Equal { .. } = operation {
            continue;
        }
        let (gone, came) = (operation.old_range(), operation.new_range());
        let paired = gone.len().min(came.len());
        for (at_old, at_new) in gone.clone().zip(came.clone()) {
            of_values(&old[at_old], &new[at_new], &format!("{place}[{at_old}]"), differences);
        }
        let lost = gone.skip(paired).map(|at| JsonDifference { place: format!("{place}[{at}]"), old: Some(&old[at]), new: None });
        differences.extend(lost);
        let added =
            came.skip(paired).map(|at| JsonDifference { place: format!("{place}[{at}]"), old: None, new: Some(&new[at]) });
        differences.extend(added);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(old: Value, new: Value) -> String {
        let side = |value: Option<&Value>| value.map_or("-".to_owned(), Value::to_string);
        let line = |one: JsonDifference<'_>| format!("{} {} {}", one.place, side(one.old), side(one.new));
        json_differences(&old, &new, "body").into_iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn differences_are_named_by_their_places() {
        assert_eq!(said(json!({"a": 1, "b": [1]}), json!({"b": [1], "a": 1})), "");
        assert_eq!(said(json!({"a": 1, "x-y": 2}), json!({"a": "1", "c": 3})), "body.a 1 \"1\"; body['x-y'] 2 -; body.c - 3");
        assert_eq!(said(json!([1, 2, 3]), json!([1, 3, 4])), "body[1] 2 -; body[2] - 4");
        let tools = |description: &str| json!([{"name": "A"}, {"name": "B", "description": description}, {"name": "C"}]);
        assert_eq!(said(tools("old"), tools("new")), "body[1].description \"old\" \"new\"");
        assert_eq!(said(json!([{"a": 1, "b": 2}]), json!([{"b": 2, "a": 1}, 5])), "body[1] - 5");
        assert_eq!(said(json!([1]), json!({"0": 1})), "body [1] {\"0\":1}");
    }
}
