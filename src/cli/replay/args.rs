//! The arguments of `anyclaude replay`.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;

use crate::cli::answerer::BackendArgs;
use crate::cli::environment::in_ci;
use crate::cli::snapshots_folder::snapshots_of;
use crate::cli::{CliError, Destination, choices};
use crate::config::ReplayDefaults;
use crate::replay::{FidelityMode, FlakyPolicy, Phase, Policy, ReplaySettings, ToolChoiceMode};
use crate::snapshot::Matching;

/// Replay recorded traces: compare the tool calls with the accepted snapshots, time cold, warm and cached requests
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ReplayArgs {
    /// Trace files, or folders to search for them
    #[arg(default_value = "traces")]
    pub traces: Vec<PathBuf>,

    #[command(flatten)]
    pub answerer: BackendArgs,

    /// States of the prefix cache in which to measure
    #[arg(long, value_parser = choices::phase(), value_delimiter = ',', default_value = "cold,warm,cached")]
    pub phases: Vec<Phase>,

    /// How often to measure each phase of each trace
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,

    /// Only traces whose name contains this text, such as read-file or read-file/0001; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub filter: Vec<String>,

    /// Longest answer, in tokens
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub max_tokens: u32,

    /// Which tool the model must call
    #[arg(long, value_parser = choices::tool_choice(), default_value = "recorded")]
    pub tool_choice: ToolChoiceMode,

    /// Measure fidelity on one more answer to each trace, for which no tool is forced
    #[arg(long)]
    pub fidelity: bool,

    /// Fail if the mean fidelity of such answers is below this, from 0 to 1; with --fidelity or without
    #[arg(long, value_name = "SCORE", value_parser = min_fidelity)]
    pub min_fidelity: Option<f64>,

    /// What becomes of a trace whose repeats of one phase differ
    #[arg(long, value_parser = choices::flaky(), default_value = "fail")]
    pub flaky: FlakyPolicy,

    /// The share of a trace's measurements with the accepted outcome that is enough to pass, above 0.5 and at most 1
    #[arg(long, value_name = "SHARE", conflicts_with = "flaky", value_parser = pass_rate)]
    pub pass_rate: Option<f64>,

    /// Print the match rules under which the repeats of each trace would be equal, for anyclaude.toml
    #[arg(long)]
    pub learn: bool,

    /// How often to send a request again while the backend is overloaded or limits the rate [default: 3, or as configured]
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,

    /// Compare the times and margins with those of an earlier replay, which its --json wrote
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Fail if times are longer than the baseline's by more than this factor and chance does not explain it; 1.2 allows 20%
    #[arg(long, value_name = "RATIO", requires = "baseline", value_parser = max_slower)]
    pub max_slower: Option<f64>,

    /// Ask how sure the model is of the accepted calls: for each, the least margin to another token that the grammar allows
    #[arg(long)]
    pub margins: bool,

    /// Fail if a call's least margin fell by more than this from the baseline's, in log-probability, such as 0.5
    #[arg(long, value_name = "NATS", requires = "baseline", value_parser = max_drop)]
    pub max_drop: Option<f64>,

    /// Compare with a baseline of another machine
    #[arg(long, requires = "baseline")]
    pub other_host: bool,

    /// Folder of the accepted snapshots [default: the folder snapshots in that of the traces, if there is one, or
    /// else snapshots here]
    #[arg(long, value_name = "DIR")]
    snapshots: Option<PathBuf>,

    /// Accept every outcome without a review
    #[arg(long)]
    pub update: bool,

    /// Only compare, without writing pending snapshots
    #[arg(long, conflicts_with = "update")]
    pub check: bool,

    /// Succeed although traces are skipped because their requests cannot be read, and although all are skipped
    #[arg(long)]
    pub allow_skips: bool,

    /// Write all figures and the raw data of every measurement to this file, or with `-` to standard output; the lines for people
    /// are then on standard error
    #[arg(long, value_name = "FILE")]
    pub json: Option<Destination>,

    /// Write the results to this file, or to standard output (`-`), as JUnit XML, for GitLab, Jenkins and others
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Destination>,

    /// Write the whole report to this file, or to standard output (`-`), as a page for a browser: diffs, curves, timelines
    #[arg(long, value_name = "FILE")]
    pub html: Option<Destination>,

    /// Print a histogram of TTFT for each phase
    #[arg(long)]
    pub histogram: bool,

    /// Write HdrHistogram percentile files to this folder, one for each phase and metric
    #[arg(long, value_name = "DIR")]
    pub hgrm: Option<PathBuf>,
}

/// Parses a share of measurements: above a half, so that only one outcome can reach it.
fn pass_rate(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| *share > 0.5 && *share <= 1.0);
    share.ok_or_else(|| "a pass rate is a number above 0.5 and at most 1, such as 0.8".to_owned())
}

/// Parses a score of fidelity.
fn min_fidelity(text: &str) -> Result<f64, String> {
    let score = text.parse().ok().filter(|score: &f64| *score >= 0.0 && *score <= 1.0);
    score.ok_or_else(|| "a score is a number from 0 to 1, such as 0.9".to_owned())
}

/// Parses the limit for drops of a margin.
fn max_drop(text: &str) -> Result<f64, String> {
    let drop = text.parse().ok().filter(|drop: &f64| drop.is_finite() && *drop >= 0.0);
    drop.ok_or_else(|| "a limit is a number from 0 on, such as 0.5".to_owned())
}

/// Parses the limit for ratios of times.
fn max_slower(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio: &f64| ratio.is_finite() && *ratio >= 1.0);
    ratio.ok_or_else(|| "a limit is a number from 1 on, such as 1.2".to_owned())
}

const AFTER_HELP: &str = "\
Examples:
  anyclaude replay                                        traces/ on the model in this program
  anyclaude replay --filter read-file --phases cold,cached --repeat 5
  anyclaude replay --backend http://127.0.0.1:8081 --json figures.json
  anyclaude replay --backend lmstudio                     as `anyclaude --mode lmstudio` would answer
  OPENAI_API_KEY=… anyclaude replay --backend openai:http://127.0.0.1:8000/v1 --model qwen3
  anyclaude replay --backend here=mlx --backend there=http://127.0.0.1:8081   side by side
  anyclaude replay --check --junit replay.xml             in CI
  anyclaude replay --repeat 5 --html replay.html          a page for a browser
  anyclaude replay --json - | jq .summary
  anyclaude replay --min-fidelity 0.9                     as the recorded upstream, with no tool forced
  anyclaude replay --repeat 5 --learn                     which arguments are not the same each time
  anyclaude replay --repeat 5 --json new.json --baseline old.json --max-slower 1.2
  anyclaude replay --margins --json old.json; anyclaude replay --baseline old.json --max-drop 0.5

Exit codes:
  0    every outcome is as accepted
  1    an outcome changed or has no snapshot yet, or repeats or phases gave different tool calls, or a prompt has more or fewer
       tokens by more than 2%, or a trace's request cannot be read (unless --allow-skips), or without --filter a snapshot's
       trace is gone
  2    wrong usage, or input that cannot be read, or no trace with an answered Messages request (unless --allow-skips)
  3    the backend failed, or a phase did not happen
  4    every outcome is as accepted, and times are past --max-slower or a budget of the settings, margins past
       --max-drop, or fidelity below --min-fidelity
  130  stopped with Ctrl-C (143: with SIGTERM); what was measured until then is printed

With several backends the exit code is that of the worst: 3, then 1, then 4. Each is compared with the snapshots, and none is
written there.

With CI set in the environment, nothing is written to the snapshots folder. With GITHUB_ACTIONS=true, what is not as it should
be is printed as annotations too, at most ten; a summary is appended to the file that GITHUB_STEP_SUMMARY names.";

impl ReplayArgs {
    /// What to replay, and how. The phases are put in order.
    pub(crate) fn settings(&self, defaults: ReplayDefaults) -> ReplaySettings {
        let phases = Phase::ALL.into_iter().filter(|phase| self.phases.contains(phase)).collect();
        ReplaySettings {
            phases,
            repeat: self.repeat,
            max_tokens: self.max_tokens,
            tool_choice: self.tool_choice,
            fidelity: match self.fidelity || self.min_fidelity.is_some() {
                true => FidelityMode::Free,
                false => FidelityMode::Pinned,
            },
            min_fidelity: self.min_fidelity,
            filter: self.filter.clone(),
            retries: self.retries.unwrap_or(defaults.retries),
            flaky: self.flaky,
            pass_rate: self.pass_rate,
            matching: Matching { rules: defaults.rules, unordered_calls: defaults.unordered_calls },
        }
    }

    /// The folder of the accepted snapshots.
    pub(crate) fn snapshots(&self) -> PathBuf {
        self.snapshots.clone().unwrap_or_else(|| snapshots_of(&self.traces))
    }

    /// Whether to ask how sure the model is of accepted calls.
    pub(crate) fn wants_margins(&self) -> bool {
        self.margins || self.max_drop.is_some()
    }

    /// What may be written to the snapshots folder. In CI nothing is, and asking for it is a mistake.
    pub(crate) fn policy(&self) -> Result<Policy, CliError> {
        match (self.update, self.check || in_ci()) {
            (true, _) if in_ci() => {
                Err(CliError::input("--update with CI set: accepting is for people; unset CI to accept on purpose"))
            }
            (true, _) => Ok(Policy::Update),
            (false, true) => Ok(Policy::Check),
            (false, false) => Ok(Policy::Pend),
        }
    }
}
