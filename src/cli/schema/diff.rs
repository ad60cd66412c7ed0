//! The differences between two sets of tool definitions, computed and rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use console::style;
use serde_json::Value;

use crate::cli::text::grouped;

/// Tool definitions by name, as the request's JSON has them.
pub(super) type Tools = BTreeMap<String, Value>;

/// Of longer texts only the length is shown.
const SHOWN_CHARACTERS: usize = 40;

/// How a tool differs between the two sets.
#[derive(Debug, PartialEq)]
pub(super) enum Difference {
    /// Only the left set has it.
    OnlyLeft(String),
    /// Only the right set has it.
    OnlyRight(String),
    /// Both have it, with these differences.
    Changed(String, Vec<Change>),
}

/// A value of a tool that differs. `None` if it is absent.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// Its path, such as `input_schema.properties.limit.type`.
    path: String,
    left: Option<Value>,
    right: Option<Value>,
}

/// All differences, sorted by the tools' names.
pub(super) fn differences(left: &Tools, right: &Tools) -> Vec<Difference> {
    let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let difference = |name: &String| match (left.get(name), right.get(name)) {
        (Some(_), None) => Some(Difference::OnlyLeft(name.clone())),
        (None, Some(_)) => Some(Difference::OnlyRight(name.clone())),
        (Some(left), Some(right)) => {
            let changes = changes(left, right);
            (!changes.is_empty()).then(|| Difference::Changed(name.clone(), changes))
        }
        (None, None) => None,
    };
    names.into_iter().filter_map(difference).collect()
}

fn changes(left: &Value, right: &Value) -> Vec<Change> {
    let (mut lefts, mut rights) = (BTreeMap::new(), BTreeMap::new());
    leaves(left, String::new(), &mut lefts);
    leaves(right, String::new(), &mut rights);
    let paths: BTreeSet<&String> = lefts.keys().chain(rights.keys()).collect();
    let changed = paths.into_iter().filter(|path| lefts.get(*path) != rights.get(*path));
    changed.map(|path| Change { path: path.clone(), left: lefts.get(path).cloned(), right: rights.get(path).cloned() }).collect()
}

/// Collects every value that is no object, by its path. A list counts as one value: of `required` or `enum` the whole matters.
fn leaves(value: &Value, path: String, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(value, path, out);
            }
        }
        value => {
            out.insert(path, value.clone());
        }
    }
}

/// The differences as text: a line for each tool, with its changes below it. `left` and `right` are the numbers of tools.
pub(super) fn render(differences: &[Difference], left: usize, right: usize) -> String {
    let mut out = String::new();
    for difference in differences {
        // Writing to a string cannot fail.
        let _ = match difference {
            Difference::OnlyLeft(name) => writeln!(out, "{} {name}  only in A", style("-").red()),
            Difference::OnlyRight(name) => writeln!(out, "{} {name}  only in B", style("+").green()),
            Difference::Changed(name, changes) => writeln!(out, "{} {name}\n{}", style("~").yellow(), lines(changes)),
        };
    }
    let count = |kind: fn(&Difference) -> bool| differences.iter().filter(|difference| kind(difference)).count();
    let changed = count(|difference| matches!(difference, Difference::Changed(..)));
    let only_left = count(|difference| matches!(difference, Difference::OnlyLeft(_)));
    let only_right = count(|difference| matches!(difference, Difference::OnlyRight(_)));
    out + &format!("{left} tools in A, {right} in B: {only_left} only in A, {only_right} only in B, {changed} changed\n")
}

fn lines(changes: &[Change]) -> String {
    let line = |change: &Change| {
        let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "nothing".into(), shown);
        format!("    {}: {} → {}", change.path, value(&change.left), value(&change.right))
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn shown(value: &Value) -> String {
    let characters = |text: &str| format!("{} characters", grouped(text.chars().count() as u64));
    match value {
        Value::String(text) if text.chars().count() > SHOWN_CHARACTERS => characters(text),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tools(tools: Value) -> Tools {
        let tools = tools.as_array().unwrap().clone();
        tools.into_iter().map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool)).collect()
    }

    #[test]
    fn differences_read_as_lines() {
        let left = tools(json!([
            {"name": "Read", "description": "Reads. ".repeat(20), "input_schema": {"properties": {"limit": {"type": "number"}}, "required": ["a"]}},
            {"name": "Same", "input_schema": {}},
            {"name": "WebFetch", "input_schema": {}},
        ]));
        let right = tools(json!([
            {"name": "Read", "description": "Reads.", "input_schema": {"properties": {"limit": {"type": "integer"}}, "required": ["a"]}},
            {"name": "Same", "input_schema": {}},
            {"name": "Bash", "input_schema": {}},
        ]));
        let text = render(&differences(&left, &right), left.len(), right.len());
        insta::assert_snapshot!(console::strip_ansi_codes(&text), @r#"
        + Bash  only in B
        ~ Read
            description: 140 characters → "Reads."
            input_schema.properties.limit.type: "number" → "integer"
        - WebFetch  only in A
        3 tools in A, 3 in B: 1 only in A, 1 only in B, 1 changed
        "#);
        assert!(differences(&left, &left).is_empty());
    }
}
