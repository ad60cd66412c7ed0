//! Holding answers against each other and against the recorded one. Pure.

use serde::Serialize;

use super::{Phase, Run};
use crate::snapshot::Outcome;

/// Two runs of one trace at temperature 0 that gave different blocks.
///
/// With cache control their prompts are the same, so the prefix cache is wrong. Under salts the prompts differ in the salt,
/// which may be reason enough for a model to answer differently; the report says which of the two it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disagreement {
    pub first: RunLabel,
    pub other: RunLabel,
    pub first_outcome: Outcome,
    pub other_outcome: Outcome,
}

/// Which run it was. Shown as `cold, repeat 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RunLabel {
    pub phase: Phase,
    pub repeat: u32,
}

impl std::fmt::Display for RunLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}, repeat {}", self.phase, self.repeat)
    }
}

/// Runs that disagree with the first run, at most one for each phase.
pub fn disagreements(runs: &[Run]) -> Vec<Disagreement> {
    let Some(first) = runs.first() else { return Vec::new() };
    let differs = |phase: &Phase| runs.iter().find(|run| run.phase == *phase && run.outcome != first.outcome);
    let disagreement = |other: &Run| Disagreement {
        first: label(first),
        other: label(other),
        first_outcome: first.outcome.clone(),
        other_outcome: other.outcome.clone(),
    };
    Phase::ALL.iter().filter_map(differs).map(disagreement).collect()
}

fn label(run: &Run) -> RunLabel {
    RunLabel { phase: run.phase, repeat: run.repeat }
}

/// How an outcome compares with what the recorded upstream answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fidelity {
    /// The same tools in the same order.
    pub same_tools: bool,
    /// The same tools with the same arguments.
    pub same_arguments: bool,
}

impl Fidelity {
    pub fn of(outcome: &Outcome, recorded: &Outcome) -> Self {
        Self { same_tools: outcome.tool_names() == recorded.tool_names(), same_arguments: outcome.tool_use == recorded.tool_use }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::ToolCall;
    use Phase::{Cached, Cold, Warm};
    use serde_json::{Value, json};

    fn outcome(calls: &[(&str, Value)]) -> Outcome {
        let tool_use = calls.iter().map(|(name, input)| ToolCall { name: name.to_string(), input: input.clone() });
        Outcome { stop_reason: None, tool_use: tool_use.collect() }
    }

    fn run(phase: Phase, repeat: u32, tool: &str) -> Run {
        let (ttft_us, itl_us, cache_read_tokens) = (None, Vec::new(), None);
        let outcome = outcome(&[(tool, json!({}))]);
        Run { phase, repeat, ttft_us, e2e_us: 0, itl_us, prompt_tokens: 0, cache_read_tokens, output_tokens: 0, outcome }
    }

    #[test]
    fn disagreements_are_told_once_for_each_phase() {
        let table = [
            (vec![], ""),
            (vec![run(Cold, 1, "A"), run(Cached, 1, "A"), run(Warm, 1, "A")], ""),
            (vec![run(Cold, 1, "A"), run(Cached, 1, "B"), run(Warm, 1, "A")], "cold, repeat 1 / cached, repeat 1"),
            (
                vec![run(Cold, 1, "A"), run(Cached, 1, "B"), run(Cold, 2, "A"), run(Cached, 2, "B")],
                "cold, repeat 1 / cached, repeat 1",
            ),
            (vec![run(Cold, 1, "A"), run(Cold, 2, "B"), run(Cold, 3, "C")], "cold, repeat 1 / cold, repeat 2"),
        ];
        for (runs, expected) in table {
            let found: Vec<_> = disagreements(&runs).iter().map(|d| format!("{} / {}", d.first, d.other)).collect();
            assert_eq!(found.join("; "), expected);
        }
    }

    #[test]
    fn fidelity_tells_tools_and_arguments_apart() {
        let recorded = outcome(&[("Read", json!({"file_path": "a"})), ("Bash", json!({}))]);
        let table = [
            (recorded.clone(), true, true),
            (outcome(&[("Read", json!({"file_path": "b"})), ("Bash", json!({}))]), true, false),
            (outcome(&[("Read", json!({"file_path": "a"}))]), false, false),
            (outcome(&[]), false, false),
        ];
        for (outcome, same_tools, same_arguments) in table {
            assert_eq!(Fidelity::of(&outcome, &recorded), Fidelity { same_tools, same_arguments });
        }
    }
}
