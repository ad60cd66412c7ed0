//! Judging the events of a recorded stream, whatever its protocol.

use crate::trace::{ExchangeOutcome, RecordedEvent, Trace};

/// What is wrong with the events of a stream, a sentence each. `take` gives the next event to the protocol's judge; `at_end` asks
/// it what is missing or wrong when no more come. A stream may end early unless the outcome is `complete`.
pub(super) fn stream_problems<Judge: Default>(
    trace: &Trace,
    take: impl Fn(&mut Judge, &RecordedEvent) -> Result<(), String>,
    at_end: impl Fn(&Judge) -> Vec<String>,
) -> Vec<String> {
    let mut judge = Judge::default();
    let mut problems = Vec::new();
    for (position, event) in trace.response.events.iter().enumerate() {
        if let Err(problem) = take(&mut judge, event) {
            problems.push(format!("response.events[{position}]: {problem}"));
        }
    }
    if trace.outcome == ExchangeOutcome::Complete {
        problems.extend(at_end(&judge).into_iter().map(|problem| format!("response.events: {problem}")));
    }
    problems
}
