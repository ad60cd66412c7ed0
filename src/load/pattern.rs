//! When requests come, as plain data.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When requests come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// So many conversations are open at once. Each sends its next request as soon as the last one is answered.
    Concurrency(NonZeroUsize),
    /// So many requests come in a second, whatever becomes of those before.
    Rate {
        /// Requests per second, of all shards together.
        per_s: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
    /// Conversations begin when they began in the recording, and each request follows the answer before after the recorded time.
    AsRecorded {
        /// How many times as fast as recorded.
        speed: f64,
        /// Pauses of the recording in which nobody asked anything were cut to this, in microseconds.
        longest_pause_us: u64,
    },
}

/// When a request is meant to begin. None begins before the answer to the one before it in its conversation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// This long after the beginning of all.
    At(Duration),
    /// This long after the end of the answer before, or after the conversation may begin.
    AfterAnswer(Duration),
    /// This long after the beginning of the request before. So where nobody knows when its answer ended.
    AfterRequest(Duration),
}

/// Nothing is planned to begin later than this: clocks do not count forever. A hundred years.
const LATEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Start {
    /// The same, so many times as fast.
    pub(super) fn at_speed(self, speed: f64) -> Self {
        let faster = |time: Duration| Duration::try_from_secs_f64(time.as_secs_f64() / speed).unwrap_or(LATEST).min(LATEST);
        match self {
            Self::At(time) => Self::At(faster(time)),
            Self::AfterAnswer(time) => Self::AfterAnswer(faster(time)),
            Self::AfterRequest(time) => Self::AfterRequest(faster(time)),
        }
    }

    /// The same for a copy that begins so much later.
    pub(super) fn later(self, by: Duration) -> Self {
        match self {
            Self::At(time) => Self::At(time.saturating_add(by)),
            Self::AfterAnswer(_) | Self::AfterRequest(_) => self,
        }
    }
}

/// How the requests of a rate are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Arrivals {
    /// By chance, as independent clients come.
    #[default]
    Poisson,
    /// All at the same distance.
    Constant,
}

impl Arrivals {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Poisson, Self::Constant];

    /// The name, as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Constant => "constant",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Concurrency(at_once) => write!(f, "{at_once} at once"),
            Self::Rate { per_s, arrivals } => {
                // A search tries rates with many digits, and none is below a ten-thousandth.
                write!(f, "{} requests/s, {}", (per_s * 1e4).round() / 1e4, arrivals.name())
            }
            Self::AsRecorded { speed, .. } if *speed == 1.0 => f.write_str("as recorded"),
            Self::AsRecorded { speed, .. } => write!(f, "as recorded, {speed} times as fast"),
        }
    }
}

/// One of several load generators that share a workload. Written `2/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    /// Which one, from 1.
    pub nth: usize,
    /// Of how many.
    pub of: usize,
}

impl Shard {
    /// The most load generators that share a workload.
    const MOST: usize = 1000;

    /// The only one.
    pub const WHOLE: Self = Self { nth: 1, of: 1 };

    /// Whether there can be such a one.
    pub fn is_possible(self) -> bool {
        (1..=self.of).contains(&self.nth) && self.of <= Self::MOST
    }

    /// Whether the conversation with this number belongs to it.
    pub(super) fn has(self, index: usize) -> bool {
        index % self.of == self.nth - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(nth, of)| Some(Self { nth: nth.parse().ok()?, of: of.parse().ok()? }));
        let shard = parts.filter(|shard| shard.is_possible());
        shard.ok_or_else(|| format!("a shard is a number and how many there are, at most {}, such as 2/4", Self::MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_well() {
        let shown = |per_s| Pattern::Rate { per_s, arrivals: Arrivals::Poisson }.to_string();
        let expected = ["7.0711 requests/s, poisson", "5 requests/s, poisson", "0.0001 requests/s, poisson"];
        assert_eq!([50_f64.sqrt(), 5.0, 0.0001].map(shown), expected);
    }

    #[test]
    fn every_conversation_belongs_to_one_shard() {
        let shards: Vec<Shard> = (1..=3).map(|nth| format!("{nth}/3").parse().unwrap()).collect();
        for index in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.has(index)).count(), 1, "{index}");
        }
        for text in ["", "0/2", "3/2", "1", "1/0", "a/b", "1/1001", "1/18446744073709551615"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
