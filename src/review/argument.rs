//! A pending outcome argument by argument: those that differ first, then the others. Pure.

use serde_json::Value;

use super::PendingOutcome;
use crate::snapshot::{Outcome, ToolUse};

/// One place of an outcome, as it is accepted and as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Where it is in the outcome, such as `tool_use[0].input.file_path`.
    pub place: String,
    /// For people, such as `Read file_path`.
    pub label: String,
    /// What changed, by the name of its kind; `None` where nothing did.
    pub kind: Option<String>,
    /// What is accepted.
    pub accepted: Option<Value>,
    /// What came.
    pub found: Option<Value>,
    /// What else there is to say.
    pub note: Option<String>,
    /// What a match rule names: the tool, and a JSONPath into its input.
    pub rule_path: Option<(String, String)>,
}

/// The arguments of a pending outcome.
pub fn arguments(pending: &PendingOutcome) -> Vec<Argument> {
    let mut arguments: Vec<Argument> = Vec::new();
    for finding in pending.findings.iter().filter(|finding| finding.place.is_some()) {
        let place = finding.place.clone().unwrap_or_default();
        let call = call_at(&place, &pending.seen).or_else(|| call_at(&place, pending.nearest.as_ref()?));
        let path = place.split_once(".input").map(|(_, path)| path.to_owned());
        let label = match (&call, &path) {
            (Some(call), Some(path)) => format!("{}{}", call.name, in_words(path)),
            (Some(call), None) if place.ends_with(".name") => format!("{} name", call.name),
            (Some(call), None) => call.name.clone(),
            (None, _) => place.clone(),
        };
        let rule_path = call.zip(path).map(|(call, path)| (call.name.clone(), format!("${}", any_item(&path))));
        arguments.push(Argument {
            place,
            label,
            kind: Some(finding.kind.to_string()),
            accepted: finding.accepted.clone(),
            found: finding.found.clone(),
            note: finding.note.clone(),
            rule_path,
        });
    }
    let unchanged = unchanged(pending, &arguments);
    arguments.extend(unchanged);
    arguments
}

/// The arguments of the calls that came, without those that are listed.
fn unchanged(pending: &PendingOutcome, listed: &[Argument]) -> Vec<Argument> {
    let is_new = pending.nearest.is_none();
    let of_call = |(at, call): (usize, &ToolUse)| {
        let values = match &call.input {
            Value::Object(values) => values.iter().map(|(name, value)| (format!(".{name}"), value.clone())).collect(),
            other => vec![(String::new(), other.clone())],
        };
        let name = call.name.clone();
        values.into_iter().map(move |(path, value)| Argument {
            place: format!("tool_use[{at}].input{path}"),
            label: format!("{name}{}", in_words(&path)),
            kind: None,
            accepted: (!is_new).then(|| value.clone()),
            found: Some(value),
            note: None,
            rule_path: None,
        })
    };
    let is_listed = |argument: &Argument| {
        listed.iter().any(|other| is_within(&argument.place, &other.place) || is_within(&other.place, &argument.place))
    };
    let all = pending.seen.tool_use.iter().enumerate().flat_map(of_call);
    all.filter(|argument| !is_listed(argument)).collect()
}

impl Argument {
    /// The value at this place in another outcome.
    pub fn in_outcome(&self, outcome: &Outcome) -> Option<Value> {
        let pointer = self.place.replace(']', "").replace(['.', '['], "/");
        // Strings and JSON values only: serializing them cannot fail.
        serde_json::to_value(outcome).unwrap_or_default().pointer(&format!("/{pointer}")).cloned()
    }
}

/// Whether a place is another one, or a part of it.
fn is_within(place: &str, whole: &str) -> bool {
    place.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The call that a place is in.
fn call_at<'a>(place: &str, outcome: &'a Outcome) -> Option<&'a ToolUse> {
    let number = place.strip_prefix("tool_use[")?.split(']').next()?;
    outcome.tool_use.get(number.parse::<usize>().ok()?)
}

/// `.todos[0].id` as ` todos[0].id`.
fn in_words(path: &str) -> String {
    path.strip_prefix('.').map_or_else(|| path.to_owned(), |path| format!(" {path}"))
}

/// A path with `*` in place of the numbers of items: rules are for lists of any length.
fn any_item(path: &str) -> String {
    let mut out = String::new();
    for (at, part) in path.split('[').enumerate() {
        match part.split_once(']') {
            Some((number, rest)) if at > 0 && number.bytes().all(|byte| byte.is_ascii_digit()) => out += &format!("[*]{rest}"),
            _ if at > 0 => out += &format!("[{part}"),
            _ => out += part,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::testing::{changed, new};
    use serde_json::json;

    #[test]
    fn what_differs_is_first_and_has_the_path_of_a_rule() {
        let input = |path: &str| json!({"limit": 5, "file_path": path, "todos": [{"id": 1}]});
        let arguments = arguments(&changed(1, ("Read", input("/a/b")), ("Read", input("/c/b"))));
        let labels: Vec<_> = arguments.iter().map(|argument| (argument.label.as_str(), argument.kind.as_deref())).collect();
        assert_eq!(labels, [("Read file_path", Some("path-changed")), ("Read limit", None), ("Read todos", None)]);
        assert_eq!(arguments[0].rule_path, Some(("Read".into(), "$.file_path".into())));
        assert_eq!((&arguments[0].accepted, &arguments[0].found), (&Some(json!("/a/b")), &Some(json!("/c/b"))));
    }

    #[test]
    fn a_renamed_tool_still_has_its_arguments() {
        let arguments = arguments(&changed(1, ("Read", json!({"a": 1})), ("read_file", json!({"a": 1}))));
        let labels: Vec<_> = arguments.iter().map(|argument| argument.label.as_str()).collect();
        assert_eq!(labels, ["read_file name", "read_file a"]);
    }

    #[test]
    fn a_new_outcome_has_nothing_accepted_and_the_recorded_value_is_found_by_its_place() {
        let pending = new(1, "Read", json!({"file_path": "a"}));
        let arguments = arguments(&pending);
        assert_eq!((&arguments[0].accepted, &arguments[0].found), (&None, &Some(json!("a"))));
        assert_eq!(arguments[0].in_outcome(&pending.snapshot.outcome), Some(json!("a")));
    }

    #[test]
    fn items_of_lists_have_one_path() {
        assert_eq!(any_item(".todos[12].id[x][0]"), ".todos[*].id[x][*]");
    }
}
