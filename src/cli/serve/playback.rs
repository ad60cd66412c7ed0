//! Recorded answers: what a client's hooks, tools and instructions do is tested without a model.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::Listening;
use crate::cli::text::count;
use crate::cli::{CliError, blocking, say};
use crate::playback::{Fault, Playback, Speed};
use crate::trace;
use crate::trace::redact::Redactor;

/// The recordings, and how they are played.
#[derive(clap::Args, Debug)]
pub(super) struct PlaybackArgs {
    /// Answer with these recorded traces instead of a model: trace files, or folders to search for them
    #[arg(long, value_name = "DIR", num_args = 1.., required = cfg!(not(feature = "mlx")))]
    pub traces: Vec<PathBuf>,
    /// With --traces: how fast events come, max or how many times as fast as they were recorded
    #[arg(long, value_name = "max|TIMES", default_value = "max", requires = "traces")]
    speed: Speed,
    /// With --traces: what goes wrong with which requests, such as 529@3,cut@5: the third is answered with status 529, the answer
    /// to the fifth breaks off in the middle
    #[arg(long, value_name = "WHAT@NTH", value_delimiter = ',', requires = "traces")]
    fault: Vec<Fault>,
}

/// Serves the recorded answers until Ctrl-C or SIGTERM. Exit code 1 if a request had none.
pub(super) async fn run(args: PlaybackArgs, listening: Listening, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let redactor = redactor.clone();
    let playback = Arc::new(blocking(move || playback(&args, redactor)).await?);
    say(format_args!("answering with {}", count(playback.recordings(), "recorded answer")));
    let server = listening.bind().await?.serve(playback.clone()).await?;
    say(format_args!("served {}", server.totals()));
    let misses = playback.misses();
    misses.iter().for_each(|miss| say(format_args!("missed: {miss}")));
    say(format_args!("{} as recorded, {} without a recording", count(playback.answered(), "request"), misses.len()));
    Ok(ExitCode::from(u8::from(!misses.is_empty())))
}

fn playback(args: &PlaybackArgs, redactor: Redactor) -> Result<Playback, CliError> {
    let read = |path: PathBuf| trace::read(&path).map(|trace| (path, trace));
    let traces = trace::find(&args.traces)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let found = traces.len();
    let playback = Playback::of(traces, redactor, args.speed).map_err(CliError::input)?;
    match playback.recordings() {
        0 => Err(CliError::input(format!("nothing to play: none of {found} traces holds an answered Messages request"))),
        _ => Ok(playback.with_faults(args.fault.clone())),
    }
}
