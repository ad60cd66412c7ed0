//! `anyclaude trace scrub`: copies that are fit to be shared, with the accepted snapshots that belong to them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::folder::or_default;
use super::success_unless;
use crate::cli::snapshots_folder::{SNAPSHOTS, snapshots_of};
use crate::cli::{CliError, print};
use crate::replay::{last_user_turn, one_line};
use crate::snapshot::{ExchangeId, Snapshot, Store};
use crate::trace::redact::Redactor;
use crate::trace::scrub::{Turns, scrub, scrub_arguments};
use crate::trace::{self, Trace, TraceError, is_session_name, messages_request, path_of};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude trace scrub --out shared traces/
  anyclaude trace scrub --keep-turns --out ci/traces traces/    make copies for replays in CI
  anyclaude trace scrub --in-place shared")]
pub(super) struct TraceScrubArgs {
    /// Files and folders [default: traces/, or else the launcher's recordings]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder for the copies, laid out as <DIR>/<session>/<number>.json; their snapshots go to <DIR>/snapshots
    #[arg(long, value_name = "DIR", required_unless_present = "in_place", conflicts_with = "in_place")]
    out: Option<PathBuf>,
    /// Write over the traces and their snapshots
    #[arg(long)]
    in_place: bool,
    /// Folder of the accepted snapshots; those of these traces are scrubbed in the same way, so that they still match [default: the
    /// folder snapshots in that of the traces, if there is one, or else snapshots here]
    #[arg(long, value_name = "DIR")]
    snapshots: Option<PathBuf>,
    /// Keep what the user wrote and the arguments of tool calls, without home folders and mail addresses, so that replays of
    /// the copies ask for the same calls
    #[arg(long)]
    keep_turns: bool,
}

/// Where a trace goes.
struct Target {
    file: PathBuf,
    copy: PathBuf,
}

/// Scrubs the traces that can be read and have a place; the others are an error at the end. Nothing is written if two copies
/// would be one file, or a copy one of the traces.
pub(super) fn run(args: TraceScrubArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let turns = if args.keep_turns { Turns::Kept } else { Turns::Filler };
    let paths = or_default(args.paths)?;
    let from = Store::new(args.snapshots.unwrap_or_else(|| snapshots_of(&paths)));
    let files = trace::find(&paths)?;
    let mut errors = Vec::new();
    let mut targets = Vec::new();
    for file in files {
        match copy_of(&file, args.out.as_deref()) {
            Ok(copy) => targets.push(Target { file, copy }),
            Err(error) => errors.push(error),
        }
    }
    if !args.in_place {
        check(&targets)?;
    }
    let to = args.out.as_ref().map_or_else(|| from.clone(), |out| Store::new(out.join(SNAPSHOTS)));
    for Target { file, copy } in targets {
        let original = trace::read(&file)?;
        let scrubbed = scrub(original.clone(), turns, redactor);
        trace::write(&copy, &scrubbed)?;
        print(&format!("{}\n", copy.display()))?;
        // A session whose name is no file's has no snapshots.
        let name = |path: &Path| ExchangeId::of_trace(path, &original.session);
        let (Ok(id), Ok(copy_id)) = (name(&file), name(&copy)) else { continue };
        if let Some(snapshot) = Snapshot::read(&from.accepted_path(&id))? {
            let path = to.accepted_path(&copy_id);
            scrubbed_snapshot(snapshot, &original, &scrubbed, &copy, turns, redactor).write(&path)?;
            print(&format!("{}\n", path.display()))?;
        }
    }
    success_unless(errors)
}

/// Where the copy of this trace goes: below `out`, or else over the trace.
///
/// # Errors
/// The trace cannot be read, or what it calls its session would lead out of `out`.
fn copy_of(file: &Path, out: Option<&Path>) -> Result<PathBuf, TraceError> {
    let Trace { session, seq, .. } = trace::read(file)?;
    match out {
        None => Ok(file.to_owned()),
        Some(out) if is_session_name(&session) => Ok(path_of(out, &session, seq)),
        Some(_) => Err(TraceError::SessionName { path: file.to_owned(), session }),
    }
}

/// Checks that no trace is lost.
fn check(targets: &[Target]) -> Result<(), CliError> {
    let inputs: HashSet<PathBuf> = targets.iter().filter_map(|target| target.file.canonicalize().ok()).collect();
    let mut copies: HashMap<&Path, &Path> = HashMap::new();
    for Target { file, copy } in targets {
        if copy.canonicalize().is_ok_and(|copy| inputs.contains(&copy)) {
            return Err(CliError::input(format!(
                "{}: the copy of {} would be written over it; choose another folder with --out, or say --in-place",
                copy.display(),
                file.display()
            )));
        }
        if let Some(other) = copies.insert(copy, file) {
            return Err(CliError::input(format!(
                "{} and {} have the same session and number, so their copies would be one file; scrub them to different folders",
                other.display(),
                file.display()
            )));
        }
    }
    Ok(())
}

/// The snapshot of a scrubbed trace: what its calls ask for is scrubbed as in the trace.
fn scrubbed_snapshot(
    mut snapshot: Snapshot,
    original: &Trace,
    scrubbed: &Trace,
    copy: &Path,
    turns: Turns,
    redactor: &Redactor,
) -> Snapshot {
    let outcomes = std::iter::once(&mut snapshot.outcome).chain(&mut snapshot.alternatives);
    for call in outcomes.flat_map(|outcome| &mut outcome.tool_use) {
        scrub_arguments(&mut call.input, &original.request.body, turns, redactor);
    }
    snapshot.metadata.input_file = Some(copy.display().to_string());
    // It is the beginning of the last user turn, of the same length as before.
    let length = snapshot.metadata.description.as_ref().map(|description| description.chars().count());
    let turn = messages_request(scrubbed).as_ref().map(last_user_turn);
    snapshot.metadata.description = length.zip(turn).map(|(length, turn)| one_line(&turn, length));
    snapshot
}
