//! Where secrets are in a text, and a text without them.

use std::ops::Range;

use super::names::REDACTED;

/// A quote in code or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quote {
    pub byte: u8,
    /// How many backslashes escape it, as in JSON inside JSON.
    pub backslashes: usize,
}

impl Quote {
    /// Whether this byte ends the value: the same quote, escaped by as many backslashes as the one that began it.
    pub(crate) fn closes(self, byte: u8, backslashes: usize) -> bool {
        let own = self.backslashes;
        byte == self.byte && (backslashes < own || (backslashes - own).is_multiple_of(2 * (own + 1)))
    }
}

/// A secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SecretSpan {
    /// Its bytes, counted from the start of the text.
    pub range: Range<usize>,
    /// What its replacement must stand in: the secret is a number of JSON, and the replacement is none.
    pub quote: Option<Quote>,
}

/// The secrets found so far, unordered; they may overlap.
#[derive(Debug, Default)]
pub(super) struct SecretSpans {
    spans: Vec<SecretSpan>,
    /// The work so far beyond one look at each byte, of all detectors.
    #[cfg(test)]
    pub steps: usize,
}

impl SecretSpans {
    pub(crate) fn push(&mut self, range: Range<usize>) {
        self.spans.push(SecretSpan { range, quote: None });
    }

    pub(crate) fn push_number(&mut self, range: Range<usize>, quote: Quote) {
        self.spans.push(SecretSpan { range, quote: Some(quote) });
    }

    /// Notes that bytes, candidates or spans are looked at that were looked at before: tests count how that grows with the text.
    #[inline(always)]
    pub(crate) fn again(&mut self, count: usize) {
        #[cfg(test)]
        {
            self.steps += count;
        }
        #[cfg(not(test))]
        let _ = count;
    }

    /// The secrets in order and with gaps between them. Those that end at or before `from` are forgotten.
    pub(crate) fn merged(&mut self, from: usize) -> &[SecretSpan] {
        self.again(self.spans.len());
        self.spans.retain(|span| span.range.end > from && !span.range.is_empty());
        self.spans.sort_by_key(|span| (span.range.start, span.range.end));
        self.spans.dedup_by(|next, kept| {
            let joins = next.range.start <= kept.range.end;
            if joins {
                let joined = kept.range.start..kept.range.end.max(next.range.end);
                // A number in quotes stays one if it is the whole of what is replaced.
                kept.quote = [&*next, &*kept].iter().find(|span| span.range == joined).and_then(|span| span.quote);
                kept.range = joined;
            }
            joins
        });
        &self.spans
    }
}

/// A piece of a text without its secrets. `start`: where the piece starts in the text; `secrets`: in the text, in order. A
/// secret that goes on from an earlier piece has its replacement there, and only loses its bytes here.
pub(super) fn without(piece: &str, start: usize, secrets: &[SecretSpan]) -> String {
    let end = start + piece.len();
    let mut clean = String::with_capacity(piece.len());
    let mut at = start;
    for SecretSpan { range, quote } in secrets.iter().filter(|secret| secret.range.start < end && secret.range.end > start) {
        clean.push_str(&piece[at - start..range.start.max(at) - start]);
        if range.start >= start {
            let quote =
                quote.map_or_else(String::new, |quote| "\\".repeat(quote.backslashes) + &char::from(quote.byte).to_string());
            clean.extend([&quote, REDACTED, &quote]);
        }
        at = range.end.min(end);
    }
    clean.push_str(&piece[at - start..]);
    clean
}
