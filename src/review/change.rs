//! What changed in a pending outcome: outcomes that changed in the same way have the same change. Pure.

use serde_json::Value;

use super::PendingOutcome;
use super::argument::Argument;
use crate::replay::{Finding, Kind};
use crate::snapshot::ToolUse;

/// The longest part of a value in a line, in characters.
const SHOWN: usize = 30;

/// What changed, such as `path-changed Read file_path: home/me → workspace`. Of changed values it has only the part that
/// differs, so that one cause is one change in all traces that it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// With whole values. What is equal here changed in the same way, and may be decided together.
    pub whole: String,
    /// With the beginnings of long values, for a line of text.
    pub line: String,
}

/// Names what changed.
pub fn change(pending: &PendingOutcome) -> Change {
    Change { whole: words(pending, usize::MAX), line: words(pending, SHOWN) }
}

/// The changes in words, with at most so many characters of each value.
fn words(pending: &PendingOutcome, longest: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for finding in pending.findings.iter().filter(|finding| counts(finding.kind)) {
        let kind = finding.kind;
        let part = match kind {
            Kind::NoSnapshot => format!("{kind} {}", called(&pending.seen.tool_use, longest)),
            Kind::PromptTokensChanged | Kind::CutOff => kind.to_string(),
            _ => described(finding, &Argument::of(finding, pending), longest),
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.is_empty() { "as accepted, under the match rules".into() } else { parts.join("; ") }
}

/// Whether a finding makes an outcome wait for review.
fn counts(kind: Kind) -> bool {
    kind.exit_code() != 0
}

fn called(calls: &[ToolUse], longest: usize) -> String {
    if calls.is_empty() {
        return "(no tool)".into();
    }
    let call = |call: &ToolUse| format!("{} {}", call.name, shown(&call.input.to_string(), longest));
    calls.iter().map(call).collect::<Vec<_>>().join(", ")
}

fn described(finding: &Finding, argument: &Argument, longest: usize) -> String {
    let (kind, label) = (finding.kind, &argument.label);
    let shown = |text: &str| shown(text, longest);
    match (kind, &argument.accepted, &argument.found) {
        // Their values are whole inputs, which differ from trace to trace.
        (Kind::JsonEscapedTwice | Kind::MalformedArguments | Kind::ArgumentLost, ..) => format!("{kind} {label}"),
        (Kind::ArgumentAdded, _, Some(value)) => format!("{kind} {label}: {}", shown(&value.to_string())),
        (Kind::ToolRenamed, Some(Value::String(old)), Some(Value::String(new))) => format!("{kind} {old} → {new}"),
        (
            Kind::TextInsteadOfCall
            | Kind::CallInsteadOfText
            | Kind::CallsReordered
            | Kind::CallsMerged
            | Kind::OtherTool
            | Kind::CallMissing
            | Kind::CallAdded,
            old,
            new,
        ) => {
            let calls: Vec<String> = [old, new].into_iter().flatten().map(|value| calls(value, longest)).collect();
            format!("{kind} {}", calls.join(" → "))
        }
        (_, Some(Value::String(old)), Some(Value::String(new))) => {
            let (old, new) = differing(old, new);
            format!("{kind} {label}: {} → {}", shown(old), shown(new))
        }
        (_, Some(old), Some(new)) => format!("{kind} {label}: {} → {}", shown(&old.to_string()), shown(&new.to_string())),
        (_, Some(_), None) | (_, None, Some(_)) => format!("{kind} {label}"),
        (_, None, None) => kind.to_string(),
    }
}

/// The calls in a value: a call, or a list of them.
fn calls(value: &Value, longest: usize) -> String {
    let list = serde_json::from_value(value.clone()).or_else(|_| serde_json::from_value(value.clone()).map(|call| vec![call]));
    list.map_or_else(|_| shown(&value.to_string(), longest), |calls: Vec<ToolUse>| called(&calls, longest))
}

/// The parts of two texts between what they begin and end with alike, in whole words.
pub(super) fn differing<'a>(old: &'a str, new: &'a str) -> (&'a str, &'a str) {
    let same = |pair: &(char, char)| pair.0 == pair.1;
    let mut start: usize = old.chars().zip(new.chars()).take_while(same).map(|(one, _)| one.len_utf8()).sum();
    let rest = || old[start..].chars().rev().zip(new[start..].chars().rev());
    let mut end: usize = rest().take_while(same).map(|(one, _)| one.len_utf8()).sum();
    let begins_in_word = |text: &str| text.starts_with(char::is_alphanumeric);
    let ends_in_word = |text: &str| text.ends_with(char::is_alphanumeric);
    if begins_in_word(&old[start..]) || begins_in_word(&new[start..]) {
        start = old[..start].trim_end_matches(char::is_alphanumeric).len();
    }
    let behind = |text: &str| text.len() - end;
    if ends_in_word(&old[..behind(old)]) || ends_in_word(&new[..behind(new)]) {
        end = old[behind(old)..].trim_start_matches(char::is_alphanumeric).len();
    }
    (&old[start..old.len() - end], &new[start..new.len() - end])
}

fn shown(text: &str, longest: usize) -> String {
    let text = if text.is_empty() || text.trim() != text { format!("{text:?}") } else { text.replace('\n', "\\n") };
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::testing::{calls, changed, new};
    use serde_json::json;

    #[test]
    fn one_cause_has_one_line_in_all_traces() {
        let read = |folder: &str, file: &str| ("Read", json!({"file_path": format!("{folder}/{file}")}));
        let changes =
            ["red.txt", "src/main.rs"].map(|file| change(&changed(1, read("/home/me", file), read("/workspace", file))));
        assert_eq!(changes[0], changes[1]);
        assert_eq!(changes[0].line, "path-changed Read file_path: home/me → workspace");
    }

    #[test]
    fn a_line_says_what_and_where() {
        let bash = |command: &str| ("Bash", json!({"command": command}));
        let table = [
            (bash("ls"), bash("ls "), "white-space Bash command: \"\" → \" \""),
            (bash("ls"), ("Shell", json!({"command": "ls"})), "tool-renamed Bash → Shell"),
            (bash("ls"), ("Bash", json!({})), "argument-lost Bash command"),
            (("Bash", json!({"n": 1})), ("Bash", json!({"n": 2})), "argument-changed Bash n: 1 → 2"),
        ];
        for (old, new, line) in table {
            assert_eq!(change(&changed(1, old, new)).line, line);
        }
        assert_eq!(change(&new(1, "Bash", json!({}))).line, "no-snapshot Bash {}");
    }

    #[test]
    fn what_is_not_the_same_to_its_end_is_not_the_same_change() {
        let bash = |command: &str| ("Bash", json!({"command": command}));
        let long = "cd /home/someone/with/a/long/name/of/a/folder && ";
        let (harmless, harmful) = (bash(&format!("{long}ls")), bash(&format!("{long}rm -rf /")));
        let timeout = |seconds: i32| ("Bash", json!({"command": "ls", "timeout": seconds}));
        let (ls, pwd) = (bash("ls"), bash("pwd"));
        let pairs = [
            [changed(1, pwd.clone(), harmless.clone()), changed(2, pwd.clone(), harmful.clone())],
            [changed(1, ls.clone(), timeout(5)), changed(2, ls, timeout(99999))],
            [calls(1, &[], &[&harmless]), calls(2, &[], &[&harmful])],
            [calls(1, &[&pwd], &[&pwd, &harmless]), calls(2, &[&pwd], &[&pwd, &harmful])],
            [new(1, harmless.0, harmless.1.clone()), new(2, harmful.0, harmful.1.clone())],
        ];
        for pair in pairs {
            let [one, other] = pair.map(|pending| change(&pending).whole);
            assert_ne!(one, other);
        }
        let line = change(&calls(1, &[], &[&harmful])).line;
        assert_eq!(line, "call-instead-of-text Bash {\"command\":\"cd /home/someone/w…");
    }

    #[test]
    fn the_differing_parts_never_overlap() {
        let table = [
            ("aa", "aaa", ("aa", "aaa")),
            ("/home/me/a", "/workspace/a", ("home/me", "workspace")),
            ("/a/b", "/a/c/b", ("", "c/")),
            ("é", "è", ("é", "è")),
            ("x", "x", ("", "")),
        ];
        for (old, new, parts) in table {
            assert_eq!(differing(old, new), parts);
        }
    }
}
