//! Times, sizes and outcomes as people read them.

pub use crate::report::units::{count, duration};
use crate::trace::ExchangeOutcome;

/// Like [`duration`]; a dash where there is none.
pub fn maybe_duration(us: Option<u64>) -> String {
    us.map_or_else(|| "-".into(), duration)
}

/// A number with its thousands set apart: `12,345`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The outcome's name in the trace file.
pub fn outcome(outcome: ExchangeOutcome) -> &'static str {
    match outcome {
        ExchangeOutcome::Complete => "complete",
        ExchangeOutcome::Truncated => "truncated",
        ExchangeOutcome::ClientClosed => "client_closed",
        ExchangeOutcome::UpstreamError => "upstream_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_apart_and_what_is_missing_is_a_dash() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), text);
        }
        assert_eq!(maybe_duration(None), "-");
    }
}
