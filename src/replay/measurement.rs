//! One timed request, as plain data.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use super::Phase;
use crate::snapshot::Outcome;
use crate::trace::CallEnd;

/// One timed request and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Measurement {
    /// The state of the prefix cache in which it was made, or was meant to be.
    pub phase: Phase,
    /// Which measurement of this phase it is, from 1.
    pub repeat: u32,
    /// Time from sending the request to the first content event; `None` if the answer has no content.
    pub ttft_us: Option<u64>,
    /// Time from sending the request to `message_stop`.
    pub e2e_us: u64,
    /// Times between content events, each of which may bring several tokens.
    pub gap_us: Vec<u64>,
    /// Times from sending the request to the beginning of each tool call.
    pub call_us: Vec<u64>,
    /// All prompt tokens, cached ones too.
    pub prompt_tokens: u64,
    /// Prompt tokens read from the prefix cache; `None` if the backend does not report them.
    pub cache_read_tokens: Option<u64>,
    /// Generated tokens.
    pub output_tokens: u64,
    /// The tool calls of the answer.
    pub outcome: Outcome,
    /// Whether a limit may have cut the last of them.
    #[serde(skip)]
    pub last_call: CallEnd,
    /// The text of the answer.
    pub text: String,
    /// How often the request was sent again because the backend was busy.
    pub retries: u32,
}

impl Measurement {
    /// Time per output token after the first, whatever events they came in; `None` without two tokens.
    pub fn tpot_us(&self) -> Option<u64> {
        tpot_us(self.ttft_us, self.e2e_us, self.output_tokens)
    }

    /// Its name among the trace's measurements.
    pub fn label(&self) -> MeasurementLabel {
        MeasurementLabel { phase: self.phase, repeat: self.repeat }
    }
}

/// Time per output token after the first; `None` without two tokens.
pub fn tpot_us(ttft_us: Option<u64>, e2e_us: u64, output_tokens: u64) -> Option<u64> {
    let after_first = output_tokens.checked_sub(1).filter(|tokens| *tokens > 0)?;
    Some(e2e_us.saturating_sub(ttft_us?) / after_first)
}

/// Names one of a trace's measurements. Shown as `cold, repeat 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MeasurementLabel {
    /// The measurement's phase.
    pub phase: Phase,
    /// Which measurement of this phase it is, from 1.
    pub repeat: u32,
}

impl fmt::Display for MeasurementLabel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}, repeat {}", self.phase, self.repeat)
    }
}
