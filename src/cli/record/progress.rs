//! What the user sees of a recording: a live line on a terminal, plain lines elsewhere, nothing beside a child.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{DecimalBytes, HumanBytes, ProgressBar, ProgressStyle};

use crate::cli::text::{self, count};
use crate::cli::{CliError, say};
use crate::record::{Notice, Recorded, Removed};
use crate::trace::{ExchangeOutcome, TraceError};

/// Counts the recorder's notices, and shows them.
pub(crate) struct RecordingProgress {
    view: View,
    opened: usize,
    recorded: usize,
    /// The outcomes other than `complete`.
    incomplete: Vec<ExchangeOutcome>,
    /// Bytes sent to clients.
    bytes: u64,
    failures: Vec<TraceError>,
    removed: Removed,
    /// The names of the sessions.
    sessions: BTreeSet<String>,
}

/// How the notices are shown.
enum View {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl RecordingProgress {
    /// For a recorder without a child. `arrow` names its address and where requests go.
    pub(crate) fn visible(arrow: &str) -> Self {
        if !console::user_attended_stderr() {
            return Self::new(View::Lines);
        }
        let bar = ProgressBar::new_spinner();
        // The test below parses the template.
        bar.set_style(ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(arrow.to_owned());
        bar.set_message("waiting for the first request");
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::new(View::Bar(bar))
    }

    /// For a recorder whose child has the terminal.
    pub(crate) fn silent() -> Self {
        Self::new(View::Nothing)
    }

    fn new(view: View) -> Self {
        let (incomplete, failures, sessions) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { view, opened: 0, recorded: 0, incomplete, bytes: 0, failures, removed: Removed::default(), sessions }
    }

    /// Counts and shows a notice.
    pub(crate) fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Opened => self.opened += 1,
            Notice::Bytes(bytes) => self.bytes += bytes as u64,
            Notice::Recorded(recorded) => {
                self.recorded += 1;
                if recorded.outcome != ExchangeOutcome::Complete {
                    self.incomplete.push(recorded.outcome);
                }
                self.line(&line(&recorded));
                self.sessions.insert(recorded.session);
            }
            Notice::Removed(removed) => {
                self.line(&format!("removed {}", in_words(removed)));
                self.removed.add(removed);
            }
            Notice::Failed(error) => {
                self.line(&format!("error: {error}"));
                self.failures.push(error);
            }
        }
        if let View::Bar(bar) = &self.view {
            let open = self.opened.saturating_sub(self.recorded);
            bar.set_message(format!("{} ({open} open), {}", count(self.recorded, "exchange"), HumanBytes(self.bytes)));
        }
    }

    fn line(&self, line: &str) {
        match &self.view {
            View::Bar(bar) => bar.println(line),
            View::Lines => say(line),
            View::Nothing => {}
        }
    }

    /// Ends the live line and says what was recorded, and what was removed where no line has said it.
    pub(crate) fn summary(&self, folder: &Path) -> String {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
        let removed = match self.view {
            View::Nothing if self.removed.sessions > 0 => format!("; removed {}", in_words(self.removed)),
            _ => String::new(),
        };
        if self.recorded == 0 {
            return format!("recorded no exchanges: no request under /v1/ came{removed}");
        }
        let of_sessions = match self.sessions.len() {
            0 | 1 => String::new(),
            several => format!(" of {several} sessions"),
        };
        let mut summary = format!("recorded {}{of_sessions} to {}", count(self.recorded, "exchange"), folder.display());
        let kinds = [ExchangeOutcome::UpstreamError, ExchangeOutcome::ClientClosed, ExchangeOutcome::Truncated];
        let kinds = kinds.map(|kind| (kind, self.incomplete.iter().filter(|outcome| **outcome == kind).count()));
        let parts: Vec<String> =
            kinds.iter().filter(|(_, n)| *n > 0).map(|(kind, n)| format!("{n} {}", text::outcome(*kind))).collect();
        if !parts.is_empty() {
            summary.push_str(&format!(" ({})", parts.join(", ")));
        }
        summary + &removed
    }

    /// How the process ends after a child that ended with this code: where the child succeeded, and something could not be
    /// written, that is the error.
    pub(crate) fn exit_code(&self, childs_code: u8) -> Result<ExitCode, CliError> {
        match &self.failures[..] {
            [first] if childs_code == 0 => Err(CliError::backend(format!("not everything was recorded: {first}"))),
            [first, more @ ..] if childs_code == 0 => {
                Err(CliError::backend(format!("not everything was recorded: {first} ({} more)", more.len())))
            }
            _ => Ok(ExitCode::from(childs_code)),
        }
    }
}

const TEMPLATE: &str = "{spinner} {prefix}  {msg}";

fn line(recorded: &Recorded) -> String {
    let Recorded { session, seq, method, path, status, events, e2e_us, outcome, .. } = recorded;
    let mut line = format!("{session}/{seq:04} {method} {path} {status} {}", text::outcome(*outcome));
    if *events > 0 {
        line.push_str(&format!(", {}", count(*events, "event")));
    }
    if let Some(e2e_us) = e2e_us {
        line.push_str(&format!(", {}", text::duration(*e2e_us)));
    }
    line
}

fn in_words(Removed { sessions, traces, bytes }: Removed) -> String {
    format!("{} ({}, {})", count(sessions, "old session"), count(traces, "trace"), DecimalBytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn the_summary_counts_the_exchanges_that_did_not_complete() {
        let mut progress = RecordingProgress::silent();
        assert_eq!(progress.summary(Path::new("traces/s")), "recorded no exchanges: no request under /v1/ came");
        for outcome in [ExchangeOutcome::Complete, ExchangeOutcome::Truncated, ExchangeOutcome::UpstreamError] {
            let (method, path) = ("POST".into(), "/v1/messages".into());
            progress.take(Notice::Recorded(Recorded {
                session: "s".into(),
                seq: 1,
                method,
                path,
                status: 200,
                events: 1,
                ttft_us: None,
                e2e_us: Some(1_500),
                outcome,
                usage: None,
            }));
        }
        let summary = "recorded 3 exchanges to traces/s (1 upstream_error, 1 truncated)";
        assert_eq!(progress.summary(Path::new("traces/s")), summary);
        // While the child has the terminal no line is shown.
        progress.take(Notice::Removed(Removed { sessions: 1, traces: 2, bytes: 2_000_000 }));
        let removed = "; removed 1 old session (2 traces, 2.00 MB)";
        assert_eq!(progress.summary(Path::new("traces/s")), [summary, removed].concat());
    }
}
