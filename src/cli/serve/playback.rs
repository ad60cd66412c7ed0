//! Recorded answers: what a client's hooks, tools and instructions do is tested without a model.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use reqwest::Url;

use super::Listening;
use crate::backend::remote::RemoteBackend;
use crate::cli::text::count;
use crate::cli::{CliError, blocking, say};
use crate::playback::{Fault, Miss, Playback, Speed};
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
    /// With --traces: what becomes of a request that was not recorded: fail, or ask: and the URL of a server that speaks the
    /// Messages API. It gets ANTHROPIC_API_KEY and ANTHROPIC_AUTH_TOKEN of the environment; where there is one, --api-key must be set
    #[arg(long, value_name = "fail|ask:URL", default_value = "fail", requires = "traces")]
    on_miss: OnMiss,
    /// With --traces: what goes wrong with which requests, such as 529@3,cut@5,error@6: the third is answered with status 529, in
    /// the middle of the answer to the fifth the connection breaks, and the one to the sixth ends there with an error event
    #[arg(long, value_name = "WHAT@NTH", value_delimiter = ',', requires = "traces")]
    fault: Vec<Fault>,
}

/// What becomes of a request that was not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OnMiss {
    /// It is answered with an error, and the run fails.
    Fail,
    /// The server at this URL answers it.
    Ask(String),
}

impl FromStr for OnMiss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("ask:")) {
            ("fail", _) => Ok(Self::Fail),
            (_, Some(url)) if Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) => {
                Ok(Self::Ask(url.to_owned()))
            }
            _ => Err("this is fail, or ask: and a URL, such as ask:http://127.0.0.1:8082".to_owned()),
        }
    }
}

/// Serves the recorded answers until Ctrl-C or SIGTERM. Exit code 1 if a request had none.
pub(super) async fn run(args: PlaybackArgs, listening: Listening, redactor: &Redactor) -> Result<ExitCode, CliError> {
    if let Some(nth) = Fault::twice(&args.fault) {
        return Err(CliError::input(format!("--fault: several faults for request {nth}; each request has one at most")));
    }
    if let OnMiss::Ask(url) = &args.on_miss
        && let Some(credentials) = RemoteBackend::credentials_sent_to(url)
        && !listening.asks_for_key()?
    {
        return Err(CliError::input(spent_for_all(credentials)));
    }
    let (redactor, on_miss) = (redactor.clone(), args.on_miss.clone());
    let mut playback = blocking(move || playback(&args, redactor)).await?;
    if let OnMiss::Ask(url) = on_miss {
        playback = playback.asking(Arc::new(RemoteBackend::new(&url).await?));
    }
    let playback = Arc::new(playback);
    say(format_args!("answering with {}", count(playback.recordings(), "recorded answer")));
    let server = listening.bind().await?.serve(playback.clone()).await?;
    say(format_args!("served {}", server.totals()));
    let misses = playback.misses();
    for Miss { why, times } in misses.kept() {
        say(format_args!("missed {}: {why}", count(*times, "time")));
    }
    if misses.not_kept() > 0 {
        say(format_args!("missed {} more, with texts that are not kept", count(misses.not_kept(), "time")));
    }
    let elsewhere = match playback.answered_elsewhere() {
        0 => String::new(),
        asked => format!(", {asked} answered elsewhere"),
    };
    let cut = match playback.cut() {
        0 => String::new(),
        cut => format!(" ({cut} of them cut, as in the recording)"),
    };
    let answered = count(playback.answered(), "request");
    say(format_args!("{answered} as recorded{cut}{elsewhere}, {} without a recording", misses.total()));
    let (faults, asked) = playback.faults_to_come();
    for fault in faults {
        say(format_args!("--fault {fault} did not happen: {} for a message came", count(asked, "request")));
    }
    for fault in playback.faults_without_events() {
        say(format_args!("--fault {fault} did not happen: request {} had no recorded events to cut", fault.nth));
    }
    Ok(ExitCode::from(u8::from(misses.total() > 0)))
}

/// Why `--on-miss ask:` needs a key of its own where it sends these credentials of the user.
fn spent_for_all(credentials: &str) -> String {
    format!(
        "--on-miss ask: sends {credentials} on, so whoever reaches this port would spend it: set --api-key (or ANYCLAUDE_API_KEY) \
         and give the client that key instead"
    )
}

fn playback(args: &PlaybackArgs, redactor: Redactor) -> Result<Playback, CliError> {
    let read = |path: PathBuf| trace::read(&path).map(|trace| (path, trace));
    let traces = trace::find(&args.traces)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let found = traces.len();
    let playback = Playback::of(traces, redactor, args.speed).map_err(CliError::input)?;
    match playback.recordings() {
        0 => Err(CliError::input(format!("nothing to play: none of {found} traces holds an answered Messages request"))),
        _ => {
            if playback.left_out() > 0 {
                say(format_args!("{} left out: no answered Messages request", count(playback.left_out(), "trace")));
            }
            Ok(playback.with_faults(args.fault.clone()))
        }
    }
}
