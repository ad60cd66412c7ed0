//! The arguments of `anyclaude record`, and the settings under them.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::cli::CliError;
use crate::cli::allow::AllowArgs;
use crate::cli::text::count;
use crate::config::{self, ByteSize, RecorderSettings};
use crate::record::Retention;

/// Record Claude Code's exchanges with any upstream as trace files
///
/// A reverse proxy: it streams everything through unchanged and writes each exchange under /v1/ to
/// <OUT>/<SESSION>/<number>.json, without its secrets, before the client sees the end of the answer. Without a command,
/// any number of clients may use it: each of Claude Code's sessions, and each sub-agent, gets a folder of its own, and
/// goes on in it after a restart.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RecordArgs {
    /// Base URL to send requests on to; with a prefix before it, only those whose path begins so, without the prefix.
    /// May be repeated; the longest prefix wins [default: https://api.anthropic.com]
    #[arg(long, value_name = "[PREFIX=]URL")]
    upstream: Vec<String>,
    /// PEM file with certificates to trust beside the system's, such as your company's. Proxies are taken from
    /// HTTPS_PROXY, HTTP_PROXY and NO_PROXY
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Port to listen on at 127.0.0.1; 0 picks a free one [default: 8082; with a command: 0]
    #[arg(long)]
    pub port: Option<u16>,
    /// Folder for the sessions
    #[arg(long, value_name = "DIR", default_value = "traces")]
    pub out: PathBuf,
    /// Name of one session for everything, which is the folder of its traces [default: the sessions that Claude Code
    /// names; of what names none, and of a command, date and time, UTC]
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
    /// Remove sessions this many days after their last exchange. Those that you have named stay
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    keep_days: Option<u32>,
    /// Remove the oldest sessions while all take more disk space than this, such as 10GB. Those that you have named
    /// stay
    #[arg(long, value_name = "SIZE")]
    keep_bytes: Option<ByteSize>,
    /// Show the sessions and each exchange, as it streams too, on a page at 127.0.0.1, under an address that nobody can
    /// guess. PORT: where to listen [default: any free port]
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub ui: Option<u16>,
    #[command(flatten)]
    pub allow: AllowArgs,
    /// Command to run with ANTHROPIC_BASE_URL set to the recorder; its exit code is passed on
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  anyclaude record -- claude                            record a session with Anthropic's API
  anyclaude record --upstream http://127.0.0.1:8081 -- claude -p \"Read hello.txt\"
  anyclaude record --port 8082                          record until Ctrl-C; point any client at it
  anyclaude record --upstream https://api.anthropic.com --upstream /openrouter=https://openrouter.ai/api
                                                        several: ANTHROPIC_BASE_URL=http://127.0.0.1:8082/openrouter
  anyclaude record --ui -- claude                       and watch the exchanges in the browser
  anyclaude record --keep-days 30 --keep-bytes 10GB     remove what is older, or the oldest beyond 10 GB";

/// The settings that flags set.
#[derive(Serialize)]
struct Flags<'a> {
    recorder: RecorderFlags<'a>,
}

#[derive(Serialize)]
struct RecorderFlags<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    upstream: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<&'a PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_bytes: Option<ByteSize>,
}

impl RecordArgs {
    /// The settings, with these flags over them. Reads files.
    pub(super) fn settings(&self) -> Result<RecorderSettings, CliError> {
        let Self { upstream, ca_file, keep_days, keep_bytes, .. } = self;
        let recorder = RecorderFlags { upstream, ca_file: ca_file.as_ref(), keep_days: *keep_days, keep_bytes: *keep_bytes };
        Ok(config::load(&Flags { recorder })?.settings.recorder)
    }
}

/// The smallest limit of disk space. A smaller one would keep hardly a session: more likely its unit was forgotten.
const LEAST_BYTES: u64 = 1_000_000;

/// How much the settings keep. A limit that would remove everything is refused.
pub(super) fn retention(settings: &RecorderSettings) -> Result<Retention, CliError> {
    if settings.keep_days == Some(0) {
        return Err(CliError::input("keep_days: 0 would remove every session; leave it out to keep all, or give at least 1"));
    }
    if let Some(ByteSize(bytes)) = settings.keep_bytes.filter(|size| size.0 < LEAST_BYTES) {
        return Err(CliError::input(format!(
            "keep_bytes: {bytes} bytes would remove every session; leave it out to keep all, or give at least 1MB, such as 10GB"
        )));
    }
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    Ok(Retention { age: settings.keep_days.map(days), bytes: settings.keep_bytes.map(|size| size.0), ..Retention::default() })
}

/// What the settings keep, in words; `None` if they keep everything.
pub(super) fn kept(settings: &RecorderSettings) -> Option<String> {
    let days = settings.keep_days.map(|days| format!("for {}", count(days as usize, "day")));
    let bytes = settings.keep_bytes.map(|size| format!("up to {} of them", DecimalBytes(size.0)));
    let limits: Vec<String> = days.into_iter().chain(bytes).collect();
    (!limits.is_empty()).then(|| format!("keeping sessions {}", limits.join(", and ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_would_remove_everything_are_refused() {
        let with = |keep_days, bytes: Option<u64>| {
            retention(&RecorderSettings { keep_days, keep_bytes: bytes.map(ByteSize), ..RecorderSettings::default() })
        };
        assert_eq!(with(Some(1), Some(LEAST_BYTES)).unwrap().bytes, Some(LEAST_BYTES));
        assert!(!with(None, None).unwrap().is_limited());
        for (days, bytes, start) in
            [(Some(0), None, "keep_days: 0"), (None, Some(0), "keep_bytes: 0"), (None, Some(10), "keep_bytes: 10 ")]
        {
            let refused = with(days, bytes).unwrap_err().to_string();
            assert!(refused.starts_with(start), "{refused}");
        }
    }
}
