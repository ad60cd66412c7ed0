//! `anyclaude trace dedupe`: traces whose request another one has too.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use time::OffsetDateTime;

use super::folder::or_default;
use super::success_unless;
use crate::cli::text::count;
use crate::cli::{CliError, print};
use crate::trace::{self, Digest, ExchangeOutcome, ItemKey, Outline, Trace, TraceError, came_at, outlines, recorded_message};
use crate::wire::StopReason;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace dedupe                        see what would be removed
  anyclaude trace dedupe --delete corpus/

Two requests are the same if a model is asked the same: the billing header, cache_control, metadata, stream, max_tokens, the
ids of tool calls and the order of keys do not count. Those to two upstreams of one recorder are two. The oldest with a whole
answer is kept, or else the oldest.")]
pub(super) struct TraceDedupeArgs {
    /// Files and folders [default: traces/, or else the launcher's recordings]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Remove the files, rather than only name them
    #[arg(long)]
    delete: bool,
}

/// What is known of a trace.
struct Asked {
    file: PathBuf,
    /// The digest of its request, and the upstream that it was sent to, if the recorder had several.
    key: (Digest, Option<String>),
    is_whole: bool,
    recorded_at: Option<OffsetDateTime>,
}

impl Asked {
    fn of(file: &Path, outline: Result<Outline<ItemKey>, TraceError>) -> Result<Self, TraceError> {
        let outline = outline?;
        Ok(Self {
            file: file.to_owned(),
            is_whole: is_whole(&outline.trace),
            recorded_at: came_at(&outline.trace),
            key: (outline.request_key(), outline.trace.upstream),
        })
    }

    /// Which of two is kept: the lesser.
    fn rank(&self) -> impl Ord + use<> {
        (!self.is_whole, self.recorded_at.is_none(), self.recorded_at)
    }
}

/// Whether the answer came to its own end, rather than to the one that the request's `max_tokens` set.
fn is_whole(trace: &Trace) -> bool {
    let was_cut = || {
        // Anthropic's messages, OpenAI's chat completions and Responses say it in a field of their own.
        let body = &trace.response.body;
        recorded_message(trace).is_some_and(|message| message.stop_reason == Some(StopReason::MaxTokens))
            || body["choices"][0]["finish_reason"] == "length"
            || body["status"] == "incomplete"
    };
    trace.outcome == ExchangeOutcome::Complete && !was_cut()
}

pub(super) fn run(args: TraceDedupeArgs) -> Result<ExitCode, CliError> {
    let files = trace::find(&or_default(args.paths)?)?;
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for asked in outlines(&files, |list, _, json| ItemKey::read(list, json), Asked::of) {
        match asked {
            Ok(asked) => all.push(asked),
            Err(error) => errors.push(error),
        }
    }
    let mut kept: HashMap<&(Digest, Option<String>), &Asked> = HashMap::new();
    for asked in &all {
        let one = kept.entry(&asked.key).or_insert(asked);
        if asked.rank() < one.rank() {
            *one = asked;
        }
    }
    let repeated: Vec<&Asked> = all.iter().filter(|asked| kept[&asked.key].file != asked.file).collect();
    let lines =
        repeated.iter().map(|asked| format!("{} asks what {} asks\n", asked.file.display(), kept[&asked.key].file.display()));
    print(&lines.collect::<String>())?;
    for asked in repeated.iter().filter(|_| args.delete) {
        fs::remove_file(&asked.file)
            .map_err(|error| CliError::input(format!("cannot remove {}: {error}", asked.file.display())))?;
    }
    let done = match (repeated.is_empty(), args.delete) {
        (true, _) => "",
        (false, true) => ", removed",
        (false, false) => "; --delete removes them",
    };
    print(&format!("{}: {} repeated{done}\n", count(all.len(), "trace"), repeated.len()))?;
    success_unless(errors)
}
