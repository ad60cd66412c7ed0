//! What a load measured: as JSON that can be merged with that of other load generators, and for the terminal.

mod merge;
mod terminal;
mod times;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use merge::MergeError;
pub use terminal::{rate_line, search_line, shards_line, to_terminal};
pub use times::Times;

use crate::load::{Budget, Failed, Pattern, Sample, Shard};
use crate::report::figures_file::read;
use crate::report::{FiguresError, FiguresKind};
use crate::wire::total_tokens;

/// Version of the JSON layout. Version 1 had `waited` in place of `held` and `late`, which is their sum, and no examples of
/// errors.
const VERSION: u32 = 2;

/// What a load measured. Serialized, it is the JSON file. Counts and times add up: two of them merge to what one load generator
/// would have measured.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// The version of this layout.
    pub version: u32,
    /// What answered.
    pub target: LoadTarget,
    /// When requests came.
    pub pattern: Pattern,
    /// The load generators whose samples are in here.
    pub shards: Vec<Shard>,
    /// Requests that were sent.
    pub requests: u64,
    /// Requests that were answered whole.
    pub answered: u64,
    /// The others, by the kind of failure.
    pub errors: BTreeMap<String, Errors>,
    /// From the first request's beginning to the last answer's end, in microseconds.
    pub wall_us: u64,
    /// Times to the first content event, from when a request was meant to begin.
    pub ttft: Times,
    /// Times per output token after the first, one for each answer.
    pub tpot: Times,
    /// Times to the end of the answer, from when a request was meant to begin.
    pub e2e: Times,
    /// How much later than planned requests were meant to begin, as the answer before them in their conversation had not ended.
    pub held: Times,
    /// How much later than that they were sent, because the load generator was busy.
    pub late: Times,
    /// Prompt tokens of all answers, cached ones too.
    pub prompt_tokens: u64,
    /// Those of them that were read from the prefix cache; null if the backend does not report them.
    pub cache_read_tokens: Option<u64>,
    /// Generated tokens of all answers.
    pub output_tokens: u64,
    /// How long an answer may take to count as good, if that was asked.
    pub budget: BudgetUs,
    /// Requests that were answered within the budget; null without one.
    pub within_budget: Option<u64>,
}

/// Requests that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Errors {
    /// How many.
    pub count: u64,
    /// What the backend said of one of them, or what became of the connection; without secrets.
    pub example: String,
}

/// What a load was sent to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadTarget {
    /// `mlx`, or the server's address.
    pub backend: String,
    /// The model's name.
    pub model: String,
    /// The machine that sent the load; several, with commas between them, after a merge.
    pub host: String,
}

/// A budget in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetUs {
    /// The longest time to the first content event.
    pub ttft_us: Option<u64>,
    /// The longest time per output token after the first.
    pub tpot_us: Option<u64>,
}

impl Measured {
    /// The figures of these samples.
    pub fn of(samples: &[Sample], target: LoadTarget, pattern: Pattern, shard: Shard, budget: Budget) -> Self {
        let answers = || samples.iter().filter_map(|sample| sample.answer.as_ref().ok());
        let mut errors = BTreeMap::new();
        for Failed { kind, text } in samples.iter().filter_map(|sample| sample.answer.as_ref().err()) {
            let first = || Errors { count: 0, example: text.clone() };
            errors.entry(kind.name().to_owned()).or_insert_with(first).count += 1;
        }
        let begins = samples.iter().map(|sample| sample.intended_us).min().unwrap_or(0);
        let end = |sample: &Sample| sample.intended_us + sample.answer.as_ref().map_or(sample.late_us, |answer| answer.e2e_us);
        let in_us = |limit: Option<std::time::Duration>| limit.map(|limit| limit.as_micros() as u64);
        Self {
            version: VERSION,
            target,
            pattern,
            shards: vec![shard],
            requests: samples.len() as u64,
            answered: answers().count() as u64,
            errors,
            wall_us: samples.iter().map(end).max().unwrap_or(0).saturating_sub(begins),
            ttft: Times::of(answers().filter_map(|answer| answer.ttft_us)),
            tpot: Times::of(answers().filter_map(|answer| answer.tpot_us)),
            e2e: Times::of(answers().map(|answer| answer.e2e_us)),
            held: Times::of(samples.iter().map(|sample| sample.held_us)),
            late: Times::of(samples.iter().map(|sample| sample.late_us)),
            prompt_tokens: total_tokens(answers().map(|answer| answer.prompt_tokens)),
            cache_read_tokens: answers().map(|answer| answer.cache_read_tokens).collect::<Option<Vec<_>>>().map(total_tokens),
            output_tokens: total_tokens(answers().map(|answer| answer.output_tokens)),
            budget: BudgetUs { ttft_us: in_us(budget.ttft), tpot_us: in_us(budget.tpot) },
            within_budget: (!budget.is_none()).then(|| samples.iter().filter(|sample| budget.allows(sample)).count() as u64),
        }
    }

    /// Reads the JSON file.
    ///
    /// # Errors
    /// It is not what `load` writes, or of another version.
    pub fn parse(text: &str) -> Result<Self, FiguresError> {
        let measured: Self = read(text, FiguresKind::Load, VERSION)?;
        match measured.shards.is_empty() || !measured.shards.iter().all(|shard| shard.is_possible()) {
            true => Err(FiguresError::Shards),
            false => Ok(measured),
        }
    }

    /// The numbers of the shards that are in here, in order, and of those that are not.
    fn shards_here_and_missing(&self) -> (Vec<usize>, Vec<usize>) {
        let of = self.shards.first().map_or(0, |shard| shard.of);
        (1..=of).partition(|nth| self.shards.iter().any(|shard| shard.nth == *nth))
    }

    /// Whether these are the figures of all shards of a load.
    pub fn is_whole(&self) -> bool {
        self.shards_here_and_missing().1.is_empty()
    }

    /// The share of the requests that was answered within the budget, from 0 to 1; `None` without a budget or a request.
    pub fn good_share(&self) -> Option<f64> {
        let good = self.within_budget.filter(|_| self.requests > 0)?;
        Some(good as f64 / self.requests as f64)
    }

    /// So much of something in a second of the whole time.
    fn per_s(&self, amount: u64) -> Option<f64> {
        (self.wall_us > 0).then(|| amount as f64 / (self.wall_us as f64 / 1e6))
    }

    /// The JSON file. Times are in microseconds.
    pub fn to_json(&self) -> String {
        // String-keyed maps, strings and numbers only: serializing them cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}
