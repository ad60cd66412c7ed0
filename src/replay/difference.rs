//! What differs between an accepted outcome and one that came, each difference under its name. Pure.

use serde_json::Value;

use super::align::align;
use super::place::member;
use super::{Finding, Kind};
use crate::snapshot::{Outcome, ToolUse};
use crate::trace::{CallEnd, is_malformed};
use crate::wire::StopReason;

/// The differences, the most important first; none if the outcomes are equal. `text` is that of the answer that came: it is in
/// the findings where a call is missing.
pub fn differences(accepted: &Outcome, found: &Outcome, text: &str) -> Vec<Finding> {
    if accepted == found {
        return Vec::new();
    }
    let mut findings = of_calls(accepted, found);
    let names_the_reason = |finding: &Finding| matches!(finding.kind, Kind::TextInsteadOfCall | Kind::CallInsteadOfText);
    if accepted.stop_reason != found.stop_reason {
        let [old, new] = [accepted, found].map(|outcome| serde_json::to_value(&outcome.stop_reason).unwrap_or_default());
        if found.stop_reason.as_ref().is_some_and(StopReason::cuts) {
            findings.push(Finding::at(Kind::CutOff, "stop_reason", Some(&old), Some(&new)));
        } else if !findings.iter().any(names_the_reason) {
            findings.push(Finding::at(Kind::StopReasonChanged, "stop_reason", Some(&old), Some(&new)));
        }
    }
    let a_call_is_gone = |finding: &&mut Finding| matches!(finding.kind, Kind::TextInsteadOfCall | Kind::CallMissing);
    if let (Some(gone), false) = (findings.iter_mut().find(a_call_is_gone), text.is_empty()) {
        gone.note = Some(format!("the answer's text is {text:?}"));
    }
    findings.sort_by_key(|finding| finding.kind);
    findings
}

fn of_calls(accepted: &Outcome, found: &Outcome) -> Vec<Finding> {
    let (old, new) = (&accepted.tool_use, &found.tool_use);
    if old == new {
        return Vec::new();
    }
    match (old.is_empty(), new.is_empty()) {
        (true, true) => return Vec::new(),
        (false, true) => return vec![Finding::at(Kind::TextInsteadOfCall, "tool_use", Some(&named(old)), None)],
        (true, false) => return vec![Finding::at(Kind::CallInsteadOfText, "tool_use", None, Some(&named(new)))],
        (false, false) => {}
    }
    if is_reordered(old, new) {
        return vec![Finding::at(Kind::CallsReordered, "tool_use", Some(&named(old)), Some(&named(new)))];
    }
    let mut findings = Vec::new();
    let (old, merged) = without_merged(old, new, &mut findings);
    for (at_old, at_new) in align(&old.iter().map(|(_, call)| (*call).clone()).collect::<Vec<_>>(), new) {
        match (at_old.map(|at| old[at]), at_new) {
            (Some((at, call)), None) => {
                findings.push(Finding::at(Kind::CallMissing, place(at), Some(&call_json(call)), None));
            }
            (None, Some(at)) if merged.contains(&at) => {}
            (None, Some(at)) => findings.push(Finding::at(Kind::CallAdded, place(at), None, Some(&call_json(&new[at])))),
            (Some((_, call)), Some(at)) => {
                let end = CallEnd::of(found.stop_reason.as_ref(), at + 1 == new.len());
                of_call(call, &new[at], at, end, &mut findings);
            }
            (None, None) => {}
        }
    }
    findings
}

fn place(at: usize) -> String {
    format!("tool_use[{at}]")
}

fn named(calls: &[ToolUse]) -> Value {
    calls.iter().map(|call| Value::from(call.name.as_str())).collect()
}

fn call_json(call: &ToolUse) -> Value {
    // A string and a JSON value: serializing them cannot fail.
    serde_json::to_value(call).unwrap_or_default()
}

/// Whether these are the same calls in another order.
fn is_reordered(old: &[ToolUse], new: &[ToolUse]) -> bool {
    let mut left: Vec<&ToolUse> = new.iter().collect();
    old.len() == new.len()
        && old.iter().all(|call| {
            let at = left.iter().position(|other| *other == call);
            at.map(|at| left.swap_remove(at)).is_some()
        })
}

/// The accepted calls, with their positions, that did not come as part of a call that has several in it; and the positions of
/// those calls. Adds a finding for each of them.
fn without_merged<'a>(
    old: &'a [ToolUse],
    new: &[ToolUse],
    findings: &mut Vec<Finding>,
) -> (Vec<(usize, &'a ToolUse)>, Vec<usize>) {
    let mut left: Vec<(usize, &ToolUse)> = old.iter().enumerate().collect();
    let mut merged = Vec::new();
    if new.len() >= old.len() {
        return (left, merged);
    }
    for (at, call) in new.iter().enumerate() {
        let parts: Vec<usize> =
            left.iter().filter(|(_, part)| part.name == call.name && has_in_it(call, part)).map(|(at, _)| *at).collect();
        if parts.len() < 2 {
            continue;
        }
        let calls: Value = parts.iter().map(|part| call_json(&old[*part])).collect();
        findings.push(Finding::at(Kind::CallsMerged, place(at), Some(&calls), Some(&call_json(call))));
        left.retain(|(at, _)| !parts.contains(at));
        merged.push(at);
    }
    (left, merged)
}

/// Whether all values of the part's arguments are in the call's arguments, though these are other ones.
fn has_in_it(call: &ToolUse, part: &ToolUse) -> bool {
    let whole = match &call.input {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_inside = |value: &Value| match value {
        Value::String(text) => whole.contains(text.as_str()) || whole.contains(value.to_string().trim_matches('"')),
        other => whole.contains(&other.to_string()),
    };
    let values = part.input.as_object().filter(|values| !values.is_empty());
    call.input != part.input && values.is_some_and(|values| values.values().all(is_inside))
}

/// The differences of one call. `at` is its position in the answer that came.
fn of_call(old: &ToolUse, new: &ToolUse, at: usize, end: CallEnd, findings: &mut Vec<Finding>) {
    if old.name != new.name {
        let kind = if old.input == new.input { Kind::ToolRenamed } else { Kind::OtherTool };
        let (old_name, new_name) = (Value::from(old.name.as_str()), Value::from(new.name.as_str()));
        findings.push(Finding::at(kind, format!("{}.name", place(at)), Some(&old_name), Some(&new_name)));
        if kind == Kind::OtherTool {
            return;
        }
    }
    let place = format!("{}.input", place(at));
    if old.input.is_object() && is_malformed(&new.input, end) && !is_escaped_twice(&old.input, &new.input) {
        findings.push(Finding::at(Kind::MalformedArguments, place, Some(&old.input), Some(&new.input)));
    } else {
        of_value(&old.input, &new.input, &place, findings);
    }
}

/// The differences of two JSON values, down to the arguments that differ.
fn of_value(old: &Value, new: &Value, place: &str, findings: &mut Vec<Finding>) {
    if old == new {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        for (name, value) in old {
            match new.get(name) {
                Some(other) => of_value(value, other, &format!("{place}{}", member(name)), findings),
                None => findings.push(Finding::at(Kind::ArgumentLost, format!("{place}{}", member(name)), Some(value), None)),
            }
        }
        for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
            findings.push(Finding::at(Kind::ArgumentAdded, format!("{place}{}", member(name)), None, Some(value)));
        }
        return;
    }
    if let (Value::Array(old), Value::Array(new)) = (old, new)
        && old.len() == new.len()
    {
        for (at, (old, new)) in old.iter().zip(new).enumerate() {
            of_value(old, new, &format!("{place}[{at}]"), findings);
        }
        return;
    }
    let kind = match (old, new) {
        _ if is_escaped_twice(old, new) => Kind::JsonEscapedTwice,
        (Value::String(old), Value::String(new)) if old.split_whitespace().eq(new.split_whitespace()) => Kind::WhiteSpace,
        (Value::String(old), Value::String(new)) if is_same_file_elsewhere(old, new, place) => Kind::PathChanged,
        _ => Kind::ArgumentChanged,
    };
    findings.push(Finding::at(kind, place, Some(old), Some(new)));
}

/// Whether the new value is a string whose JSON is the old value, or the old text with its escapes escaped again.
fn is_escaped_twice(old: &Value, new: &Value) -> bool {
    let Value::String(text) = new else { return false };
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let unescaped = || serde_json::from_str::<Value>(&format!("\"{text}\"")).ok();
    // Numbers and words in quotes are their text, and no JSON that was escaped again.
    let is_structured = old.is_object() || old.is_array() || old.is_string();
    is_structured && (parsed.as_ref() == Some(old) || (old.is_string() && old != new && unescaped().as_ref() == Some(old)))
}

/// Whether both texts are paths of one file in different folders.
fn is_same_file_elsewhere(old: &str, new: &str, place: &str) -> bool {
    const SEPARATORS: [char; 2] = ['/', '\\'];
    let last = |path: &str| path.trim_end_matches(SEPARATORS).rsplit(SEPARATORS).next().unwrap_or_default().to_owned();
    let named_like_a_path = ["path", "file", "dir", "folder", "cwd"].iter().any(|word| place.to_lowercase().contains(word));
    let is_path = |text: &str| named_like_a_path || !text.contains(char::is_whitespace);
    let has_folder = |text: &str| text.contains(SEPARATORS);
    is_path(old) && is_path(new) && (has_folder(old) || has_folder(new)) && !last(old).is_empty() && last(old) == last(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(calls: Value) -> Outcome {
        let reason = if calls.as_array().unwrap().is_empty() { StopReason::EndTurn } else { StopReason::ToolUse };
        let calls = calls
            .as_array()
            .unwrap()
            .iter()
            .map(|call| ToolUse { name: call[0].as_str().unwrap().into(), input: call[1].clone() });
        Outcome { stop_reason: Some(reason), tool_use: calls.collect() }
    }

    fn found(accepted: Value, found: Value) -> String {
        let findings = differences(&outcome(accepted), &outcome(found), "");
        let words = |finding: &Finding| format!("{} {}", finding.kind, finding.place.as_deref().unwrap_or_default());
        findings.iter().map(words).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn each_difference_has_its_name_and_place() {
        let read = |path: &str| json!(["Read", {"file_path": path}]);
        let bash = |command: &str| json!(["Bash", {"command": command, "timeout": 5}]);
        let table = [
            (json!([read("/a/b")]), json!([read("/a/b")]), ""),
            (json!([read("/a/b")]), json!([["read_file", {"file_path": "/a/b"}]]), "tool-renamed tool_use[0].name"),
            (json!([read("/a/b")]), json!([bash("ls")]), "other-tool tool_use[0].name"),
            (json!([bash("ls")]), json!([["Bash", {"command": "ls"}]]), "argument-lost tool_use[0].input.timeout"),
            (json!([["Bash", {"command": "ls"}]]), json!([bash("ls")]), "argument-added tool_use[0].input.timeout"),
            (json!([["Grep", {"-n": 1}]]), json!([["Grep", {"-n": 2}]]), "argument-changed tool_use[0].input['-n']"),
            (json!([bash("ls")]), json!([bash("pwd")]), "argument-changed tool_use[0].input.command"),
            (json!([bash("ls -l\n")]), json!([bash("ls  -l")]), "white-space tool_use[0].input.command"),
            (json!([read("/a/b c")]), json!([read("/x/b c")]), "path-changed tool_use[0].input.file_path"),
            (json!([read("/a/b")]), json!([read("b")]), "path-changed tool_use[0].input.file_path"),
            (json!([bash("cat /a/b")]), json!([bash("cd /a; cat b")]), "argument-changed tool_use[0].input.command"),
            (json!([bash("a\"b\n")]), json!([bash("a\\\"b\\n")]), "json-escaped-twice tool_use[0].input.command"),
            (json!([bash("ls")]), json!([bash("\"ls\"")]), "json-escaped-twice tool_use[0].input.command"),
            (
                json!([["Todo", {"list": [{"a": 1}]}]]),
                json!([["Todo", {"list": "[{\"a\":1}]"}]]),
                "json-escaped-twice tool_use[0].input.list",
            ),
            (json!([read("/a")]), json!([["Read", "{\"file_path\":\"/a\"}"]]), "json-escaped-twice tool_use[0].input"),
            (json!([read("/a")]), json!([["Read", "{\"file_path\":\"/a\""]]), "malformed-arguments tool_use[0].input"),
            (
                json!([["Todo", {"list": [1, 2]}]]),
                json!([["Todo", {"list": [1, 3]}]]),
                "argument-changed tool_use[0].input.list[1]",
            ),
            (json!([["T", {"n": 5}]]), json!([["T", {"n": "5"}]]), "argument-changed tool_use[0].input.n"),
            (json!([read("/a"), bash("ls")]), json!([bash("ls"), read("/a")]), "calls-reordered tool_use"),
            (json!([read("/a"), bash("ls")]), json!([bash("ls")]), "call-missing tool_use[0]"),
            (json!([bash("ls")]), json!([read("/a"), bash("ls")]), "call-added tool_use[0]"),
            (json!([read("/a")]), json!([]), "text-instead-of-call tool_use"),
            (json!([]), json!([read("/a")]), "call-instead-of-text tool_use"),
            // Two calls' arguments in one call, as text that is no JSON or as one list.
            (
                json!([read("/a"), read("/b")]),
                json!([["Read", "{\"file_path\":\"/a\"}{\"file_path\":\"/b\"}"]]),
                "calls-merged tool_use[0]",
            ),
            (json!([read("/a"), read("/b")]), json!([["Read", {"file_path": ["/a", "/b"]}]]), "calls-merged tool_use[0]"),
            (
                json!([read("/a"), read("/b"), bash("ls")]),
                json!([["Read", {"file_path": "/a, /b"}], bash("pwd")]),
                "calls-merged tool_use[0]; argument-changed tool_use[1].input.command",
            ),
        ];
        for (accepted, other, expected) in table {
            assert_eq!(found(accepted.clone(), other.clone()), expected, "{accepted} / {other}");
        }
    }

    #[test]
    fn why_an_answer_ended_is_named_where_nothing_else_says_it() {
        let stopped = |reason: StopReason, calls: Value| Outcome { stop_reason: Some(reason), ..outcome(calls) };
        let kinds = |accepted: &Outcome, found: &Outcome| -> Vec<Kind> {
            differences(accepted, found, "").iter().map(|finding| finding.kind).collect()
        };
        let call = || json!([["Read", {"file_path": "/a"}]]);
        let whole = stopped(StopReason::ToolUse, call());
        assert_eq!(kinds(&whole, &stopped(StopReason::EndTurn, call())), [Kind::StopReasonChanged]);
        assert_eq!(kinds(&whole, &stopped(StopReason::EndTurn, json!([]))), [Kind::TextInsteadOfCall]);
        // What the limit cut is not malformed.
        let cut = stopped(StopReason::MaxTokens, json!([["Read", "{\"file_path\":"]]));
        assert_eq!(kinds(&whole, &cut), [Kind::CutOff, Kind::ArgumentChanged]);
    }

    #[test]
    fn the_text_that_came_instead_of_a_call_is_said() {
        let findings = differences(&outcome(json!([["Read", {"a": 1}]])), &outcome(json!([])), "I cannot read files.");
        assert_eq!(
            findings[0].to_string(),
            r#"text-instead-of-call: tool_use: ["Read"] is accepted, nothing came: the answer's text is "I cannot read files.""#
        );
    }
}
