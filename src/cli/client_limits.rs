//! Tells Claude Code how much its model can take. It knows the limits of Anthropic's models and assumes them of every other
//! one: on a model with a smaller context it would summarise its conversation too late, or never.

use crate::backend::ModelLimits;

/// The least context that Claude Code accepts here, in tokens. It goes by the window, or by the model's own if that is smaller.
const WINDOW: (&str, u64) = ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", 100_000);

/// How much of the window, less [`RESERVED_FOR_OUTPUT`], may be in use before it summarises, in percent.
const SHARE: &str = "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE";

/// The `max_tokens` of its requests.
const OUTPUT: &str = "CLAUDE_CODE_MAX_OUTPUT_TOKENS";

/// Claude Code keeps as much of the window as an answer may have, but no more than this many tokens.
const RESERVED_FOR_OUTPUT: u64 = 20_000;

/// The share of a small context at which the conversation is summarised. The rest is for the summary, and for what comes of
/// tools in between.
const FULL: f64 = 0.85;

/// The variables that tell the client of a model's limits, as far as they are known. Measured with 2.1.331: it summarises when
/// the tokens of the last answer's usage reach the share of the window less what it keeps for the output.
pub(super) fn client_limits(limits: ModelLimits) -> Vec<(&'static str, String)> {
    let Some(context) = limits.context else { return Vec::new() };
    let output = limits.output.unwrap_or(context).min(context / 4).max(1);
    let (window, least) = WINDOW;
    let mut variables = vec![(OUTPUT, output.to_string()), (window, context.max(least).to_string())];
    if context < least {
        let usable = least - output.min(RESERVED_FOR_OUTPUT);
        let share = 100.0 * FULL * context as f64 / usable as f64;
        // A context near the least one is reported as it is; the client's own share of it is below 100.
        variables.push((SHARE, format!("{:.1}", share.min(100.0))));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(context: u64, output: Option<u64>) -> String {
        let limits = ModelLimits { context: Some(context), output };
        client_limits(limits).iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn nothing_is_said_of_what_is_not_known() {
        assert_eq!(client_limits(ModelLimits::default()), []);
    }

    #[test]
    fn a_large_context_is_the_window() {
        insta::assert_snapshot!(variables(262_144, Some(32_768)), @r"
        CLAUDE_CODE_MAX_OUTPUT_TOKENS=32768
        CLAUDE_CODE_AUTO_COMPACT_WINDOW=262144
        ");
    }

    #[test]
    fn a_small_context_is_a_share_of_the_least_window() {
        insta::assert_snapshot!(variables(32_768, Some(32_768)), @r"
        CLAUDE_CODE_MAX_OUTPUT_TOKENS=8192
        CLAUDE_CODE_AUTO_COMPACT_WINDOW=100000
        CLAUDE_AUTOCOMPACT_PCT_OVERRIDE=30.3
        ");
        insta::assert_snapshot!(variables(99_000, None), @r"
        CLAUDE_CODE_MAX_OUTPUT_TOKENS=24750
        CLAUDE_CODE_AUTO_COMPACT_WINDOW=100000
        CLAUDE_AUTOCOMPACT_PCT_OVERRIDE=100.0
        ");
    }
}
