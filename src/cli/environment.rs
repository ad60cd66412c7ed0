//! What the environment asks for, for every command.

use std::io::{self, Write};

use crate::trace::redact::Redactor;

/// Logs to stderr as `ANYCLAUDE_DEBUG` says, without secrets. 1: requests and timings; 2: conversions too; 3: bodies too.
pub(super) fn set_up_logging(redactor: Redactor) {
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
}

/// Standard error for lines of the log, which lose their secrets: what a server says may be in any of them.
struct RedactedLog(Redactor);

impl Write for RedactedLog {
    /// Writes one whole line, as it is given.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.0.text(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Whether the environment says that no person is watching.
pub(super) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
