//! What to replay, and how, as plain data.

use schemars::JsonSchema;
use serde::Serialize;

use super::prompt::ToolChoiceMode;
use super::{Agreement, Phase};
use crate::snapshot::{ExchangeId, Matching};

/// How often a request is sent again while the backend is busy, unless somebody says otherwise.
pub const DEFAULT_RETRIES: u32 = 3;

/// What to replay, and how.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ReplaySettings {
    /// The phases to measure: at least one, in the order of [`Phase::ALL`], each at most once.
    pub phases: Vec<Phase>,
    /// How often each phase of each trace is measured; at least 1.
    pub repeat: u32,
    /// The most tokens that an answer may have.
    pub max_tokens: u32,
    /// Which tool the model must call.
    pub tool_choice: ToolChoiceMode,
    /// On which answers fidelity is measured.
    pub fidelity: FidelityMode,
    /// The least fidelity of free answers that passes, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fidelity: Option<f64>,
    /// Texts of which a trace's name must contain one; if empty, all traces are replayed.
    pub filter: Vec<String>,
    /// How often a request is sent again while the backend is busy.
    pub retries: u32,
    /// What becomes of traces whose repeats differ.
    pub flaky: FlakyPolicy,
    /// The share of a trace's measurements that is enough to pass; more than a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_rate: Option<f64>,
    /// Under which rules outcomes are equal.
    pub matching: Matching,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        Self {
            phases: Phase::ALL.into(),
            repeat: 1,
            max_tokens: 256,
            tool_choice: ToolChoiceMode::Recorded,
            fidelity: FidelityMode::Pinned,
            min_fidelity: None,
            filter: Vec::new(),
            retries: DEFAULT_RETRIES,
            flaky: FlakyPolicy::default(),
            pass_rate: None,
            matching: Matching::default(),
        }
    }
}

/// On which answers fidelity is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FidelityMode {
    /// On those that are compared with the snapshots, whose first tool may be forced.
    Pinned,
    /// On these, and on one more, for which no tool is forced.
    Free,
}

/// What becomes of a trace whose repeats of one phase differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlakyPolicy {
    /// It fails.
    #[default]
    Fail,
    /// It passes if the outcome that came most often is the accepted one.
    Pass,
}

impl FlakyPolicy {
    /// All policies.
    pub const ALL: [Self; 2] = [Self::Fail, Self::Pass];

    /// The policy's name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pass => "pass",
        }
    }
}

impl ReplaySettings {
    /// Whether a flaky trace with this agreement passes.
    pub(super) fn tolerates(&self, agreement: Agreement) -> bool {
        match self.pass_rate {
            Some(rate) => agreement.same as f64 >= rate * agreement.of as f64,
            None => self.flaky == FlakyPolicy::Pass,
        }
    }

    /// Whether a trace with this name is replayed.
    pub(super) fn selects(&self, id: &ExchangeId) -> bool {
        let id = id.to_string();
        self.filter.is_empty() || self.filter.iter().any(|part| id.contains(part))
    }
}
