//! What the user sees of a recording: a live view on a terminal, plain lines elsewhere, nothing beside a child.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{DecimalBytes, ProgressBar};

use super::live::{self, Prices, SharedOverview, foreign};
use crate::cli::text::{self, count};
use crate::cli::{CliError, say};
use crate::record::{Notice, Recorded, Removed};
use crate::trace::{ExchangeOutcome, TraceError};

/// Counts the recorder's notices, and shows them.
pub(crate) struct RecordingProgress {
    view: View,
    overview: SharedOverview,
    recorded: usize,
    /// How many exchanges had each outcome other than `complete`: as many as [`INCOMPLETE`] has.
    incomplete: [usize; INCOMPLETE.len()],
    /// What could not be written first.
    failure: Option<TraceError>,
    /// How often something could not be written.
    failures: usize,
    /// What was removed.
    removed: Removed,
    /// The names of the sessions, up to [`NAMED`] of them.
    sessions: BTreeSet<String>,
}

/// The most sessions that are told from each other: a recorder may run for months.
const NAMED: usize = 1_000;

/// How the notices are shown.
enum View {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

/// The outcomes that are told from `complete`.
const INCOMPLETE: [ExchangeOutcome; 3] =
    [ExchangeOutcome::UpstreamError, ExchangeOutcome::ClientClosed, ExchangeOutcome::Truncated];

impl View {
    fn on_this_terminal(arrow: &str, overview: &SharedOverview) -> Self {
        if !console::user_attended_stderr() {
            return Self::Lines;
        }
        let bar = live::bar(arrow, overview.clone());
        // A terminal that cannot move its cursor shows no bar, nor what is printed above one.
        if bar.is_hidden() { Self::Lines } else { Self::Bar(bar) }
    }
}

impl RecordingProgress {
    /// For a recorder without a child. `arrow` names its address and where requests go.
    pub(crate) fn visible(arrow: &str, prices: Prices) -> Self {
        let overview = SharedOverview::new(prices);
        Self::new(View::on_this_terminal(arrow, &overview), overview)
    }

    /// For a recorder whose child has the terminal.
    pub(crate) fn silent(prices: Prices) -> Self {
        Self::new(View::Nothing, SharedOverview::new(prices))
    }

    fn new(view: View, overview: SharedOverview) -> Self {
        let (incomplete, sessions) = ([0; INCOMPLETE.len()], BTreeSet::new());
        Self { view, overview, recorded: 0, incomplete, failure: None, failures: 0, removed: Removed::default(), sessions }
    }

    /// Counts and shows a notice.
    pub(crate) fn take(&mut self, notice: Notice) {
        self.overview.now().take(&notice, Instant::now());
        match notice {
            Notice::Recorded(recorded) => {
                self.recorded += 1;
                if let Some(kind) = INCOMPLETE.iter().position(|outcome| *outcome == recorded.outcome) {
                    self.incomplete[kind] += 1;
                }
                self.line(&line(&recorded));
                if self.sessions.len() < NAMED {
                    self.sessions.insert(recorded.exchange.session);
                }
            }
            Notice::Removed(removed) => {
                self.line(&format!("removed {}", in_words(removed)));
                self.removed.add(removed);
            }
            Notice::Failed(error) => {
                self.line(&format!("error: {error}"));
                self.failures += 1;
                self.failure.get_or_insert(error);
            }
            Notice::Opened(_) | Notice::Answering(_) | Notice::Bytes(_) | Notice::Closed(_) => {}
        }
    }

    fn line(&self, line: &str) {
        match &self.view {
            View::Bar(bar) => bar.println(foreign(line)),
            View::Lines => say(foreign(line)),
            View::Nothing => {}
        }
    }

    /// Ends the live view and says what was recorded, and what was removed where no line has said it.
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
            NAMED => format!(" of {NAMED} sessions or more"),
            several => format!(" of {several} sessions"),
        };
        let mut summary = format!("recorded {}{of_sessions} to {}", count(self.recorded, "exchange"), folder.display());
        let parts = INCOMPLETE.iter().zip(self.incomplete).filter(|(_, n)| *n > 0);
        let parts: Vec<String> = parts.map(|(kind, n)| format!("{n} {}", kind.name())).collect();
        if !parts.is_empty() {
            summary.push_str(&format!(" ({})", parts.join(", ")));
        }
        summary + &self.overview.now().cost() + &removed
    }

    /// How the process ends after a child that ended with this code: where the child succeeded, and something could not be
    /// written, that is the error.
    pub(crate) fn exit_code(&self, childs_code: u8) -> Result<ExitCode, CliError> {
        match &self.failure {
            Some(first) if childs_code == 0 => {
                let more = if self.failures > 1 { format!(" ({} more)", self.failures - 1) } else { String::new() };
                Err(CliError::backend(format!("not everything was recorded: {first}{more}")))
            }
            _ => Ok(ExitCode::from(childs_code)),
        }
    }
}

fn line(recorded: &Recorded) -> String {
    let Recorded { exchange, method, path, status, events, e2e_us, outcome, .. } = recorded;
    let mut line = format!("{exchange} {method} {path} {status} {}", outcome.name());
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
    use crate::record::{ExchangeName, Opened};

    fn recorded(session: &str, seq: u32, outcome: ExchangeOutcome) -> Notice {
        let (method, path) = ("POST".into(), "/v1/messages".into());
        Notice::Recorded(Recorded {
            exchange: ExchangeName { session: session.into(), seq },
            model: None,
            method,
            path,
            status: 200,
            events: 1,
            ttft_us: None,
            e2e_us: Some(1_500),
            outcome,
            usage: None,
        })
    }

    #[test]
    fn ten_thousand_exchanges_leave_counts_and_a_bounded_number_of_names() {
        let mut progress = RecordingProgress::silent(Prices::new());
        for seq in 1..=10_000 {
            let exchange = ExchangeName { session: seq.to_string(), seq };
            let opened = Opened { exchange: exchange.clone(), path: "/v1/messages".into(), model: None };
            progress.take(Notice::Opened(opened));
            progress.take(recorded(&exchange.session, seq, ExchangeOutcome::Complete));
            progress.take(Notice::Failed(TraceError::Missing { path: exchange.to_string().into() }));
            progress.take(Notice::Closed(exchange));
        }
        assert_eq!((progress.sessions.len(), progress.failures), (NAMED, 10_000));
        let summary = "recorded 10000 exchanges of 1000 sessions or more to traces";
        assert_eq!(progress.summary(Path::new("traces")), summary);
    }

    #[test]
    fn the_summary_counts_the_exchanges_that_did_not_complete() {
        let mut progress = RecordingProgress::silent(Prices::new());
        assert_eq!(progress.summary(Path::new("traces/s")), "recorded no exchanges: no request under /v1/ came");
        for outcome in [ExchangeOutcome::Complete, ExchangeOutcome::Truncated, ExchangeOutcome::UpstreamError] {
            progress.take(recorded("s", 1, outcome));
        }
        let summary = "recorded 3 exchanges to traces/s (1 upstream_error, 1 truncated)";
        assert_eq!(progress.summary(Path::new("traces/s")), summary);
        // While the child has the terminal no line is shown.
        progress.take(Notice::Removed(Removed { sessions: 1, traces: 2, bytes: 2_000_000 }));
        let removed = "; removed 1 old session (2 traces, 2.00 MB)";
        assert_eq!(progress.summary(Path::new("traces/s")), [summary, removed].concat());
    }
}
