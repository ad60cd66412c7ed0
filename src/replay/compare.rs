//! Comparing a trace's answers with each other, and with the recorded one. Pure.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Acceptance, Finding, Kind, Measurement, MeasurementLabel, Phase};
use crate::snapshot::Outcome;
use crate::trace::{CallEnd, is_malformed};

/// Two measurements of one trace, at temperature 0, that gave different tool calls.
///
/// With cache control their prompts are the same. With salts the prompts differ in the salt, which may be reason enough for a
/// model to answer differently.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Disagreement {
    /// The first measurement with the outcome that came most often.
    pub first: MeasurementLabel,
    /// The first one of its phase that differs from it.
    pub other: MeasurementLabel,
    /// What the first measurement gave.
    pub first_outcome: Outcome,
    /// What the other one gave.
    pub other_outcome: Outcome,
}

/// How many of a trace's measurements gave one outcome. Shown as `4/5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Agreement {
    /// Measurements with that outcome.
    pub same: usize,
    /// All measurements.
    pub of: usize,
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.same, self.of)
    }
}

/// The first measurement with the outcome that came most often; of outcomes that came equally often, the one that came first.
pub(super) fn most_frequent<'a>(measurements: &'a [Measurement], acceptance: &Acceptance) -> Option<&'a Measurement> {
    let same = |one: &Measurement| agreement(measurements, &one.outcome, acceptance).same;
    // The last of equal maxima is taken, so the first is last here.
    measurements.iter().rev().max_by_key(|one| same(one))
}

/// How many measurements gave this outcome.
pub fn agreement(measurements: &[Measurement], outcome: &Outcome, acceptance: &Acceptance) -> Agreement {
    let same = measurements.iter().filter(|measurement| acceptance.same(&measurement.outcome, outcome)).count();
    Agreement { same, of: measurements.len() }
}

/// The measurements that disagree with the most frequent outcome, at most one for each phase.
pub fn disagreements(measurements: &[Measurement], acceptance: &Acceptance) -> Vec<Disagreement> {
    let Some(first) = most_frequent(measurements, acceptance) else { return Vec::new() };
    let differs = |phase: &Phase| {
        let is_other = |other: &&Measurement| !acceptance.same(&other.outcome, &first.outcome);
        measurements.iter().filter(|other| other.phase == *phase).find(is_other)
    };
    let disagreement = |other: &Measurement| Disagreement {
        first: first.label(),
        other: other.label(),
        first_outcome: first.outcome.clone(),
        other_outcome: other.outcome.clone(),
    };
    Phase::ALL.iter().filter_map(differs).map(disagreement).collect()
}

/// What different outcomes of one trace mean; `None` if there is one outcome.
///
/// Where repeats of one phase differ, the backend answers by chance, and whether its cache is right cannot be told. Where each
/// phase agrees with itself, in two repeats at least, and another phase differs, it is the cache.
pub(super) fn inconsistency(measurements: &[Measurement], acceptance: &Acceptance) -> Option<Finding> {
    let of_phase = |phase: Phase| measurements.iter().filter(move |one| one.phase == phase);
    let agrees = |phase: Phase| {
        let mut outcomes = of_phase(phase).map(|one| &one.outcome);
        outcomes.next().is_none_or(|first| outcomes.all(|other| acceptance.same(other, first)))
    };
    let usual = most_frequent(measurements, acceptance)?;
    let share = agreement(measurements, &usual.outcome, acceptance);
    if share.same == share.of {
        return None;
    }
    let unsteady: Vec<_> = Phase::ALL.into_iter().filter(|phase| !agrees(*phase)).map(Phase::name).collect();
    if !unsteady.is_empty() {
        let phases = unsteady.join(", ");
        let note =
            format!("repeats of {phases} differ: {share} of all measurements agree; whether the cache is right is undecided");
        return Some(Finding::said(Kind::Flaky, note));
    }
    let measured = Phase::ALL.into_iter().filter(|phase| of_phase(*phase).next().is_some());
    let repeats = measured.map(|phase| of_phase(phase).count()).min().unwrap_or(0);
    Some(match repeats {
        0 | 1 => Finding::said(Kind::PhasesDiffer, "the cache, or chance: at least two repeats of each phase can tell"),
        _ => Finding::said(Kind::Cache, format!("each phase agrees with itself in {repeats} repeats, and not with the others")),
    })
}

/// A call that the model finished, whose arguments are no JSON object.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MalformedArguments {
    /// The measurement in which it came.
    pub measurement: MeasurementLabel,
    /// The tool that was called.
    pub tool: String,
    /// The arguments as they came.
    pub arguments: String,
}

/// The first call with malformed arguments. What a limit cut off at the end of an answer is none.
pub fn malformed_arguments(measurements: &[Measurement]) -> Option<MalformedArguments> {
    measurements.iter().find_map(|measurement| {
        let calls = &measurement.outcome.tool_use;
        let end = |at: usize| if at + 1 == calls.len() { measurement.last_call } else { CallEnd::Finished };
        let (_, call) = calls.iter().enumerate().find(|(at, call)| is_malformed(&call.input, end(*at)))?;
        let arguments = call.input.as_str().map_or_else(|| call.input.to_string(), str::to_owned);
        Some(MalformedArguments { measurement: measurement.label(), tool: call.name.clone(), arguments })
    })
}

/// How an outcome compares with what the recorded upstream answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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
    fn what_disagrees_is_reported_once_for_each_phase_and_has_a_kind() {
        let one = |phase, repeat, tool| measured(phase, repeat, tool);
        let table = [
            (vec![], "", None),
            (vec![one(Cold, 1, "A"), one(Cached, 1, "A"), one(Warm, 1, "A")], "", None),
            (
                vec![one(Cold, 1, "A"), one(Cached, 1, "B"), one(Warm, 1, "A")],
                "cold, repeat 1 / cached, repeat 1",
                Some(Kind::PhasesDiffer),
            ),
            (
                vec![one(Cold, 1, "A"), one(Cached, 1, "B"), one(Cold, 2, "A"), one(Cached, 2, "B")],
                "cold, repeat 1 / cached, repeat 1",
                Some(Kind::Cache),
            ),
            // What came most often is the usual.
            (vec![one(Cold, 1, "A"), one(Cold, 2, "B"), one(Cold, 3, "B")], "cold, repeat 2 / cold, repeat 1", Some(Kind::Flaky)),
            // Both at once: the cache is undecided.
            (
                vec![one(Cold, 1, "A"), one(Cached, 1, "B"), one(Cold, 2, "A"), one(Cached, 2, "C")],
                "cold, repeat 1 / cached, repeat 1",
                Some(Kind::Flaky),
            ),
        ];
        for (measurements, expected, kind) in table {
            let exact = Acceptance::default();
            let found: Vec<_> =
                disagreements(&measurements, &exact).iter().map(|d| format!("{} / {}", d.first, d.other)).collect();
            assert_eq!(
                (found.join("; ").as_str(), inconsistency(&measurements, &exact).map(|found| found.kind)),
                (expected, kind)
            );
        }
    }

    #[test]
    fn agreement_counts_the_measurements_with_an_outcome() {
        let measurements = ["A", "B", "A"].map(|tool| measured(Cold, 1, tool));
        assert_eq!(agreement(&measurements, &measurements[0].outcome, &Acceptance::default()).to_string(), "2/3");
    }

    #[test]
    fn malformed_arguments_are_those_that_nothing_cut() {
        let malformed = |inputs: [Value; 2], last_call: CallEnd| {
            let [first, last] = inputs;
            let outcome = outcome(&[("A", first), ("B", last)]);
            let found = malformed_arguments(&[Measurement { outcome, last_call, ..measured(Cold, 1, "A") }]);
            found.map(|found| (found.tool, found.arguments))
        };
        let begun = || json!("{\"a\": ");
        assert_eq!(malformed([json!({}), begun()], CallEnd::Finished), Some(("B".into(), "{\"a\": ".into())));
        assert_eq!(malformed([json!({}), json!([1])], CallEnd::Finished), Some(("B".into(), "[1]".into())));
        assert_eq!(malformed([json!({}), begun()], CallEnd::MayBeCut), None);
        assert_eq!(malformed([begun(), json!({})], CallEnd::MayBeCut), Some(("A".into(), "{\"a\": ".into())));
        assert_eq!(malformed([json!({}), json!("no JSON")], CallEnd::MayBeCut), Some(("B".into(), "no JSON".into())));
        assert_eq!(malformed([json!({}), json!({"a": 1})], CallEnd::Finished), None);
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
