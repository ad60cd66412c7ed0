//! The replay on one backend, with all there is to say of it.

use std::process::ExitCode;

use super::args::ReplayArgs;
use super::expectations::Expectations;
use super::figures::Figures;
use super::github::GitHub;
use super::on_backend::{Replay, RunEnd};
use super::result_files::ResultFiles;
use crate::cli::signals::exit_code_of;
use crate::cli::{CliError, say};
use crate::replay::{CaseResult, Learnt};
use crate::report::{Report, learnt, terminal};

/// Carries out the plan and prints the results, also if it ends early.
pub(super) async fn run(
    replay: &Replay,
    args: &ReplayArgs,
    files: &ResultFiles,
    expectations: &Expectations,
) -> Result<ExitCode, CliError> {
    tokio::task::block_in_place(|| files.write(Figures::One(&replay.report(&[]))))?;
    for snapshot in &replay.without_trace {
        say(format!("warning: {}: its trace is gone, so nothing tests it", snapshot.display()));
    }
    files.print(&replay.header())?;
    let mut results = Vec::new();
    let completion = replay.run_cases(files, &mut results, |results| files.write(Figures::One(&replay.report(results)))).await;
    let mut report = replay.report(&results);
    if matches!(completion, Ok(RunEnd::Whole)) {
        expectations.compare(&mut report);
    }
    print_end(replay, args, files, &report)?;
    tokio::task::block_in_place(|| {
        files.finish(Figures::One(&report))?;
        GitHub::from_environment().append_summary(Figures::One(&report))
    })?;
    match completion? {
        RunEnd::Whole => Ok(ExitCode::from(report.summary.exit_code())),
        RunEnd::Interrupted(signal) => Ok(ExitCode::from(exit_code_of(signal))),
        RunEnd::Unreachable(error) => Err(error.into()),
    }
}

/// Prints what there is to say of all cases together.
fn print_end(replay: &Replay, args: &ReplayArgs, files: &ResultFiles, report: &Report) -> Result<(), CliError> {
    files.print(&terminal::latency(report))?;
    if args.histogram {
        files.print(&terminal::histograms(report))?;
    }
    files.print(&terminal::speed(report))?;
    files.print(&terminal::free_fidelity(report))?;
    files.print(&terminal::margins(report))?;
    files.print(&terminal::details(report, replay.id_width))?;
    files.print(&terminal::closing(report, replay.policy))?;
    if args.learn {
        files.print(&learnt::to_toml(&learnt(replay, report.cases)))?;
    }
    files.print(&GitHub::from_environment().annotations(Figures::One(report)))
}

/// What would make the repeats of each trace equal.
fn learnt(replay: &Replay, results: &[CaseResult]) -> Learnt {
    let mut learnt = Learnt::default();
    for result in results {
        let outcomes: Vec<_> = result.measurements.iter().map(|measurement| &measurement.outcome).collect();
        learnt.add(&outcomes, &replay.settings.matching);
    }
    learnt
}
