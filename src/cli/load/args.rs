//! The arguments of `anyclaude load`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;

use crate::cli::answerer::BackendArgs;
use crate::cli::{Destination, choices};
use crate::load::{Arrivals, Budget, Pattern, Shard};
use crate::report::units::parse_time;

/// The most requests of one run: their plan is held in memory.
pub(super) const MOST_REQUESTS: usize = 10_000_000;

/// Send recorded conversations as load: many at once, at a rate, or when they came; time each from when it was meant to begin
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP, group(clap::ArgGroup::new("budget").multiple(true)))]
pub(crate) struct LoadArgs {
    /// Trace files, or folders to search for them
    #[arg(default_value = "traces")]
    pub traces: Vec<PathBuf>,

    #[command(flatten)]
    pub answerer: BackendArgs,

    #[command(flatten)]
    pub pattern: PatternArgs,

    /// How many requests all shards send together; the traces are sent again and again, each time as new conversations
    /// [default: each trace once]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_REQUESTS as u64))]
    pub requests: Option<u64>,

    /// Send one part of the load, beside other load generators that send the others
    #[arg(long, value_name = "NTH/OF", default_value = "1/1")]
    pub shard: Shard,

    /// Longest answer, in tokens [default: as long as the recorded one]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    pub max_tokens: Option<u32>,

    /// An answer is good if its first content comes within this time, such as 500ms or 2s
    #[arg(long, value_name = "TIME", value_parser = time, group = "budget")]
    ttft_budget: Option<Duration>,

    /// An answer is good if its tokens come within this time each, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = time, group = "budget")]
    tpot_budget: Option<Duration>,

    /// From what Poisson arrivals follow: the same number, the same arrivals
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Write all figures to this file, whose folder is made if it is missing, or with `-` to standard output; the lines for people
    /// are then on standard error. `anyclaude report merge` adds the figures of several shards
    #[arg(long, value_name = "FILE")]
    pub json: Option<Destination>,
}

/// When requests come: one of them.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("pattern").required(true)))]
pub(crate) struct PatternArgs {
    /// So many conversations at once, each of which sends its next request when the last one is answered
    #[arg(long, value_name = "N", group = "pattern")]
    concurrency: Option<NonZeroUsize>,

    /// So many requests per second, of all shards together, whatever becomes of those before
    #[arg(long, value_name = "PER_S", group = "pattern", value_parser = factor)]
    rate: Option<f64>,

    /// When conversations began in the recording, with the users' and tools' own times between their requests
    #[arg(long, group = "pattern")]
    as_recorded: bool,

    /// Look for the highest rate with 99% of the requests within the budgets, and no queue that grows; begins at this one
    #[arg(long, value_name = "PER_S", group = "pattern", value_parser = factor, requires = "budget", conflicts_with = "shard")]
    pub find_rate: Option<f64>,

    /// With --find-rate: how long each rate is tried at least; in a shorter time no queue builds up
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "20s", conflicts_with_all = ["concurrency", "rate", "as_recorded"])]
    pub try_for: Duration,

    /// With a rate: how the requests are spread
    #[arg(long, value_parser = choices::arrivals(), default_value = "poisson", conflicts_with_all = ["concurrency", "as_recorded"])]
    pub arrivals: Arrivals,

    /// With --as-recorded: how many times as fast
    #[arg(long, value_name = "TIMES", default_value_t = 1.0, value_parser = factor, conflicts_with_all = ["concurrency", "rate", "find_rate"])]
    speed: f64,

    /// With --as-recorded: pauses in which nobody asked anything are cut to this, as if the recording had gone on sooner
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time, conflicts_with_all = ["concurrency", "rate", "find_rate"])]
    pub longest_pause: Duration,
}

impl PatternArgs {
    /// The pattern; that of the first try where a rate is looked for.
    pub(super) fn pattern(&self) -> Pattern {
        match (self.concurrency, self.rate.or(self.find_rate)) {
            (Some(at_once), _) => Pattern::Concurrency(at_once),
            (None, Some(per_s)) => Pattern::Rate { per_s, arrivals: self.arrivals },
            (None, None) => {
                // Times that users write have fewer microseconds than 64 bits hold.
                let longest_pause_us = self.longest_pause.as_micros() as u64;
                Pattern::AsRecorded { speed: self.speed, longest_pause_us }
            }
        }
    }
}

impl LoadArgs {
    pub(super) fn budget(&self) -> Budget {
        Budget { ttft: self.ttft_budget, tpot: self.tpot_budget }
    }

    /// This shard's part of the requests.
    pub(super) fn own_requests(&self) -> Option<usize> {
        let Shard { nth, of } = self.shard;
        self.requests.map(|requests| (requests as usize + of - nth) / of)
    }
}

/// Parses a rate or a factor. Its bounds keep all times within what clocks count.
fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0001..=1e6).contains(number));
    number.ok_or_else(|| "this is a number from 0.0001 to 1000000, such as 2.5".to_owned())
}

/// Parses a time with its unit.
fn time(text: &str) -> Result<Duration, String> {
    parse_time(text).ok_or_else(|| "a time is a number with us, ms, s, m or h, such as 500ms".to_owned())
}

const AFTER_HELP: &str = "\
Examples:
  anyclaude load traces/ --backend http://127.0.0.1:8081 --concurrency 16
  anyclaude load traces/ --backend http://gateway:8000 --rate 5 --requests 1000 --ttft-budget 2s --tpot-budget 50ms
  anyclaude load traces/ --backend openai:http://127.0.0.1:8000/v1 --model qwen3 --as-recorded --speed 10
  anyclaude load traces/ --backend http://gateway:8000 --find-rate 1 --requests 500 --ttft-budget 2s
  anyclaude load traces/ --backend http://gateway:8000 --rate 40 --requests 4000 --shard 2/4 --json 2.json
  anyclaude report merge 1.json 2.json 3.json 4.json

Exit codes:
  0    requests were answered, and with a budget 99% of them within it; or this shard has nothing to send
  2    wrong usage, or input that cannot be read, or no trace with a Messages request
  3    the backend cannot be reached, or answered nothing; with --find-rate: at a rate, and what was found before is printed
  4    fewer than 99% of the requests were answered within the budget; with --find-rate: at no rate
  130  stopped with Ctrl-C (143: with SIGTERM); what was measured until then is printed";
