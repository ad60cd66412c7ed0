//! One recorded request asked again, for tests of one's own: no snapshot, no states of the cache, no report.

use super::plan::recorded_in;
use super::prompt::{Shape, as_recorded, shape};
use super::{Driver, Failure, ReplaySettings, Skip, StateControl};
use crate::backend::Backend;
use crate::snapshot::Outcome;
use crate::trace::Trace;

/// Why a trace's request has no new outcome.
#[derive(Debug, thiserror::Error)]
pub enum AskAgainError {
    /// The trace cannot be asked again.
    #[error("the trace cannot be asked again: {0}")]
    Skipped(Skip),
    /// The backend failed.
    #[error("{}", .0.error)]
    Failed(Failure),
}

/// Asks a backend a trace's request, once, and gives the tool calls that it answers with.
///
/// The request is sent as `anyclaude replay` sends it: to a playback as it was recorded, else shaped. Of the settings,
/// `tool_choice`, `max_tokens` and `retries` count. docs/library.md shows a test with it.
///
/// # Errors
/// The trace holds no answered Messages request, or the backend fails.
pub async fn ask_again(backend: &dyn Backend, trace: &Trace, settings: &ReplaySettings) -> Result<Outcome, AskAgainError> {
    let (request, recorded) = recorded_in(trace).map_err(AskAgainError::Skipped)?;
    let driver = Driver::new(backend, settings.retries);
    let wanted = Shape::of(&request, recorded.as_ref(), settings.tool_choice, settings.max_tokens);
    let request = match driver.state_control() {
        StateControl::NoCache => as_recorded(request),
        StateControl::Cache(_) | StateControl::Salt => shape(request, wanted),
    };
    driver.outcome(request).await.map_err(AskAgainError::Failed)
}
