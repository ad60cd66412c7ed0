//! A replay's target and settings, for tests of reports.

use super::{ReplayTarget, States};
use crate::replay::{Phase, ReplaySettings, ToolChoiceMode};

pub(super) fn settings() -> ReplaySettings {
    ReplaySettings {
        phases: Phase::ALL.into(),
        repeat: 1,
        max_tokens: 256,
        tool_choice: ToolChoiceMode::Recorded,
        filter: vec![],
    }
}

pub(super) fn target(states: States) -> ReplayTarget {
    ReplayTarget { backend: "mlx".into(), model: "tiny".into(), states }
}
