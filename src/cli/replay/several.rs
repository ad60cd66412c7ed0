//! The replay on several backends: one after the other, so that none takes time from another, and then side by side.

use std::process::ExitCode;

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
    let (mut finished, mut signal): (Vec<Vec<CaseResult>>, _) = (Vec::new(), None);
    for replay in replays {
        files.print(&format!("{}\n{}", replay.name, replay.header()))?;
        let mut results = Vec::new();
        let write = |results: &[CaseResult]| {
            let so_far: Vec<_> = finished.iter().map(Vec::as_slice).chain([results]).collect();
            files.write(Figures::Several(&beside(replays, &so_far)))
        };
        let end = replay.run_cases(files, &mut results, write).await?;
        let report = replay.report(&results);
        files.print(&terminal::totals(&report))?;
        if args.histogram {
            files.print(&terminal::histograms(&report))?;
        }
        finished.push(results);
        match end {
            RunEnd::Whole => {}
            RunEnd::Unreachable(error) => say(format_args!("warning: {} is gone: {error}", replay.name)),
            RunEnd::Interrupted(received) => {
                signal = Some(received);
                break;
            }
        }
    }
    let finished: Vec<_> = finished.iter().map(Vec::as_slice).collect();
    let mut side = beside(replays, &finished);
    if signal.is_none() {
        side.backends.iter_mut().for_each(|backend| expectations.compare(&mut backend.report));
    }
    files.print(&backends::to_terminal(&side))?;
    files.print(&GitHub::from_environment().annotations(Figures::Several(&side)))?;
    tokio::task::block_in_place(|| {
        files.finish(Figures::Several(&side))?;
        GitHub::from_environment().append_summary(Figures::Several(&side))
    })?;
    Ok(ExitCode::from(signal.map_or_else(|| side.exit_code(), exit_code_of)))
}

/// All backends, with the results so far.
fn beside<'a>(replays: &'a [Replay], results: &[&'a [CaseResult]]) -> Backends<'a> {
    let reports = replays.iter().enumerate().map(|(nth, replay)| {
        let results = results.get(nth).copied().unwrap_or_default();
        NamedReport { name: replay.name.clone(), report: replay.report(results) }
    });
    Backends::new(reports.collect())
}
