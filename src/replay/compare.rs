//! Comparing a trace's answers with each other, and with the recorded one. Pure.

use serde::Serialize;

use super::{Measurement, MeasurementLabel, Phase};
use crate::snapshot::Outcome;
use crate::trace::is_malformed;

/// Two measurements of one trace, at temperature 0, that gave different tool calls.
///
/// With cache control their prompts are the same, so the prefix cache is wrong. With salts the prompts differ in the salt, which
/// may be reason enough for a model to answer differently.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disagreement {
    /// The trace's first measurement.
    pub first: MeasurementLabel,
    /// The first one of its phase that differs from it.
    pub other: MeasurementLabel,
    /// What the first measurement gave.
    pub first_outcome: Outcome,
    /// What the other one gave.
    pub other_outcome: Outcome,
}

/// The measurements that disagree with the first one, at most one for each phase.
pub fn disagreements(measurements: &[Measurement]) -> Vec<Disagreement> {
    let Some(first) = measurements.first() else { return Vec::new() };
    let differs = |phase: &Phase| measurements.iter().find(|other| other.phase == *phase && other.outcome != first.outcome);
    let disagreement = |other: &Measurement| Disagreement {
        first: first.label(),
        other: other.label(),
        first_outcome: first.outcome.clone(),
        other_outcome: other.outcome.clone(),
    };
    Phase::ALL.iter().filter_map(differs).map(disagreement).collect()
}

/// A call that the model finished, whose arguments are no JSON object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MalformedArguments {
    /// The measurement in which it came.
    pub measurement: MeasurementLabel,
    /// The tool that was called.
    pub tool: String,
    /// The arguments as they came.
    pub arguments: String,
}

/// The first call with malformed arguments. What `max_tokens` cut off is none.
pub fn malformed_arguments(measurements: &[Measurement]) -> Option<MalformedArguments> {
    measurements.iter().find_map(|measurement| {
        let outcome = &measurement.outcome;
        let call = outcome.tool_use.iter().find(|call| is_malformed(&call.input, outcome.stop_reason.as_ref()))?;
        let arguments = call.input.as_str().map_or_else(|| call.input.to_string(), str::to_owned);
        Some(MalformedArguments { measurement: measurement.label(), tool: call.name.clone(), arguments })
    })
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
    /// Compares an outcome with the recorded one.
    pub fn of(outcome: &Outcome, recorded: &Outcome) -> Self {
        Self { same_tools: outcome.tool_names() == recorded.tool_names(), same_arguments: outcome.tool_use == recorded.tool_use }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing;
    use crate::snapshot::ToolUse;
    use crate::wire::StopReason;
    use Phase::{Cached, Cold, Warm};
    use serde_json::{Value, json};

    fn outcome(calls: &[(&str, Value)]) -> Outcome {
        let tool_use = calls.iter().map(|(name, input)| ToolUse { name: name.to_string(), input: input.clone() });
        Outcome { stop_reason: None, tool_use: tool_use.collect() }
    }

    fn measured(phase: Phase, repeat: u32, tool: &str) -> Measurement {
        Measurement { repeat, outcome: outcome(&[(tool, json!({}))]), ..testing::measurement(phase, 1, None) }
    }

    #[test]
    fn disagreements_are_reported_once_for_each_phase() {
        let table = [
            (vec![], ""),
            (vec![measured(Cold, 1, "A"), measured(Cached, 1, "A"), measured(Warm, 1, "A")], ""),
            (vec![measured(Cold, 1, "A"), measured(Cached, 1, "B"), measured(Warm, 1, "A")], "cold, repeat 1 / cached, repeat 1"),
            (
                vec![measured(Cold, 1, "A"), measured(Cached, 1, "B"), measured(Cold, 2, "A"), measured(Cached, 2, "B")],
                "cold, repeat 1 / cached, repeat 1",
            ),
            (vec![measured(Cold, 1, "A"), measured(Cold, 2, "B"), measured(Cold, 3, "C")], "cold, repeat 1 / cold, repeat 2"),
        ];
        for (measurements, expected) in table {
            let found: Vec<_> = disagreements(&measurements).iter().map(|d| format!("{} / {}", d.first, d.other)).collect();
            assert_eq!(found.join("; "), expected);
        }
    }

    #[test]
    fn malformed_arguments_are_those_that_nothing_cut() {
        let malformed = |input: Value, reason: StopReason| {
            let outcome = Outcome { stop_reason: Some(reason), ..outcome(&[("A", json!({})), ("B", input)]) };
            malformed_arguments(&[Measurement { outcome, ..measured(Cold, 1, "A") }]).map(|found| (found.tool, found.arguments))
        };
        assert_eq!(malformed(json!("{\"a\": "), StopReason::ToolUse), Some(("B".into(), "{\"a\": ".into())));
        assert_eq!(malformed(json!([1]), StopReason::ToolUse), Some(("B".into(), "[1]".into())));
        assert_eq!(malformed(json!("{\"a\": "), StopReason::MaxTokens), None);
        assert_eq!(malformed(json!({"a": 1}), StopReason::ToolUse), None);
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
