//! What the benches on recorded conversations share.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

use anyclaude::replay::{Plan, ReplayCase, ReplaySettings};
use anyclaude::trace;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// The command line, less what `cargo bench` adds to it.
pub(crate) fn arguments() -> Vec<OsString> {
    std::env::args_os().skip(1).filter(|argument| argument != "--bench").collect()
}

/// The recorded requests of a folder, in order, as replay sends them: greedy, and with the tool forced that was called.
pub(crate) fn cases(traces: &Path) -> Outcome<Vec<ReplayCase>> {
    let files = trace::find(&[traces.to_path_buf()])?;
    let traces = files.into_iter().map(|file| Ok((trace::read(&file)?, file)).map(|(trace, file)| (file, trace)));
    let settings = ReplaySettings { max_tokens: u32::MAX, ..ReplaySettings::default() };
    Ok(Plan::new(traces.collect::<Outcome<_>>()?, &settings)?.cases)
}
