//! The replay on several backends: one after the other, so that none takes time from another, and then side by side.

use std::process::ExitCode;

use rustix::process::Signal;

use super::args::ReplayArgs;
use super::expectations::Expectations;
use super::figures::Figures;
use super::github::GitHub;
use super::on_backend::{Replay, RunEnd};
use super::result_files::ResultFiles;
use crate::cli::signals::exit_code_of;
use crate::cli::{CliError, say};
use crate::replay::CaseResult;
use crate::report::{Backends, NamedReport, backends, terminal};

/// Carries out the plan on each and prints them side by side, also if it ends early. A backend that is gone keeps no other from
/// being measured.
pub(super) async fn run(
    replays: &[Replay],
    args: &ReplayArgs,
    files: &ResultFiles,
    expectations: &Expectations,
) -> Result<ExitCode, CliError> {
    tokio::task::block_in_place(|| files.write(Figures::Several(&beside(replays, &[]))))?;
    for snapshot in replays.first().into_iter().flat_map(|replay| &replay.without_trace) {
        say(format!("warning: {}: its trace is gone, so nothing tests it", snapshot.display()));
    }
    let (mut finished, mut early): (Vec<Vec<CaseResult>>, Option<Early>) = (Vec::new(), None);
    for replay in replays {
        files.print(&format!("{}\n{}", replay.name, replay.header()))?;
        let mut results = Vec::new();
        let write = |results: &[CaseResult]| {
            let so_far: Vec<_> = finished.iter().map(Vec::as_slice).chain([results]).collect();
            files.write(Figures::Several(&beside(replays, &so_far)))
        };
        let end = replay.run_cases(files, &mut results, write).await;
        let report = replay.report(&results);
        files.print(&terminal::totals(&report))?;
        if args.histogram {
            files.print(&terminal::histograms(&report))?;
        }
        finished.push(results);
        match end {
            Ok(RunEnd::Whole) => {}
            Ok(RunEnd::Unreachable(error)) => say(format_args!("warning: {} is gone: {error}", replay.name)),
            Ok(RunEnd::Interrupted(signal)) => early = Some(Early::Interrupted(signal)),
            Err(error) => early = Some(Early::Failed(error)),
        }
        if early.is_some() {
            break;
        }
    }
    let finished: Vec<_> = finished.iter().map(Vec::as_slice).collect();
    let mut side = beside(replays, &finished);
    if early.is_none() {
        side.backends.iter_mut().for_each(|backend| expectations.compare(&mut backend.report));
    }
    files.print(&backends::to_terminal(&side))?;
    files.print(&GitHub::from_environment().annotations(Figures::Several(&side)))?;
    tokio::task::block_in_place(|| {
        files.finish(Figures::Several(&side))?;
        GitHub::from_environment().append_summary(Figures::Several(&side))
    })?;
    match early {
        None => Ok(ExitCode::from(side.exit_code())),
        Some(Early::Interrupted(signal)) => Ok(ExitCode::from(exit_code_of(signal))),
        Some(Early::Failed(error)) => Err(error),
    }
}

/// Why not all backends were measured. What was measured until then is shown all the same.
enum Early {
    /// This signal stopped it.
    Interrupted(Signal),
    /// A file could not be read or written.
    Failed(CliError),
}

/// All backends, with the results so far.
fn beside<'a>(replays: &'a [Replay], results: &[&'a [CaseResult]]) -> Backends<'a> {
    let reports = replays.iter().enumerate().map(|(nth, replay)| {
        let results = results.get(nth).copied().unwrap_or_default();
        NamedReport { name: replay.name.clone(), report: replay.report(results) }
    });
    Backends::new(reports.collect())
}
