//! A replay's target and settings, for tests of reports.

use super::{ReplayTarget, States};
use crate::replay::ReplaySettings;

pub(super) fn settings() -> ReplaySettings {
    ReplaySettings::default()
}

pub(super) fn target(states: States) -> ReplayTarget {
    ReplayTarget {
        backend: "mlx".into(),
        model: "tiny".into(),
        digest: None,
        tool_format: "hermes".into(),
        host: "here".into(),
        states,
    }
}
