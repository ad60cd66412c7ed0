//! A pending snapshot in lines of text, for whoever has no full screen.

use std::path::Path;

use console::style;

use crate::replay::last_user_turn;
use crate::snapshot::{Outcome, PendingFile, Side, Snapshot, SnapshotError, diff};
use crate::trace::{self, Trace, messages_request, recorded_message};

/// How much of the user turn is shown, in characters.
const TURN_LENGTH: usize = 600;

/// Everything a reviewer needs: what the user had said, what the recorded upstream answered, the diff.
pub(super) fn shown(file: &PendingFile, number: usize, of: usize) -> Result<String, SnapshotError> {
    let (new, accepted) = (file.pending()?, file.accepted()?);
    let (pending, accepted_path) = (file.path(), file.accepted_path());
    let (old_label, old_text) = match &accepted {
        Some(old) => (format!("{} (accepted)", accepted_path.display()), old.content()),
        None => ("nothing accepted yet".into(), String::new()),
    };
    let new_label = format!("{} (pending)", pending.display());
    let mut out = format!("\n{} {}\n", style(format!("[{number} of {of}]")).bold(), style(pending.display()).bold());
    if let Some(info) = &new.metadata.info {
        out.push_str(&field("model", &format!("{}, tool calls as {}", info.model, info.tool_format)));
    }
    if let Some((old, new)) = accepted.as_ref().and_then(prompt_tokens).zip(prompt_tokens(&new)).filter(|(old, new)| old != new) {
        out.push_str(&field("prompt", &format!("{new} tokens, {old} when it was accepted")));
    }
    if let Some(expression) = &new.metadata.expression {
        out.push_str(&field("replay", expression));
    }
    out.push_str(&recording(new.metadata.input_file.as_deref()));
    out.push_str(&format!(
        "\n{}\n",
        diff(Side { label: &old_label, text: &old_text }, Side { label: &new_label, text: &new.outcome.to_text() })
    ));
    Ok(out)
}

fn prompt_tokens(snapshot: &Snapshot) -> Option<u64> {
    snapshot.metadata.info.as_ref()?.prompt_tokens
}

/// The last user turn and the recorded answer, from the trace. If the trace cannot be read, its error is shown instead: that is
/// no reason to stop a review.
fn recording(input_file: Option<&str>) -> String {
    let Some(path) = input_file else { return field("trace", "not named in the snapshot") };
    match trace::read(Path::new(path)) {
        Err(error) => field("trace", &error.to_string()),
        Ok(trace) => {
            let turn = messages_request(&trace).map(|request| last_user_turn(&request)).unwrap_or_default();
            let turn: String = turn.chars().filter(|c| *c == '\n' || !c.is_control()).take(TURN_LENGTH).collect();
            field("trace", path) + &field("user", &turn) + &field("recorded", &recorded_answer(&trace))
        }
    }
}

fn recorded_answer(trace: &Trace) -> String {
    let Some(outcome) = recorded_message(trace).as_ref().map(Outcome::from) else { return "no message".into() };
    let calls: Vec<_> = outcome.tool_use.iter().map(|call| format!("{} {}", call.name, call.input)).collect();
    if calls.is_empty() { "no tool calls".into() } else { calls.join("\n") }
}

/// A name with its text in a column beside it.
fn field(name: &str, text: &str) -> String {
    let mut lines = text.lines();
    let first = format!("{} {}\n", style(format!("{name:>10}")).cyan(), lines.next().unwrap_or_default());
    lines.fold(first, |out, line| format!("{out}{:10} {line}\n", ""))
}
