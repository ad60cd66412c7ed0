//! What came of one request, as plain data.

use std::time::Duration;

use super::Turn;
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
    /// Whose failure it was, and of what kind.
    pub kind: FailureKind,
    /// What the backend said, or what became of the connection; without secrets.
    pub text: String,
}

/// Whose failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The backend's, or that of the connection to it.
    Backend(Kind),
    /// Our own: the code that sends a request and times its answer panicked.
    Panicked,
}

/// An answer. Times are counted from when the request was meant to begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Until the first content event; `None` for an answer without content.
    pub ttft_us: Option<u64>,
    /// Whether it has no content, and the recorded answer is not known to have none.
    pub lacks_content: bool,
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
        Self { kind: FailureKind::Backend(failure.kind()), text: failure.error.to_string() }
    }
}

impl FailureKind {
    /// The name under which such failures are counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backend(kind) => kind.name(),
            Self::Panicked => "panicked",
        }
    }
}

impl Answered {
    /// An answer to the request of a turn that was sent so late.
    pub(super) fn of(measured: &Measurement, turn: &Turn, late_us: u64) -> Self {
        Self {
            ttft_us: measured.ttft_us.map(|us| us + late_us),
            lacks_content: measured.ttft_us.is_none() && !turn.recorded_without_content,
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

    /// Whether a request was answered in time. What has no such time, such as a TPOT of one token, is in time; but an answer
    /// without content answers nothing, unless the recorded one has none either.
    pub fn allows(self, sample: &Sample) -> bool {
        let within =
            |us: Option<u64>, limit: Option<Duration>| us.zip(limit).is_none_or(|(us, limit)| Duration::from_micros(us) <= limit);
        let is_good =
            |answer: &Answered| !answer.lacks_content && within(answer.ttft_us, self.ttft) && within(answer.tpot_us, self.tpot);
        sample.answer.as_ref().is_ok_and(is_good)
    }
}
