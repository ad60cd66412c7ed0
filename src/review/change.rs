//! What changed in a pending outcome, in one line: outcomes that changed in the same way have the same line. Pure.

use serde_json::Value;

use super::PendingOutcome;
use super::argument::arguments;
use crate::replay::{Finding, Kind};

/// The longest part of a value in the line, in characters.
const SHOWN: usize = 30;

/// What changed, such as `path-changed Read file_path: home/me → workspace`. Of changed values it has only the part that
/// differs, so that one cause has one line in all traces that it changed.
pub fn change(pending: &PendingOutcome) -> String {
    let arguments = arguments(pending);
    let mut parts: Vec<String> = Vec::new();
    for finding in pending.findings.iter().filter(|finding| counts(finding.kind)) {
        let label = arguments.iter().find(|argument| finding.place.as_ref() == Some(&argument.place));
        let label = label.map(|argument| argument.label.as_str()).unwrap_or_default();
        let part = match finding.kind {
            Kind::NoSnapshot => format!("{} {}", finding.kind, called(pending)),
            Kind::PromptTokensChanged | Kind::CutOff => finding.kind.to_string(),
            // Their values are whole inputs, which differ from trace to trace.
            Kind::JsonEscapedTwice | Kind::MalformedArguments => format!("{} {label}", finding.kind),
            _ => described(finding, label),
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

fn called(pending: &PendingOutcome) -> String {
    let names = pending.seen.tool_names();
    if names.is_empty() { "(no tool)".into() } else { names.join(", ") }
}

fn described(finding: &Finding, label: &str) -> String {
    let kind = finding.kind;
    match (&finding.accepted, &finding.found) {
        (Some(old), Some(new)) if kind == Kind::CallsReordered || kind == Kind::CallsMerged => {
            format!("{kind} {}", names(if kind == Kind::CallsMerged { new } else { old }))
        }
        (Some(Value::String(old)), Some(Value::String(new))) if matches!(kind, Kind::ToolRenamed | Kind::OtherTool) => {
            format!("{kind} {old} → {new}")
        }
        (Some(Value::String(old)), Some(Value::String(new))) => {
            let (old, new) = differing(old, new);
            format!("{kind} {label}: {} → {}", shown(old), shown(new))
        }
        (Some(_), None) | (None, Some(_)) if label.contains(' ') => format!("{kind} {label}"),
        (Some(calls), None) | (None, Some(calls)) => format!("{kind} {}", names(calls)),
        (Some(old), Some(new)) => format!("{kind} {label}: {} → {}", shown(&old.to_string()), shown(&new.to_string())),
        (None, None) => kind.to_string(),
    }
}

/// The tools in a value of calls: a list of names, or of calls, or a call.
fn names(calls: &Value) -> String {
    let name = |call: &Value| call.as_str().or(call["name"].as_str()).unwrap_or_default().to_owned();
    match calls {
        Value::Array(calls) => calls.iter().map(name).collect::<Vec<_>>().join(", "),
        call => name(call),
    }
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

fn shown(text: &str) -> String {
    let text = if text.is_empty() || text.trim() != text { format!("{text:?}") } else { text.replace('\n', "\\n") };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::testing::{changed, new};
    use serde_json::json;

    #[test]
    fn one_cause_has_one_line_in_all_traces() {
        let read = |folder: &str, file: &str| ("Read", json!({"file_path": format!("{folder}/{file}")}));
        let lines = ["red.txt", "src/main.rs"].map(|file| change(&changed(1, read("/home/me", file), read("/workspace", file))));
        assert_eq!(lines[0], lines[1]);
        assert_eq!(lines[0], "path-changed Read file_path: home/me → workspace");
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
            assert_eq!(change(&changed(1, old, new)), line);
        }
        assert_eq!(change(&new(1, "Bash", json!({}))), "no-snapshot Bash");
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
