//! Rendering results: terminal, JSON, HdrHistogram text. Plain data in, text out; no I/O.

pub mod hgrm;
mod latency;
mod tables;
pub mod terminal;
pub(crate) mod units;

pub use latency::{Distribution, PhaseLatency, latencies};

use serde::Serialize;

use crate::replay::{CaseResult, Settings, Summary};

/// Everything a replay found out. Serialized, it is the `--json` file.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// Version of the JSON layout.
    version: u32,
    pub target: &'a Target,
    pub settings: &'a Settings,
    pub summary: Summary,
    pub fidelity: FidelityShare,
    pub latency: Vec<PhaseLatency>,
    pub cases: &'a [CaseResult],
}

/// What was replayed against.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// `mlx`, or the base URL.
    pub backend: String,
    pub model: String,
    pub states: States,
}

/// How cold and warm were created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum States {
    /// By clearing and priming the backend's cache.
    CacheControl,
    /// By salting the prompt's start.
    Salt,
}

/// How many outcomes were what the recorded upstream answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FidelityShare {
    /// Cases where both answers are known.
    pub compared: usize,
    pub same_tools: usize,
    pub same_arguments: usize,
}

impl<'a> Report<'a> {
    /// Works everything out from the results so far.
    pub fn new(target: &'a Target, settings: &'a Settings, summary: Summary, cases: &'a [CaseResult]) -> Self {
        let latency = latencies(cases);
        Self { version: 1, target, settings, summary, fidelity: FidelityShare::of(cases), latency, cases }
    }

    /// The `--json` file: everything, raw data of every run included. Times are in microseconds.
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
