//! Pending outcomes for tests.

use serde_json::Value;

use super::{PendingOutcome, Recording, State};
use crate::snapshot::{Info, Matching, Metadata, Outcome, Snapshot, ToolUse};
use crate::wire::StopReason;

fn snapshot(seq: usize, call: (&str, Value)) -> Snapshot {
    with_calls(seq, &[&call])
}

fn with_calls(seq: usize, calls: &[&(&str, Value)]) -> Snapshot {
    let info = Info { model: "tiny".into(), tool_format: "hermes".into(), ..Info::default() };
    let metadata = Metadata {
        description: Some("Please read hello.txt".into()),
        info: Some(info),
        input_file: Some(format!("traces/demo/{seq:04}.json")),
        ..Metadata::default()
    };
    let stop_reason = Some(if calls.is_empty() { StopReason::EndTurn } else { StopReason::ToolUse });
    let tool_use = calls.iter().map(|(tool, input)| ToolUse { name: (*tool).into(), input: input.clone() }).collect();
    let outcome = Outcome { stop_reason, tool_use };
    Snapshot { metadata, outcome, alternatives: Vec::new() }
}

fn pending(seq: usize, accepted: Option<Snapshot>, snapshot: Snapshot) -> PendingOutcome {
    PendingOutcome::new(format!("demo/{seq:04}"), accepted, snapshot, &Matching::default())
}

/// A call that differs from the accepted one.
pub(super) fn changed(seq: usize, accepted: (&str, Value), found: (&str, Value)) -> PendingOutcome {
    pending(seq, Some(snapshot(seq, accepted)), snapshot(seq, found))
}

/// Calls in the place of the accepted ones.
pub(super) fn calls(seq: usize, accepted: &[&(&str, Value)], found: &[&(&str, Value)]) -> PendingOutcome {
    pending(seq, Some(with_calls(seq, accepted)), with_calls(seq, found))
}

/// A call where nothing is accepted.
pub(super) fn new(seq: usize, tool: &str, input: Value) -> PendingOutcome {
    pending(seq, None, snapshot(seq, (tool, input)))
}

/// Three paths with another prefix, a command with white space, a new outcome.
pub(super) fn review() -> State {
    let read = |folder: &str, seq: usize| ("Read", serde_json::json!({"file_path": format!("{folder}/{seq}.txt"), "limit": 5}));
    let bash = |command: &str| ("Bash", serde_json::json!({"command": command}));
    let mut items: Vec<PendingOutcome> =
        (1..=3).map(|seq| changed(seq, read("/home/me", seq), read("/workspace", seq))).collect();
    items.push(changed(4, bash("ls -l"), bash("ls  -l")));
    items.push(new(5, "Bash", serde_json::json!({"command": "pwd"})));
    of(items)
}

/// A review of these, whose traces all hold the same.
pub(super) fn of(items: Vec<PendingOutcome>) -> State {
    let mut state = State::new(items, Matching::default());
    for at in 0..state.items.len() {
        state.know(
            at,
            Recording::Known {
                turn: "Please read hello.txt".into(),
                request: "2 messages to claude-opus, tools Bash, Read".into(),
                outcome: Some(snapshot(at, ("Read", serde_json::json!({"file_path": "hello.txt"}))).outcome),
            },
        );
    }
    state
}
