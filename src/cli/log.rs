//! The log: lines on standard error, without secrets. While a child has the terminal they wait.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::say;
use crate::trace::redact::Redactor;

/// The most bytes of the log that wait.
const MOST_WAITING: usize = 1 << 20;

/// The lines that wait; `None` where nothing needs to.
static WAITING: Mutex<Option<WaitingLines>> = Mutex::new(None);

/// Logs to stderr as `ANYCLAUDE_DEBUG` says, without secrets. 1: requests and timings; 2: conversions too; 3: bodies too.
pub(super) fn set_up(redactor: Redactor) {
    let level = match std::env::var("ANYCLAUDE_DEBUG").as_deref() {
        Ok("1") => "anyclaude=info",
        Ok("2") => "anyclaude=debug",
        Ok("3") => "anyclaude=trace",
        _ => "anyclaude=warn",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(move || RedactedLog(redactor.clone()))
        .with_ansi(console::colors_enabled_stderr())
        .with_target(false)
        .log_internal_errors(false)
        .init();
    redact_panics();
}

/// Has panics lose their secrets too: their texts may quote what a server, a client or a model has said.
fn redact_panics() {
    std::panic::set_hook(Box::new(|panic| {
        say(format_args!("thread '{}' {panic}", thread::current().name().unwrap_or("without a name")));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            say(backtrace);
        }
    }));
}

/// The log's lines lose their secrets: what a server says may be in any of them.
struct RedactedLog(Redactor);

impl Write for RedactedLog {
    /// `line` is one whole line of the log: the subscriber writes it at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = self.0.text(&text);
        match &mut *waiting() {
            Some(lines) => lines.add(&text),
            None => io::stderr().write_all(text.as_bytes())?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// A terminal that a child draws on. Until this is dropped, the lines of the log wait: they would end up in the picture. Where
/// standard error is something else, such as a file, nothing waits.
pub(super) struct LentTerminal(());

impl LentTerminal {
    pub(super) fn lend() -> Self {
        if io::stderr().is_terminal() {
            *waiting() = Some(WaitingLines::default());
        }
        Self(())
    }
}

impl Drop for LentTerminal {
    fn drop(&mut self) {
        if let Some(lines) = waiting().take() {
            // A failure has nowhere to be reported.
            let _ = io::stderr().write_all(lines.text().as_bytes());
        }
    }
}

fn waiting() -> MutexGuard<'static, Option<WaitingLines>> {
    // A thread that panicked with the lock leaves whole lines.
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lines of the log, up to a limit.
#[derive(Default)]
struct WaitingLines {
    text: String,
    /// Lines that found no room.
    dropped: usize,
}

impl WaitingLines {
    fn add(&mut self, line: &str) {
        if self.dropped == 0 && self.text.len() + line.len() <= MOST_WAITING {
            self.text.push_str(line);
        } else {
            self.dropped += 1;
        }
    }

    fn text(self) -> String {
        match self.dropped {
            0 => self.text,
            dropped => format!("{}(and {dropped} more lines of the log: send standard error to a file to get all)\n", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The test runs itself once more, in a process that may panic.
    #[test]
    fn a_panic_tells_no_secrets() {
        const IS_CHILD: &str = "ANYCLAUDE_TEST_PANICS";
        if std::env::var_os(IS_CHILD).is_some() {
            Redactor::new(&["ACME-[0-9]{4}".to_owned().try_into().unwrap()]).install();
            redact_panics();
            panic!("the server said ACME-1234");
        }
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "cli::log::tests::a_panic_tells_no_secrets", "--nocapture"]);
        let ended = child.env(IS_CHILD, "1").output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(told.contains(" panicked at src/cli/log.rs:") && told.contains("the server said [redacted]"), "{told}");
        assert!(!ended.status.success() && !told.contains("ACME"), "{told}");
    }

    #[test]
    fn as_many_lines_wait_as_there_is_room_for() {
        let mut lines = WaitingLines::default();
        lines.add("first\n");
        assert_eq!(WaitingLines { text: lines.text.clone(), dropped: 0 }.text(), "first\n");
        lines.add(&format!("{}\n", "x".repeat(MOST_WAITING)));
        lines.add("small\n");
        insta::assert_snapshot!(lines.text(), @"
        first
        (and 2 more lines of the log: send standard error to a file to get all)
        ");
    }
}
