//! Tells Claude Code how much its model can take. It knows the limits of Anthropic's models and assumes them of every other
//! one: on a model with a smaller context it would summarise its conversation too late, or never.

use crate::backend::ModelLimits;

/// The least context that Claude Code accepts here, in tokens. It goes by the window, or by the model's own if that is smaller.
const WINDOW: (&str, u64) = ("CLAUDE_CODE_AUTO_COMPACT_WINDOW", 100_000);

/// How much of the window, less [`RESERVED_FOR_OUTPUT`], may be in use before it summarises, in percent.
const SHARE: &str = "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE";

/// The `max_tokens` of its requests. A server may refuse a prompt that leaves less room than this.
const OUTPUT: &str = "CLAUDE_CODE_MAX_OUTPUT_TOKENS";

/// Claude Code keeps as much of the window as an answer may have, but no more than this many tokens.
const RESERVED_FOR_OUTPUT: u64 = 20_000;

/// What Claude Code asks for of models that it does not know.
const USUAL_OUTPUT: u64 = 32_000;

/// An answer may have one part in so many of the context; with the rest used up, a small one is summarised.
const PARTS: u64 = 5;

/// The variables that tell the client of a model's limits, as far as they are known. Measured with 2.1.331: it summarises when
/// the tokens of the last answer's usage reach the share of the window less what it keeps for the output.
pub(super) fn client_limits(limits: ModelLimits) -> Vec<(&'static str, String)> {
    let Some(context) = limits.context else { return Vec::new() };
    let output = limits.output.unwrap_or(USUAL_OUTPUT).min(context / PARTS).max(1);
    let (window, least) = WINDOW;
    let mut variables = vec![(OUTPUT, output.to_string()), (window, context.max(least).to_string())];
    if context < least {
        let usable = least - output.min(RESERVED_FOR_OUTPUT);
        let share = 100.0 * (context - output) as f64 / usable as f64;
        // Below 0.1 the client ignores it. It goes by its own share at most, which is below 100.
        variables.push((SHARE, format!("{:.1}", share.clamp(0.1, 100.0))));
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
        CLAUDE_CODE_MAX_OUTPUT_TOKENS=6553
        CLAUDE_CODE_AUTO_COMPACT_WINDOW=100000
        CLAUDE_AUTOCOMPACT_PCT_OVERRIDE=28.1
        ");
        insta::assert_snapshot!(variables(99_000, None), @r"
        CLAUDE_CODE_MAX_OUTPUT_TOKENS=19800
        CLAUDE_CODE_AUTO_COMPACT_WINDOW=100000
        CLAUDE_AUTOCOMPACT_PCT_OVERRIDE=98.8
        ");
    }

    #[test]
    fn odd_contexts_stay_in_range() {
        insta::assert_snapshot!(variables(1, None), @r"
        CLAUDE_CODE_MAX_OUTPUT_TOKENS=1
        CLAUDE_CODE_AUTO_COMPACT_WINDOW=100000
        CLAUDE_AUTOCOMPACT_PCT_OVERRIDE=0.1
        ");
        insta::assert_snapshot!(variables(u64::MAX, None), @r"
        CLAUDE_CODE_MAX_OUTPUT_TOKENS=32000
        CLAUDE_CODE_AUTO_COMPACT_WINDOW=18446744073709551615
        ");
    }
}
