//! What the user sees of a recording: one live line on a terminal, plain lines elsewhere, nothing under a child.

use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::cli::trace::text::{self, count};
use crate::cli::{CliError, say};
use crate::record::{Notice, Recorded};
use crate::trace::{ExchangeOutcome, TraceError};

/// Counts what the recorder tells, and shows it.
pub struct Progress {
    show: Show,
    opened: usize,
    recorded: usize,
    /// Those that did not end as `complete`.
    broken: Vec<ExchangeOutcome>,
    bytes: u64,
    failures: Vec<TraceError>,
}

enum Show {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl Progress {
    /// For a recorder started alone. `arrow` says what goes where.
    pub fn visible(arrow: &str) -> Self {
        if !console::user_attended_stderr() {
            return Self::new(Show::Lines);
        }
        let bar = ProgressBar::new_spinner();
        // The template is a constant; the test beside it parses it.
        bar.set_style(ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(arrow.to_owned());
        bar.set_message("waiting for the first request");
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::new(Show::Bar(bar))
    }

    /// For a recorder under whose child the terminal is not its own.
    pub fn silent() -> Self {
        Self::new(Show::Nothing)
    }

    fn new(show: Show) -> Self {
        Self { show, opened: 0, recorded: 0, broken: Vec::new(), bytes: 0, failures: Vec::new() }
    }

    /// Takes in one notice.
    pub fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Opened => self.opened += 1,
            Notice::Bytes(bytes) => self.bytes += bytes as u64,
            Notice::Recorded(recorded) => {
                self.recorded += 1;
                if recorded.outcome != ExchangeOutcome::Complete {
                    self.broken.push(recorded.outcome);
                }
                self.line(&line(&recorded));
            }
            Notice::Failed(error) => {
                self.line(&format!("error: {error}"));
                self.failures.push(error);
            }
        }
        if let Show::Bar(bar) = &self.show {
            let open = self.opened.saturating_sub(self.recorded);
            bar.set_message(format!("{} ({open} open), {}", count(self.recorded, "exchange"), HumanBytes(self.bytes)));
        }
    }

    fn line(&self, line: &str) {
        match &self.show {
            Show::Bar(bar) => bar.println(line),
            Show::Lines => say(line),
            Show::Nothing => {}
        }
    }

    /// Ends the live line; says what was recorded.
    pub fn summary(&self, folder: &Path) -> String {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
        if self.recorded == 0 {
            return "recorded no exchanges: no request under /v1/ came".into();
        }
        let mut summary = format!("recorded {} to {}", count(self.recorded, "exchange"), folder.display());
        let kinds = [ExchangeOutcome::UpstreamError, ExchangeOutcome::ClientClosed, ExchangeOutcome::Truncated];
        let kinds = kinds.map(|kind| (kind, self.broken.iter().filter(|broken| **broken == kind).count()));
        let parts: Vec<String> =
            kinds.iter().filter(|(_, n)| *n > 0).map(|(kind, n)| format!("{n} {}", text::outcome(*kind))).collect();
        if !parts.is_empty() {
            summary.push_str(&format!(" ({})", parts.join(", ")));
        }
        summary
    }

    /// What could not be written, as one error.
    pub fn failure(&self) -> Option<CliError> {
        let first = self.failures.first()?;
        let more = self.failures.len() - 1;
        let more = if more > 0 { format!(" ({more} more)") } else { String::new() };
        Some(CliError::backend(format!("not everything was recorded: {first}{more}")))
    }
}

const TEMPLATE: &str = "{spinner} {prefix}  {msg}";

fn line(recorded: &Recorded) -> String {
    let Recorded { seq, method, path, status, events, e2e_us, outcome, .. } = recorded;
    let mut line = format!("#{seq} {method} {path} {status} {}", text::outcome(*outcome));
    if *events > 0 {
        line.push_str(&format!(", {}", count(*events, "event")));
    }
    if let Some(e2e_us) = e2e_us {
        line.push_str(&format!(", {}", text::duration(*e2e_us)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_parses() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }

    #[test]
    fn the_summary_counts_what_did_not_end_well() {
        let mut progress = Progress::silent();
        assert_eq!(progress.summary(Path::new("traces/s")), "recorded no exchanges: no request under /v1/ came");
        for outcome in [ExchangeOutcome::Complete, ExchangeOutcome::Truncated, ExchangeOutcome::UpstreamError] {
            let (method, path) = ("POST".into(), "/v1/messages".into());
            progress.take(Notice::Recorded(Recorded {
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
        assert_eq!(progress.summary(Path::new("traces/s")), "recorded 3 exchanges to traces/s (1 upstream_error, 1 truncated)");
    }
}
