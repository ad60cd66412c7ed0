//! `anyclaude check cache`: cold, warm and cached requests of recorded traces, against the targets.

use std::path::PathBuf;

use console::style;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::cli::launch::{Answering, Flags, check};
use crate::cli::trace::text::duration;
use crate::cli::{CliError, print, say};
use crate::config;
use crate::replay::{CaseResult, Driver, Ending, Phase, Plan, Policy, Session, Settings, ToolChoiceMode};
use crate::report::{PhaseLatency, latencies};
use crate::snapshot::{Info, Store};
use crate::trace;

/// Time recorded requests with an empty cache, a warm one and a full one, against the targets
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Trace files, or folders to search for them
    #[arg(default_value = "traces")]
    traces: Vec<PathBuf>,
    /// Measure each phase of each trace this often
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
}

/// What a phase must come to.
struct Target {
    phase: Phase,
    /// Median TTFT by that of cold, at most.
    ttft_to_cold: f64,
    /// Prompt tokens from the cache, at least.
    hit_share: f64,
}

/// A cached request takes a tenth of a cold one. A warm one computes its conversation, which differs in length: it must be
/// clearly faster, and take most of its prompt from the cache, as the shared prefix is most of what Claude Code sends.
const TARGETS: [Target; 2] = [
    Target { phase: Phase::Warm, ttft_to_cold: 0.75, hit_share: 0.5 },
    Target { phase: Phase::Cached, ttft_to_cold: 0.1, hit_share: 0.8 },
];

/// Answers this long are enough: what is asked is how the prompt is treated.
const MAX_TOKENS: u32 = 16;

/// Measures and prints the table. Whether every target was met and every phase gave the same answers.
pub async fn run(args: Args) -> Result<bool, CliError> {
    let settings = config::load(&args.flags)?.settings;
    let plan = tokio::task::block_in_place(|| plan(&args))?;
    check(&settings)?;
    let backend = Answering::start(&settings).await?.backend;
    let snapshots = tempfile::tempdir().map_err(CliError::backend)?;
    let session = Session {
        driver: Driver::new(backend.as_ref()),
        store: Store::new(snapshots.path()),
        policy: Policy::Check,
        info: Info { model: backend.model(), tool_format: String::new() },
        expression: String::new(),
    };
    let mut results = Vec::new();
    for case in &plan.cases {
        say(format_args!("measuring {}", case.id));
        let (result, ending) =
            session.replay(case, &plan.steps, &|_| {}, std::future::pending()).await.map_err(CliError::input)?;
        if let Ending::Failed(error) = ending {
            return Err(CliError::backend(error));
        }
        results.push(result);
    }
    let problems = problems(&results);
    let rows = rows(&latencies(&results));
    print(&table(&rows))?;
    print(&problems.iter().map(|problem| format!("{} {problem}\n", style("FAIL").red())).collect::<String>())?;
    Ok(problems.is_empty() && rows.iter().all(|row| row.missed.is_empty()))
}

fn plan(args: &Args) -> Result<Plan, CliError> {
    let read = |file: PathBuf| trace::read(&file).map(|trace| (file, trace));
    let traces = trace::find(&args.traces)?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let settings = Settings {
        phases: Phase::ALL.to_vec(),
        repeat: args.repeat,
        max_tokens: MAX_TOKENS,
        tool_choice: ToolChoiceMode::Recorded,
        filter: Vec::new(),
    };
    let plan = Plan::new(traces, &settings).map_err(CliError::input)?;
    if plan.cases.is_empty() {
        return Err(CliError::input("none of these traces holds an answered Messages request; name others"));
    }
    Ok(plan)
}

/// What makes figures worthless: a phase that did not happen, answers that depend on the cache.
fn problems(results: &[CaseResult]) -> Vec<String> {
    let of_case = |result: &CaseResult| {
        let failed = result.phase_failures.iter().map(|failure| format!("{}: {failure}", result.id)).collect::<Vec<_>>();
        let differs = !result.disagreements.is_empty();
        failed.into_iter().chain(differs.then(|| format!("{}: cold, warm and cached gave different answers", result.id)))
    };
    results.iter().flat_map(of_case).collect()
}

/// A phase against its target.
#[derive(Debug, PartialEq)]
struct Row {
    phase: Phase,
    ttft_us: Option<u64>,
    ttft_to_cold: Option<f64>,
    hit_share: Option<f64>,
    /// The targets missed, in words.
    missed: Vec<String>,
}

fn rows(phases: &[PhaseLatency]) -> Vec<Row> {
    let row = |latency: &PhaseLatency| {
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
        Row { phase, ttft_us: latency.ttft.median_us(), ttft_to_cold, hit_share: cache_hit_share, missed }
    };
    phases.iter().map(row).collect()
}

fn table(rows: &[Row]) -> String {
    let mut table = Builder::default();
    table.push_record(["phase", "TTFT p50", "of cold", "from cache", "verdict"]);
    for Row { phase, ttft_us, ttft_to_cold, hit_share, missed } in rows {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        table.push_record([
            phase.to_string(),
            or_dash(ttft_us.map(duration)),
            or_dash(ttft_to_cold.map(|ratio| format!("{ratio:.3}"))),
            or_dash(hit_share.map(|share| format!("{:.1}%", 100.0 * share))),
            if missed.is_empty() { "pass".into() } else { format!("FAIL: {}", missed.join(", ")) },
        ]);
    }
    let lines = table.build().with(Style::blank()).to_string();
    lines.lines().map(|line| format!("{}\n", line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Distribution;

    fn phase(phase: Phase, ttft_us: u64, ttft_to_cold: f64, hit_share: Option<f64>) -> PhaseLatency {
        PhaseLatency {
            phase,
            ttft: Distribution::of([ttft_us].into_iter()),
            itl: Distribution::of(std::iter::empty()),
            e2e: Distribution::of([ttft_us].into_iter()),
            prefill_tokens_per_s: None,
            decode_tokens_per_s: None,
            cache_hit_share: hit_share,
            ttft_to_cold: Some(ttft_to_cold),
        }
    }

    #[test]
    fn each_phase_is_held_against_its_target() {
        let rows = rows(&[
            phase(Phase::Cold, 2_000_000, 1.0, Some(0.0)),
            phase(Phase::Warm, 400_000, 0.2, Some(0.4)),
            phase(Phase::Cached, 220_000, 0.11, None),
        ]);
        insta::assert_snapshot!(table(&rows));
    }
}
