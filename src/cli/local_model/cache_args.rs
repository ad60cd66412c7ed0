//! The options of the prefix cache: how much it keeps, where, and what it computes ahead.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cli::CliError;
use crate::config::ByteSize;
use crate::engine::{CacheLimits, DiskOptions};
use crate::trace;
use crate::wire::MessagesRequest;

/// Flags of `serve`; for the launcher, the variables of the environment behind them.
#[derive(clap::Args, Debug)]
pub(crate) struct CacheArgs {
    /// How many prompts the prefix cache keeps
    #[arg(long, value_name = "N", env = "KV_CACHE_MAX_SIZE", default_value_t = CacheLimits::default().entries)]
    cache_entries: usize,
    /// How much memory the prefix cache may take, such as 4GB or 512MB [default: half of what is free after loading]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    cache_bytes: Option<usize>,
    /// Folder in which the prefix cache outlives the server. It holds what your prompts say; only you can read it [default: none]
    #[arg(long, value_name = "DIR", env = "KV_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// How much disk space that folder may take, such as 50GB
    #[arg(long, value_name = "SIZE", env = "KV_CACHE_DIR_BYTES", default_value = "20GB", value_parser = parse_size)]
    cache_dir_bytes: usize,
    /// Whether to use the prefix cache (1) or not (0)
    #[arg(long, value_name = "0|1", env = "KV_CACHE_ENABLED", default_value = "1", value_parser = parse_switch, action = clap::ArgAction::Set)]
    cache: bool,
    /// What to compute ahead while no request is in work: the tools and system prompt of a trace FILE, of the newest trace in
    /// traces/ (auto), or nothing (0)
    #[arg(long, value_name = "FILE|auto|0", env = "KV_CACHE_WARMUP", default_value = "auto", value_parser = parse_warm_up)]
    warm: WarmUpSource,
}

/// The trace whose tools and system prompt are computed ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
enum WarmUpSource {
    Nothing,
    NewestTrace,
    File(PathBuf),
}

impl CacheArgs {
    /// How much the cache may keep in memory.
    pub(crate) fn limits(&self) -> CacheLimits {
        CacheLimits { entries: if self.cache { self.cache_entries } else { 0 }, bytes: self.cache_bytes }
    }

    /// Where the cache outlives the process: the folder of these options, else the configured one.
    pub(crate) fn disk(&self, configured: Option<PathBuf>) -> Option<DiskOptions> {
        let folder = self.cache_dir.clone().or(configured).filter(|folder| !folder.as_os_str().is_empty())?;
        Some(DiskOptions { folder, bytes: self.cache_dir_bytes as u64 })
    }

    /// The request whose tools and system prompt are to be computed ahead; with `auto`, that of the newest trace in `traces`.
    /// A named file must be readable, a found one need not be. Reads files.
    pub(crate) fn warm_up(&self, traces: &Path) -> Result<Option<MessagesRequest>, CliError> {
        match &self.warm {
            _ if !self.cache => Ok(None),
            WarmUpSource::Nothing => Ok(None),
            WarmUpSource::NewestTrace => Ok(newest_request(traces)),
            WarmUpSource::File(file) => read_request(file).map(Some).map_err(|reason| {
                CliError::input(format!("{}: {reason}; name another trace with --warm, or --warm 0", file.display()))
            }),
        }
    }
}

/// The request of the latest trace that has tools: the client's side requests have none, and say nothing of its next session.
fn newest_request(folder: &Path) -> Option<MessagesRequest> {
    let mut files = trace::find(&[folder.to_path_buf()]).ok()?;
    let written = |file: &PathBuf| file.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    files.sort_by_cached_key(|file| Reverse(written(file)));
    files.iter().filter_map(|file| read_request(file).ok()).find(|request| !request.tools.is_empty())
}

fn read_request(file: &Path) -> Result<MessagesRequest, String> {
    let trace = trace::read(file).map_err(|error| error.to_string())?;
    serde_json::from_value(trace.request.body).map_err(|error| format!("not a Messages request: {error}"))
}

/// `auto`, a switch, or else a file's path. Every text is one of these.
fn parse_warm_up(text: &str) -> Result<WarmUpSource, String> {
    Ok(match (text, parse_switch(text)) {
        ("auto", _) | (_, Ok(true)) => WarmUpSource::NewestTrace,
        (_, Ok(false)) => WarmUpSource::Nothing,
        (file, Err(_)) => WarmUpSource::File(file.into()),
    })
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" => Ok(true),
        "0" | "false" | "off" | "no" => Ok(false),
        _ => Err("expected 0 or 1".into()),
    }
}

fn parse_size(text: &str) -> Result<usize, String> {
    text.parse::<ByteSize>().map(|size| size.0 as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_is_a_file_the_newest_trace_or_nothing() {
        for (text, warm) in [
            ("auto", WarmUpSource::NewestTrace),
            ("1", WarmUpSource::NewestTrace),
            ("0", WarmUpSource::Nothing),
            ("off", WarmUpSource::Nothing),
            ("traces/a/0001.json", WarmUpSource::File("traces/a/0001.json".into())),
        ] {
            assert_eq!(parse_warm_up(text), Ok(warm), "{text}");
        }
    }

    #[test]
    fn the_newest_trace_with_tools_is_found() {
        let request = newest_request(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/traces"))).unwrap();
        assert!(!request.tools.is_empty());
        assert_eq!(newest_request(Path::new("/nowhere/at/all")), None);
    }
}
