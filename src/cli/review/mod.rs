//! `anyclaude review`: accepting or rejecting pending snapshots: on a full screen, line by line, or by their names.

mod ask;
mod full_screen;
mod listing;
mod reading;
mod screen;
mod shown;
mod tally;
mod unreferenced;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::Signal;
use serde_json::Map;

use self::tally::Tally;
use self::unreferenced::UnreferencedAction;
use super::environment::in_ci;
use super::signals::exit_code_of;
use super::snapshots_folder::SNAPSHOTS;
use super::{CliError, print, say};
use crate::config;
use crate::review::Decision;
use crate::snapshot::{Matching, PendingFile, Store};

/// Accept or reject the pending snapshots
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ReviewArgs {
    /// Folder of the snapshots
    #[arg(long, default_value = SNAPSHOTS, value_name = "DIR")]
    snapshots: PathBuf,

    /// List what is pending, with what changed
    #[arg(long, conflicts_with_all = ["show", "accept", "reject"])]
    list: bool,

    /// With --list: print JSON
    #[arg(long, requires = "list")]
    json: bool,

    /// Show one pending snapshot with its diff
    #[arg(long, value_name = "ID", conflicts_with_all = ["accept", "reject"])]
    show: Option<String>,

    /// Accept these pending snapshots without asking: exchanges such as read-file/0001, or sessions; all, if none is named
    #[arg(long, value_name = "ID", num_args = 0..)]
    accept: Option<Vec<String>>,

    /// Reject these pending snapshots without asking; all, if none is named
    #[arg(long, value_name = "ID", num_args = 0..)]
    reject: Option<Vec<String>>,

    /// What becomes of accepted snapshots whose trace is gone
    #[arg(long, value_enum, default_value_t = UnreferencedAction::List)]
    unreferenced: UnreferencedAction,
}

const AFTER_HELP: &str = "\
Examples:
  anyclaude review                          a full screen; line by line where there is none
  anyclaude review --list --json            what changed, for scripts
  anyclaude review --show read-file/0001    one diff
  anyclaude review --accept read-file       all of a session, to be read with `git diff snapshots/`
  anyclaude review --accept                 everything
  anyclaude review --unreferenced fail      exit code 1 if a snapshot's trace is gone; asks nothing

On the full screen nothing is written until you leave with `q` and confirm it with `y`. Esc never decides anything; `?` lists
the keys. With TERM=dumb, or through a pipe, each snapshot is shown and asked about in turn, and each answer is carried out at
once. A file that cannot be read, or that changed since it was shown, is left as it is, and the exit code is 2.";

/// Why nothing is decided in CI.
const IN_CI: &str = "review with CI set: accepting and rejecting is for people; unset CI to do it on purpose";

/// Reviews the pending snapshots. Waits for the user's keys.
pub(super) fn run(args: &ReviewArgs) -> Result<ExitCode, CliError> {
    let changes = args.decides_by_name() || args.unreferenced == UnreferencedAction::Delete;
    if changes && in_ci() {
        return Err(CliError::input(IN_CI));
    }
    if let (Some(accept), Some(reject)) = (&args.accept, &args.reject)
        && (accept.is_empty() || reject.is_empty())
    {
        return Err(CliError::input("--accept with --reject: name the exchanges of both"));
    }
    let store = Store::new(&args.snapshots);
    let pending = store.pending()?;
    let mut tally = Tally::default();
    if args.list {
        let pending = reading::read_all(&pending, &matching()?);
        if pending.is_empty() && !args.json {
            say(format_args!("nothing pending in {}", args.snapshots.display()));
        }
        print(&listing::listed(&pending, args.json)?)?;
        tally.left = pending.iter().filter(|one| one.read.is_err()).count();
    } else if let Some(id) = &args.show {
        let file = PendingFile::read(&listing::one_of(&pending, id)?)?;
        print(&shown::shown(&file, 1, 1)?)?;
    } else if pending.is_empty() && !args.only_checks() {
        print(&format!("Nothing pending in {}.\n", args.snapshots.display()))?;
    } else if !args.only_checks() {
        let Some(reviewed) = review(args, &pending)? else {
            print("Nothing was written.\n")?;
            return Ok(ExitCode::from(exit_code_of(Signal::INT)));
        };
        print(&reviewed.to_string())?;
        tally = reviewed;
    }
    let is_for_people = !args.list && args.show.is_none();
    let ending = args.unreferenced.apply(&store.unreferenced(Path::new(""))?, is_for_people);
    tally.check_complete()?;
    ending
}

impl ReviewArgs {
    fn decides_by_name(&self) -> bool {
        self.accept.is_some() || self.reject.is_some()
    }

    /// `--unreferenced fail` alone looks at the accepted snapshots and asks nothing.
    fn only_checks(&self) -> bool {
        self.unreferenced == UnreferencedAction::Fail && !self.decides_by_name()
    }
}

/// Reviews in the way that was asked for, or that the terminal can. `None` if Ctrl-C ended it.
fn review(args: &ReviewArgs, pending: &[PathBuf]) -> Result<Option<Tally>, CliError> {
    if args.decides_by_name() {
        return decide_by_name(args, pending).map(Some);
    }
    if in_ci() {
        return Err(CliError::input(IN_CI));
    }
    if !has_full_screen() {
        return ask::ask_about_each(pending).map(Some);
    }
    let matching = matching()?;
    full_screen::run(reading::read_all(pending, &matching), matching)
}

/// Carries out `--accept` and `--reject`. Nothing is done if a name is wrong.
fn decide_by_name(args: &ReviewArgs, pending: &[PathBuf]) -> Result<Tally, CliError> {
    let named = |ids: &Option<Vec<String>>| ids.as_ref().map_or(Ok(Vec::new()), |ids| listing::named(pending, ids));
    let (accepted, rejected) = (named(&args.accept)?, named(&args.reject)?);
    if let Some(both) = accepted.iter().find(|path| rejected.contains(path)) {
        return Err(CliError::input(format!("{}: it is to be accepted and to be rejected; name it once", both.display())));
    }
    let mut tally = Tally::default();
    for path in pending {
        let decision = match (accepted.contains(path), rejected.contains(path)) {
            (true, _) => Decision::Accept,
            (_, true) => Decision::Reject,
            (false, false) => Decision::Skip,
        };
        match (decision, PendingFile::read(path)) {
            (Decision::Skip, _) => tally.skipped += 1,
            (_, Ok(file)) => tally.carry_out(&file, decision)?,
            (_, Err(error)) => tally.leave(&error)?,
        }
    }
    Ok(tally)
}

/// The match rules of the settings.
fn matching() -> Result<Matching, CliError> {
    let replay = config::load(&Map::new())?.settings.replay;
    Ok(Matching { rules: replay.rules, unordered_calls: replay.unordered_calls })
}

/// Whether this is a terminal on which a cursor can be moved.
fn has_full_screen() -> bool {
    let can_move = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
    can_move && io::stdin().is_terminal() && io::stdout().is_terminal()
}
