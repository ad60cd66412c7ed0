//! Everything that a replay found out, which is also its JSON file.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Baseline, BudgetResult, Budgets, Comparison, FreeFidelitySummary, Limits, PhaseLatency, VERSION, budget_results, latencies,
};
use crate::replay::{CaseResult, Kind, ReplaySettings, ReplaySummary, ToolChoiceMode, Untested};
use crate::snapshot::ModelDigest;

/// Everything that a replay found out. Serialized, it is the JSON file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report<'a> {
    /// The version of this layout.
    #[schemars(extend("const" = VERSION))]
    version: u32,
    /// What answered.
    pub target: &'a ReplayTarget,
    /// How it was asked.
    pub settings: &'a ReplaySettings,
    /// The cases, counted by status.
    pub summary: ReplaySummary,
    /// How many outcomes are as recorded.
    pub fidelity: FidelityShare,
    /// How near answers come to the recorded ones if no tool is forced, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_fidelity: Option<FreeFidelitySummary>,
    /// The figures of each phase that was measured.
    pub latency: Vec<PhaseLatency>,
    /// The figures beside those of an earlier replay, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// The figures beside their budgets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetResult>,
    /// The results of the cases.
    pub cases: &'a [CaseResult],
    /// What was left untested, although a reader of the summary might think otherwise.
    pub untested: Untested,
}

/// What a replay was driven against.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ReplayTarget {
    /// `mlx`, or the server's base URL.
    pub backend: String,
    /// The model's name.
    pub model: String,
    /// Fingerprints of the model, if its files are here.
    pub digest: Option<ModelDigest>,
    /// How the model writes tool calls.
    pub tool_format: String,
    /// The machine on which the times were taken.
    pub host: String,
    /// How the states of the cache were created.
    pub states: States,
}

/// How the cold and warm states of the cache were created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum States {
    /// By clearing and priming the backend's cache.
    CacheControl,
    /// By salting the prompt's start.
    Salt,
    /// Not at all: the backend has no cache.
    NoCache,
}

/// How many outcomes are what the recorded upstream answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FidelityShare {
    /// Cases of which both answers are known.
    pub compared: usize,
    /// Outcomes with the same tools in the same order.
    pub same_tools: usize,
    /// Outcomes with the same arguments, too.
    pub same_arguments: usize,
}

impl<'a> Report<'a> {
    /// Whether requests forced the tool that the recorded answer called first. Those to recordings are sent as they were recorded.
    pub(super) fn forces_first_tool(&self) -> bool {
        self.settings.tool_choice == ToolChoiceMode::Recorded && self.target.states != States::NoCache
    }

    /// The report of the results so far.
    pub fn new(target: &'a ReplayTarget, settings: &'a ReplaySettings, cases: &'a [CaseResult], untested: Untested) -> Self {
        let (latency, fidelity) = (latencies(cases), FidelityShare::of(cases));
        let summary = ReplaySummary::new(cases, &untested);
        let (comparison, budgets) = (None, Vec::new());
        let free_fidelity = FreeFidelitySummary::of(cases);
        Self {
            version: VERSION,
            target,
            settings,
            summary,
            fidelity,
            free_fidelity,
            latency,
            comparison,
            budgets,
            cases,
            untested,
        }
    }

    /// Compares the figures with an earlier replay and with their budgets. Not before the end: figures of some traces are not
    /// those of all.
    pub fn compare(&mut self, baseline: Option<(&Baseline, Limits)>, budgets: &Budgets) {
        self.comparison = baseline.map(|(baseline, limits)| Comparison::new(self.cases, baseline, limits));
        self.budgets = budget_results(budgets, &self.latency);
        let slower = self.comparison.iter().flat_map(Comparison::slower).count();
        let less_sure = self.comparison.iter().flat_map(Comparison::less_sure).count();
        if let Some(least) = self.settings.min_fidelity {
            self.free_fidelity.get_or_insert_default().least = Some(least);
        }
        let low_fidelity = usize::from(self.free_fidelity.as_ref().is_some_and(FreeFidelitySummary::is_too_low));
        let over = self.budgets.iter().filter(|result| result.is_over() == Some(true)).count();
        let counts =
            [(Kind::LowFidelity, low_fidelity), (Kind::LessSure, less_sure), (Kind::Slower, slower), (Kind::OverBudget, over)];
        for (kind, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            self.summary.kinds.insert(kind, count);
        }
    }

    /// The JSON file: all figures, and the raw data of every measurement. Times are in microseconds.
    pub fn to_json(&self) -> String {
        // String-keyed maps, strings and numbers only: serializing them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl FidelityShare {
    fn of(cases: &[CaseResult]) -> Self {
        let mut share = Self::default();
        for fidelity in cases.iter().filter_map(|case| case.fidelity) {
            share.compared += 1;
            share.same_tools += usize::from(fidelity.same_tools);
            share.same_arguments += usize::from(fidelity.same_arguments);
        }
        share
    }
}
