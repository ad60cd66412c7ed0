//! The options that end answers which do not end themselves.

use std::num::NonZeroUsize;

use crate::engine::OutputLimits;

/// Flags of `serve`; for the launcher, the variables of the environment behind them.
#[derive(clap::Args, Debug)]
pub(crate) struct OutputArgs {
    /// Most tokens of an answer, however many its request asks for; 0: no limit
    #[arg(long, value_name = "TOKENS", env = "ANYCLAUDE_MAX_OUTPUT", default_value_t = or_zero(OutputLimits::default().tokens))]
    max_output: usize,
    /// An answer that repeats itself ends once about so many tokens are the same few again and again; 0: it goes on
    #[arg(long, value_name = "TOKENS", env = "ANYCLAUDE_MAX_REPEATED", default_value_t = or_zero(OutputLimits::default().repeated))]
    max_repeated: usize,
}

impl OutputArgs {
    /// The limits that these options set.
    pub(crate) fn limits(&self) -> OutputLimits {
        OutputLimits { tokens: NonZeroUsize::new(self.max_output), repeated: NonZeroUsize::new(self.max_repeated) }
    }
}

/// On the command line, no limit is 0.
fn or_zero(limit: Option<NonZeroUsize>) -> usize {
    limit.map_or(0, NonZeroUsize::get)
}
