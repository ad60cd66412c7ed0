//! What making grammars may take.

use llguidance::api::ParserLimits;

/// The limits of one model's grammars. A request's schemas may come from anywhere.
#[derive(Clone)]
pub(super) struct Limits {
    /// llguidance's own.
    pub parser: ParserLimits,
    /// Most kilobytes of grammars, before they are compiled, for one request: each takes some milliseconds. A client's tools need
    /// some hundred when they are new, and none afterwards; a schema whose parts must be tried alone needs thousands.
    pub kilobytes: usize,
    /// Most bytes of compiled grammars that are kept. Those of a client's few dozen tools take some ten megabytes.
    pub kept_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let parser = ParserLimits {
            // An object of 600 optional properties needs more than the usual 2,000.
            max_items_in_row: 20_000,
            // A state takes one to two kilobytes, and each answer has its own.
            max_lexer_states: 50_000,
            verbose_errors: false,
            ..ParserLimits::default()
        };
        Self { parser, kilobytes: 3_000, kept_bytes: 256 << 20 }
    }
}
