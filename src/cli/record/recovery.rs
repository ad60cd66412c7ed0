//! Finishing what a killed recorder left, at the next start.

use std::path::Path;

use crate::cli::say;
use crate::cli::text::count;
use crate::trace::{self, Recovered};

/// Turns what killed recorders have left in a folder into traces, and says so in a line. What cannot be recovered is named, and
/// stays.
pub(crate) fn recover_left(folder: &Path) {
    if !folder.exists() {
        return;
    }
    let found = trace::recover(folder).unwrap_or_else(|error| vec![Err(error)]);
    let traces = found.iter().filter(|one| matches!(one, Ok(Recovered::Trace { .. }))).count();
    if traces > 0 {
        let left = if traces == 1 { "that was left" } else { "that were left" };
        say(format_args!("recovered {} {left} when a recorder was killed", count(traces, "trace")));
    }
    for error in found.into_iter().filter_map(Result::err) {
        say(format_args!("not recovered: {error}"));
    }
}
