//! What the environment asks for, for every command.

/// Logs to stderr as `ANYCLAUDE_DEBUG` says. 1: requests and timings; 2: conversions too; 3: bodies too.
pub(super) fn set_up_logging() {
    let level = match std::env::var("ANYCLAUDE_DEBUG").as_deref() {
        Ok("1") => "anyclaude=info",
        Ok("2") => "anyclaude=debug",
        Ok("3") => "anyclaude=trace",
        _ => "anyclaude=warn",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .with_target(false)
        .log_internal_errors(false)
        .init();
}

/// Whether the environment says that no person is watching.
pub(super) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
