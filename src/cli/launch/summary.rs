//! What a run took, from what the recorder tells.

use std::fmt;

use crate::record::{Notice, Recorded};
use crate::server::Totals;

/// Sums over the answered Messages requests of a run.
#[derive(Debug, Default)]
pub struct Summary {
    totals: Totals,
}

impl Summary {
    /// Counts what a notice tells about an answer.
    pub fn take(&mut self, notice: &Notice) {
        if let Notice::Recorded(Recorded { usage: Some(usage), .. }) = notice {
            self.totals.requests += 1;
            self.totals.prompt_tokens += usage.prompt_tokens();
            self.totals.cached_tokens += usage.cache_read_input_tokens.unwrap_or(0);
            self.totals.output_tokens += usage.output_tokens;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.totals.fmt(f)
    }
}
