//! Everything that a replay found out, which is also its JSON file.

use serde::Serialize;

use super::{PhaseLatency, latencies};
use crate::replay::{CaseResult, ReplaySettings, ReplaySummary, Untested};

/// Everything that a replay found out. Serialized, it is the JSON file.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    version: u32,
    /// What answered.
    pub target: &'a ReplayTarget,
    /// How it was asked.
    pub settings: &'a ReplaySettings,
    /// The cases, counted by status.
    pub summary: ReplaySummary,
    /// How many outcomes are as recorded.
    pub fidelity: FidelityShare,
    /// The figures of each phase that was measured.
    pub latency: Vec<PhaseLatency>,
    /// The results of the cases.
    pub cases: &'a [CaseResult],
    /// What was left untested, although a reader of the summary might think otherwise.
    pub untested: Untested,
}

/// Version of the JSON layout. Version 1 had `runs` in place of `measurements`.
const VERSION: u32 = 2;

/// What a replay was driven against.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayTarget {
    /// `mlx`, or the server's base URL.
    pub backend: String,
    /// The model's name.
    pub model: String,
    /// How the states of the cache were created.
    pub states: States,
}

/// How the cold and warm states of the cache were created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum States {
    /// By clearing and priming the backend's cache.
    CacheControl,
    /// By salting the prompt's start.
    Salt,
}

/// How many outcomes are what the recorded upstream answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FidelityShare {
    /// Cases of which both answers are known.
    pub compared: usize,
    /// Those with the same tools in the same order.
    pub same_tools: usize,
    /// Those with the same arguments, too.
    pub same_arguments: usize,
}

impl<'a> Report<'a> {
    /// The report of the results so far. `skipped`: traces that nobody expects to be replayed.
    pub fn new(
        target: &'a ReplayTarget,
        settings: &'a ReplaySettings,
        cases: &'a [CaseResult],
        untested: Untested,
        skipped: usize,
    ) -> Self {
        let (latency, fidelity) = (latencies(cases), FidelityShare::of(cases));
        let summary = ReplaySummary { skipped, ..ReplaySummary::new(cases, &untested) };
        Self { version: VERSION, target, settings, summary, fidelity, latency, cases, untested }
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
