//! What a trace's outcomes are compared with: the accepted ones, under the match rules. Pure.

use super::align::align;
use super::{Finding, differences};
use crate::snapshot::{Matching, Outcome, Snapshot, ToolUse};

/// The accepted outcomes of a trace, and the rules under which others are equal to them.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    outcomes: Vec<Outcome>,
    matching: Matching,
}

impl Acceptance {
    /// By the trace's snapshot, if it has one: its own rules come after those of the settings.
    pub fn new(snapshot: Option<&Snapshot>, settings: &Matching) -> Self {
        let mut matching = settings.clone();
        if let Some(info) = snapshot.and_then(|snapshot| snapshot.metadata.info.as_ref()) {
            matching.rules.extend(info.rules.iter().cloned());
            matching.unordered_calls |= info.unordered_calls;
        }
        // Snapshots of earlier versions may hold what is a secret today.
        let outcomes = snapshot.into_iter().flat_map(Snapshot::accepted).map(|outcome| outcome.clone().redacted());
        Self { outcomes: outcomes.collect(), matching }
    }

    /// Whether this outcome is an accepted one.
    pub fn accepts(&self, outcome: &Outcome) -> bool {
        self.outcomes.iter().any(|accepted| self.matching.equal(accepted, outcome))
    }

    /// Whether anything is accepted yet.
    pub fn has_any(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Whether these are the calls of an accepted outcome.
    pub fn has_calls(&self, calls: &[ToolUse]) -> bool {
        let with_calls = |accepted: &Outcome| Outcome { tool_use: calls.to_vec(), ..accepted.clone() };
        self.outcomes.iter().any(|accepted| self.matching.equal(accepted, &with_calls(accepted)))
    }

    /// Whether the outcomes count as one: they are equal, or both are accepted.
    pub fn same(&self, one: &Outcome, other: &Outcome) -> bool {
        self.matching.equal(one, other) || (self.accepts(one) && self.accepts(other))
    }

    /// How many rules it takes to accept the outcome; 0 if it is accepted as it is, or not at all.
    pub fn rules_needed(&self, outcome: &Outcome) -> usize {
        let equal = self.outcomes.iter().filter(|accepted| self.matching.equal(accepted, outcome));
        equal.map(|accepted| self.matching.needed(accepted, outcome)).min().unwrap_or(0)
    }

    /// The accepted outcome that differs least, the found one with everything that the rules cover as it is in that, and the
    /// differences. `None` if nothing is accepted.
    pub fn nearest(&self, found: &Outcome, text: &str) -> Option<Nearest> {
        let compared = self.outcomes.iter().map(|accepted| {
            let seen = self.seen(accepted, found);
            Nearest { findings: differences(accepted, &seen, text), accepted: accepted.clone(), seen }
        });
        compared.min_by_key(|nearest| nearest.findings.len())
    }

    /// The found outcome with accepted values wherever the rules cover a difference.
    fn seen(&self, accepted: &Outcome, found: &Outcome) -> Outcome {
        if self.matching.equal(accepted, found) {
            return accepted.clone();
        }
        let mut calls = found.tool_use.clone();
        if self.matching.unordered_calls {
            calls = self.in_order(&accepted.tool_use, calls);
        }
        for pair in align(&accepted.tool_use, &calls) {
            if let (Some(old), Some(new)) = pair {
                calls[new] = self.matching.covered(&accepted.tool_use[old], &calls[new]);
            }
        }
        Outcome { stop_reason: found.stop_reason.clone(), tool_use: calls }
    }

    /// The found calls, in the order of the accepted ones that they are equal to; the others stay in their order between them.
    fn in_order(&self, accepted: &[ToolUse], mut found: Vec<ToolUse>) -> Vec<ToolUse> {
        let mut in_order: Vec<Option<ToolUse>> = Vec::new();
        for call in accepted {
            let at = found.iter().position(|other| self.matching.equal_calls(call, other));
            in_order.push(at.map(|at| found.remove(at)));
        }
        let mut others = found.into_iter();
        let mut calls: Vec<ToolUse> = in_order.into_iter().filter_map(|call| call.or_else(|| others.next())).collect();
        calls.extend(others);
        calls
    }
}

/// An accepted outcome beside one that came.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// The accepted outcome.
    pub accepted: Outcome,
    /// What came, with accepted values where a rule covers the difference.
    pub seen: Outcome,
    /// What differs.
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Metadata;
    use serde_json::{Value, json};

    fn outcome(calls: Value) -> Outcome {
        serde_json::from_value(json!({"stop_reason": "tool_use", "tool_use": calls})).unwrap()
    }

    fn acceptance(accepted: [Value; 2], rules: Value) -> Acceptance {
        let [outcome, other] = accepted.map(outcome);
        let snapshot = Snapshot { metadata: Metadata::default(), outcome, alternatives: vec![other] };
        let settings = Matching { rules: serde_json::from_value(rules).unwrap(), unordered_calls: true };
        Acceptance::new(Some(&snapshot), &settings)
    }

    #[test]
    fn any_of_several_answers_is_accepted_and_the_nearest_one_is_compared() {
        let read = |path: &str| json!({"name": "Read", "input": {"file_path": path}});
        let glob = || json!({"name": "Glob", "input": {"pattern": "*"}});
        let either =
            acceptance([json!([read("/a/b")]), json!([glob(), read("/a/c")])], json!([{"path": "$.file_path", "as": "path"}]));
        let [one, other, neither] =
            [json!([read("/a/./b")]), json!([read("/a//c"), glob()]), json!([read("/a/./d"), glob()])].map(outcome);
        assert!(either.accepts(&one) && either.accepts(&other) && either.same(&one, &other));
        assert_eq!([one, other].map(|outcome| either.rules_needed(&outcome)), [1, 2]);
        assert!(!either.accepts(&neither));
        let nearest = either.nearest(&neither, "").unwrap();
        assert_eq!(nearest.accepted, outcome(json!([glob(), read("/a/c")])));
        assert_eq!(nearest.findings.len(), 1, "{:?}", nearest.findings);
        assert_eq!(nearest.findings[0].place.as_deref(), Some("tool_use[1].input.file_path"));
    }
}
