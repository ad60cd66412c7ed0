//! How near the answers that nobody forced come to the recorded ones, over all traces and for each tool. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::replay::CaseResult;

/// How near the answers to requests that force no tool come to the recorded ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct FreeFidelitySummary {
    /// The traces that were compared.
    pub compared: usize,
    /// From 0 to 1: the mean score of the traces; `None` without any.
    pub score: Option<f64>,
    /// The least score that passes, if there is one.
    pub least: Option<f64>,
    /// How many answers are text where calls are recorded.
    pub text_instead_of_call: usize,
    /// How many answers have calls where text is recorded.
    pub call_instead_of_text: usize,
    /// The calls of each tool, by its name.
    pub tools: BTreeMap<String, ToolFidelity>,
}

/// The calls of one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ToolFidelity {
    /// Recorded calls of it.
    pub recorded: usize,
    /// Those in whose place it was called.
    pub same_tool: usize,
    /// Calls of it more than recorded, or in place of another tool's.
    pub added: usize,
    /// Of all calls of it that came, those that its schema does not allow.
    pub invalid: usize,
    /// Arguments of the recorded calls and of those that came in their place.
    pub arguments: usize,
    /// Those with values of one type.
    pub same_type: usize,
    /// Those with one value.
    pub same_value: usize,
}

impl FreeFidelitySummary {
    /// Sums up the cases whose answers were compared; `None` if nobody asked for it.
    pub(super) fn of(cases: &[CaseResult]) -> Option<Self> {
        let compared: Vec<_> = cases.iter().filter_map(|case| case.free_fidelity.as_ref()).collect();
        if compared.is_empty() {
            return None;
        }
        let mut tools: BTreeMap<String, ToolFidelity> = BTreeMap::new();
        for call in compared.iter().flat_map(|fidelity| &fidelity.calls) {
            if let Some(name) = &call.recorded {
                let tool = tools.entry(name.clone()).or_default();
                tool.recorded += 1;
                tool.same_tool += usize::from(call.is_same_tool());
                tool.arguments += call.arguments;
                tool.same_type += call.same_type;
                tool.same_value += call.same_value;
            }
            if let Some(name) = &call.found {
                let tool = tools.entry(name.clone()).or_default();
                tool.added += usize::from(!call.is_same_tool());
                tool.invalid += usize::from(call.is_valid == Some(false));
            }
        }
        Some(Self {
            compared: compared.len(),
            score: Some(compared.iter().map(|fidelity| fidelity.score).sum::<f64>() / compared.len() as f64),
            least: None,
            text_instead_of_call: compared.iter().filter(|fidelity| fidelity.is_text_instead_of_call()).count(),
            call_instead_of_text: compared.iter().filter(|fidelity| fidelity.is_call_instead_of_text()).count(),
            tools,
        })
    }

    /// Whether the score is less than allowed, or not known although there is a limit.
    pub fn is_too_low(&self) -> bool {
        self.least.is_some_and(|least| self.score.is_none_or(|score| score < least))
    }
}
