//! `anyclaude replay`: drives recorded traces against a backend or several, prints the report, writes the figures.

mod absent;
mod alone;
mod args;
mod expectations;
mod figures;
mod github;
mod on_backend;
mod pace;
mod result_files;
mod several;

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Map;

use self::absent::absent;
pub(super) use self::args::ReplayArgs;
use self::expectations::Expectations;
use self::github::GitHub;
use self::on_backend::Replay;
use self::result_files::ResultFiles;
use super::answerer::{Asked, Wanted, connect};
use super::{CliError, print_to_stderr, say};
use crate::config;
use crate::replay::{Plan, Policy, ReplaySettings, Skip};
use crate::snapshot::Store;
use crate::trace;
use crate::trace::redact::Redactor;

/// Replays the traces and prints the report.
pub(super) async fn run(args: ReplayArgs, redactor: &Redactor) -> Result<ExitCode, CliError> {
    let Prepared { replays, files, expectations } = prepare(&args).await.map_err(|error| {
        let error = error.redacted(redactor);
        // There will be no report with annotations. Standard output may be a file's.
        print_to_stderr(&GitHub::from_environment().ended_by(&error));
        error
    })?;
    match &replays[..] {
        [replay] => alone::run(replay, &args, &files, &expectations).await,
        replays => several::run(replays, &args, &files, &expectations).await,
    }
}

/// What is ready to be measured.
struct Prepared {
    /// One for each backend.
    replays: Vec<Replay>,
    files: ResultFiles,
    expectations: Expectations,
}

/// Reads all that the replays need, and connects their backends.
async fn prepare(args: &ReplayArgs) -> Result<Prepared, CliError> {
    let policy = policy(args)?;
    let (configured, asked, expectations, settings, files, store, plan, without_trace) = tokio::task::block_in_place(|| {
        let configured = config::load(&Map::new())?.settings;
        let defaults = configured.replay.clone();
        let asked = Asked::of(&args.answerer, &configured)?;
        let expectations = Expectations::read(args, defaults.budget.clone())?;
        let settings = args.settings(defaults);
        let files = ResultFiles::of(args)?;
        let found = trace::find(&args.traces)?;
        files.check_against(found.iter().chain(&args.baseline))?;
        let store = Store::new(args.snapshots());
        let plan = plan(args, found, &store, &settings)?;
        let without_trace = without_trace(args, &store, &plan)?;
        Ok::<_, CliError>((configured, asked, expectations, settings, files, store, plan, without_trace))
    })?;
    let in_process = asked.iter().filter(|asked| asked.is_in_process()).count();
    if in_process > 1 {
        say(format!("warning: {in_process} models are loaded at once; where memory is short, replay them one at a time"));
    }
    let is_one_of_several = asked.len() > 1;
    // All are connected before the first is measured: what is wrong with the last is not found out after an hour.
    let mut replays = Vec::new();
    for asked in asked {
        let model = plan.cases.first().map(|case| asked.model_to_send().unwrap_or(&case.request.model));
        let wanted = Wanted { betas: &plan.betas, margins_of: model.filter(|_| args.wants_margins()) };
        let (answerer, known_answers) = match connect(&asked, &args.answerer, &wanted, &configured).await {
            Ok(answerer) => {
                let known_answers = expectations.known_answers(answerer.backend.as_ref(), answerer.digest.as_ref())?;
                (answerer, known_answers)
            }
            // The others are measured, and it is a column of failures.
            Err(CliError::Unreachable(reason)) if is_one_of_several => (absent(&asked, reason), None),
            Err(error) => return Err(error),
        };
        let plan = plan.clone().asking_for(asked.model_to_send());
        let mut replay = Replay::new(args, policy, &asked, settings.clone(), store.clone(), plan, answerer);
        replay.known_answers = known_answers;
        replay.without_trace.clone_from(&without_trace);
        replays.push(replay);
    }
    Ok(Prepared { replays, files, expectations })
}

/// What may be written to the snapshots. Of several backends none has more right than the others to do so.
fn policy(args: &ReplayArgs) -> Result<Policy, CliError> {
    let policy = args.policy()?;
    if args.answerer.backends.len() == 1 {
        return Ok(policy);
    }
    let of_one = [
        (args.update, "--update", "accept what one of them answers"),
        (args.baseline.is_some(), "--baseline", "its figures are of one"),
        (args.learn, "--learn", "its rules are for one"),
    ];
    match of_one.into_iter().find(|(is_given, ..)| *is_given) {
        Some((_, option, why)) => Err(CliError::input(format!("{option} with several backends: {why}; give one --backend"))),
        None => Ok(Policy::Check),
    }
}

/// Reads the traces and plans what to do with them. Having nothing to do is an error, not a success, unless the user says that
/// traces may be skipped. Traces that cannot be read are something to report.
fn plan(args: &ReplayArgs, found: Vec<PathBuf>, store: &Store, settings: &ReplaySettings) -> Result<Plan, CliError> {
    let read = |path: PathBuf| trace::read(&path).map(|trace| (path, trace)).map_err(CliError::from);
    let traces = found.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let plan = Plan::new(traces, settings).map_err(CliError::input)?;
    for (path, skip) in plan.skipped.iter().filter(|(_, skip)| matches!(skip, Skip::Unreadable(_) | Skip::Twice(_))) {
        say(format!("warning: {}: skipped: {skip}", path.display()));
    }
    let is_reported = args.allow_skips || plan.unreadable().next().is_some();
    if plan.cases.is_empty() && is_reported && !plan.skipped.is_empty() {
        say("warning: nothing is replayed: all traces are skipped");
    } else if plan.cases.is_empty() {
        let folders = args.traces.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(CliError::input(match plan.skipped.len() {
            0 => format!("{folders}: no trace matches --filter {}", args.filter.join(" --filter ")),
            skipped => format!(
                "{folders}: nothing to replay; skipped {skipped}, none holds an answered Messages request; --allow-skips succeeds all the same"
            ),
        }));
    }
    for case in &plan.cases {
        // A snapshot that cannot be read is reported now, not after an hour of measuring.
        store.accepted(&case.id).map_err(CliError::input)?;
    }
    Ok(plan)
}

/// The accepted snapshots whose traces are gone. None with a filter, which leaves traces out on purpose.
fn without_trace(args: &ReplayArgs, store: &Store, plan: &Plan) -> Result<Vec<PathBuf>, CliError> {
    if !args.filter.is_empty() {
        return Ok(Vec::new());
    }
    let replayed: HashSet<PathBuf> = plan.cases.iter().map(|case| store.accepted_path(&case.id)).collect();
    let mut gone = store.without_trace(&args.traces).map_err(CliError::input)?;
    gone.retain(|snapshot| !replayed.contains(snapshot));
    Ok(gone)
}
