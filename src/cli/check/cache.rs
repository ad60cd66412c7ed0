//! `anyclaude check cache`: measures recorded requests cold, warm and cached, and compares the figures with targets.

use std::path::PathBuf;

use console::style;
use tabled::builder::Builder;
use tabled::settings::Style;

use super::outcome::CheckOutcome;
use crate::cli::launch::{LaunchBackend, LaunchFlags, sources};
use crate::cli::text::{duration, trimmed_lines};
use crate::cli::{CliError, blocking, print, say};
use crate::replay::{CaseEnding, CaseResult, DEFAULT_RETRIES, Driver, Phase, Plan, Policy, ReplaySettings, Replayer};
use crate::report::{PhaseLatency, latencies};
use crate::snapshot::{Info, Store};
use crate::trace;

/// Time recorded requests cold, warm and cached, and check that the prefix cache saves what it should
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  anyclaude check cache --model tiny
  anyclaude check cache --model tiny --repeat 5 traces/read-file")]
pub(super) struct CheckCacheArgs {
    #[command(flatten)]
    flags: LaunchFlags,
    /// Trace files, or folders to search for them
    #[arg(default_value = "traces")]
    traces: Vec<PathBuf>,
    /// How often to measure each phase of each trace
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
}

/// What a phase is expected to save.
struct PhaseTarget {
    phase: Phase,
    /// The most that the median TTFT may be, as a fraction of the cold one.
    ttft_to_cold: f64,
    /// The least share of the prompt tokens that must come from the cache, from 0 to 1.
    hit_share: f64,
}

/// A cached request should take a tenth of a cold one. A warm one still computes its conversation, whose length varies: it must
/// be clearly faster, and take most of its prompt from the cache, since most of what Claude Code sends is the shared prefix.
const TARGETS: [PhaseTarget; 2] = [
    PhaseTarget { phase: Phase::Warm, ttft_to_cold: 0.75, hit_share: 0.5 },
    PhaseTarget { phase: Phase::Cached, ttft_to_cold: 0.1, hit_share: 0.8 },
];

/// Longest answer, in tokens. Short ones are enough: it is the prompts that are measured.
const MAX_TOKENS: u32 = 16;

/// Measures and prints the table. Passes if every target is met and the answers are the same in all phases.
pub(super) async fn run(args: CheckCacheArgs) -> Result<CheckOutcome, CliError> {
    let CheckCacheArgs { flags, traces, repeat } = args;
    let (settings, plan) = blocking(move || Ok((flags.load()?.settings, plan(&traces, repeat)?))).await?;
    let backend = LaunchBackend::connect(sources(&settings).await?, &settings).await?.backend;
    let snapshots = blocking(|| tempfile::tempdir().map_err(CliError::backend)).await?;
    // Only what does not depend on the plan: nothing is accepted here.
    let comparison = ReplaySettings::default();
    let replayer = Replayer {
        driver: Driver::new(backend.as_ref(), DEFAULT_RETRIES),
        store: Store::new(snapshots.path()),
        policy: Policy::Check,
        settings: &comparison,
        known_answers: None,
        info: Info { model: backend.model(), ..Info::default() },
        expression: String::new(),
    };
    let mut results = Vec::new();
    for case in &plan.cases {
        say(format_args!("measuring {}", case.id));
        let (result, ending) =
            replayer.replay(case, &plan.steps, &|_| {}, std::future::pending()).await.map_err(CliError::input)?;
        if let CaseEnding::Failed(failure) = ending {
            return Err(CliError::backend(failure.error));
        }
        results.push(result);
    }
    let problems = problems(&results);
    let verdicts = verdicts(&latencies(&results));
    print(&table(&verdicts))?;
    print(&problems.iter().map(|problem| format!("{} {problem}\n", style("FAIL").red())).collect::<String>())?;
    let all_met = verdicts.iter().all(|verdict| verdict.missed.is_empty());
    Ok(CheckOutcome::passed_if(problems.is_empty() && all_met))
}

fn plan(traces: &[PathBuf], repeat: u32) -> Result<Plan, CliError> {
    let read = |file: PathBuf| trace::read(&file).map(|trace| (file, trace));
    let traces = trace::find(traces)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let settings = ReplaySettings { repeat, max_tokens: MAX_TOKENS, ..ReplaySettings::default() };
    let plan = Plan::new(traces, &settings).map_err(CliError::input)?;
    if plan.cases.is_empty() {
        return Err(CliError::input("none of these traces holds an answered Messages request; name others"));
    }
    Ok(plan)
}

/// What makes the figures worthless: a phase that did not happen, or answers that depend on the cache.
fn problems(results: &[CaseResult]) -> Vec<String> {
    let of_case = |result: &CaseResult| {
        let failed = result.phase_failures.iter().map(|failure| format!("{}: {failure}", result.id)).collect::<Vec<_>>();
        let differs = !result.disagreements.is_empty();
        failed.into_iter().chain(differs.then(|| format!("{}: cold, warm and cached gave different answers", result.id)))
    };
    results.iter().flat_map(of_case).collect()
}

/// A phase compared with its target.
#[derive(Debug, PartialEq)]
struct PhaseVerdict {
    phase: Phase,
    /// The median.
    ttft_us: Option<u64>,
    ttft_to_cold: Option<f64>,
    hit_share: Option<f64>,
    /// The targets that were missed, in words.
    missed: Vec<String>,
}

fn verdicts(phases: &[PhaseLatency]) -> Vec<PhaseVerdict> {
    let verdict = |latency: &PhaseLatency| {
        let PhaseLatency { phase, ttft_to_cold, cache_hit_share, .. } = *latency;
        let mut missed = Vec::new();
        if let Some(target) = TARGETS.iter().find(|target| target.phase == phase) {
            if ttft_to_cold.is_none_or(|ratio| ratio > target.ttft_to_cold) {
                missed.push(format!("TTFT must be at most {} of cold", target.ttft_to_cold));
            }
            if cache_hit_share.is_none_or(|share| share < target.hit_share) {
                missed.push(format!("at least {:.0}% must come from the cache", 100.0 * target.hit_share));
            }
        }
        PhaseVerdict { phase, ttft_us: latency.ttft.median_us(), ttft_to_cold, hit_share: cache_hit_share, missed }
    };
    phases.iter().map(verdict).collect()
}

fn table(verdicts: &[PhaseVerdict]) -> String {
    let mut table = Builder::default();
    table.push_record(["phase", "TTFT p50", "of cold", "from cache", "verdict"]);
    for PhaseVerdict { phase, ttft_us, ttft_to_cold, hit_share, missed } in verdicts {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        table.push_record([
            phase.to_string(),
            or_dash(ttft_us.map(duration)),
            or_dash(ttft_to_cold.map(|ratio| format!("{ratio:.3}"))),
            or_dash(hit_share.map(|share| format!("{:.1}%", 100.0 * share))),
            if missed.is_empty() { "pass".into() } else { format!("FAIL: {}", missed.join(", ")) },
        ]);
    }
    trimmed_lines(&table.build().with(Style::blank()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Distribution;

    fn phase(phase: Phase, ttft_us: u64, ttft_to_cold: f64, hit_share: Option<f64>) -> PhaseLatency {
        PhaseLatency {
            phase,
            ttft: Distribution::of([ttft_us].into_iter()),
            tpot: Distribution::of(std::iter::empty()),
            gap: Distribution::of(std::iter::empty()),
            e2e: Distribution::of([ttft_us].into_iter()),
            prefill_tokens_per_s: None,
            decode_tokens_per_s: None,
            cache_hit_share: hit_share,
            ttft_to_cold: Some(ttft_to_cold),
        }
    }

    #[test]
    fn each_phase_is_compared_with_its_target() {
        let verdicts = verdicts(&[
            phase(Phase::Cold, 2_000_000, 1.0, Some(0.0)),
            phase(Phase::Warm, 400_000, 0.2, Some(0.4)),
            phase(Phase::Cached, 220_000, 0.11, None),
        ]);
        insta::assert_snapshot!(table(&verdicts));
    }
}
