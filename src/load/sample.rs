//! What came of one request, as plain data.

use std::time::Duration;

use crate::replay::{Failure, Kind, Measurement};

/// What came of one request. Times are in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The trace's name.
    pub id: String,
    /// When it was meant to begin, from the beginning of all: as planned, but not before the answer before it in its conversation
    /// had ended.
    pub intended_us: u64,
    /// How much later than planned that is.
    pub held_us: u64,
    /// How much later than that it was sent, because the load generator was busy.
    pub late_us: u64,
    /// The answer, or why there is none.
    pub answer: Result<Answered, Failed>,
}

/// Why a request has no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What kind of failure it was.
    pub kind: Kind,
    /// What the backend said, or what became of the connection; without secrets.
    pub text: String,
}

/// An answer. Times are counted from when the request was meant to begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Until the first content event; `None` for an answer without content.
    pub ttft_us: Option<u64>,
    /// Per output token after the first; `None` without two tokens.
    pub tpot_us: Option<u64>,
    /// Until the end.
    pub e2e_us: u64,
    /// All prompt tokens, cached ones too.
    pub prompt_tokens: u64,
    /// Prompt tokens read from the prefix cache; `None` if the backend does not report them.
    pub cache_read_tokens: Option<u64>,
    /// Generated tokens.
    pub output_tokens: u64,
}

/// How long an answer may take to count as good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The longest time to the first content event.
    pub ttft: Option<Duration>,
    /// The longest time per output token after the first.
    pub tpot: Option<Duration>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        // What an error of a backend displays is redacted.
        Self { kind: failure.kind(), text: failure.error.to_string() }
    }
}

impl Answered {
    /// An answer to a request that was sent so late.
    pub(super) fn of(measured: &Measurement, late_us: u64) -> Self {
        Self {
            ttft_us: measured.ttft_us.map(|us| us + late_us),
            tpot_us: measured.tpot_us(),
            e2e_us: measured.e2e_us + late_us,
            prompt_tokens: measured.prompt_tokens,
            cache_read_tokens: measured.cache_read_tokens,
            output_tokens: measured.output_tokens,
        }
    }
}

impl Budget {
    /// Whether nothing is limited.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// Whether a request was answered in time. What has no such time, such as a TPOT of one token, is in time.
    pub fn allows(self, sample: &Sample) -> bool {
        let within =
            |us: Option<u64>, limit: Option<Duration>| us.zip(limit).is_none_or(|(us, limit)| Duration::from_micros(us) <= limit);
        sample.answer.as_ref().is_ok_and(|answer| within(answer.ttft_us, self.ttft) && within(answer.tpot_us, self.tpot))
    }
}
