//! Looking for secrets in a text that comes in pieces. Every byte is looked at once by each detector, and none keeps more than a
//! few kilobytes, so the work grows with the text, whatever is in it and however it is cut.

use super::assignments::Assignments;
use super::credentials::{Credentials, OwnCredentials};
use super::detector::Detector;
use super::key_blocks::KeyBlocks;
use super::spans::{SecretSpan, SecretSpans};
use super::tokens::Tokens;
use super::url_passwords::UrlPasswords;
use super::user_patterns::{PatternWindow, UserPatterns};

/// All detectors, and how far they have come.
pub(super) struct Scanner {
    at: usize,
    escape: Escape,
    tokens: Tokens,
    assignments: Assignments,
    key_blocks: KeyBlocks,
    url_passwords: UrlPasswords,
    own: Option<OwnCredentials>,
    patterns: Option<PatternWindow>,
    found: SecretSpans,
}

impl Scanner {
    pub(crate) fn new(credentials: &Credentials, patterns: &UserPatterns) -> Self {
        Self {
            at: 0,
            escape: Escape::default(),
            tokens: Tokens::default(),
            assignments: Assignments::default(),
            key_blocks: KeyBlocks::default(),
            url_passwords: UrlPasswords::default(),
            own: credentials.detector(),
            patterns: patterns.detector(),
            found: SecretSpans::default(),
        }
    }

    /// Takes the next piece.
    pub(crate) fn push(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            let (at, found) = (self.at, &mut self.found);
            if let Some(own) = &mut self.own {
                own.byte(at, byte, found);
            }
            if let Some(patterns) = &mut self.patterns {
                patterns.byte(at, byte, found);
            }
            if self.escape.ends_percent(byte) {
                self.tokens.break_word();
            }
            let byte = self.escape.hide(byte);
            self.tokens.byte(at, byte, found);
            self.assignments.byte(at, byte, found);
            self.key_blocks.byte(at, byte, found);
            self.url_passwords.byte(at, byte, found);
            self.at += 1;
        }
        let at = self.at;
        if let Some(start) = self.detectors().filter_map(|detector| detector.open()).min() {
            self.found.push(start..at);
        }
    }

    /// The text is over. The next piece begins another one.
    pub(crate) fn end(&mut self) {
        let (at, found) = (self.at, &mut self.found);
        self.tokens.end(at, found);
        self.assignments.end(at, found);
        self.key_blocks.end(at, found);
        self.url_passwords.end(at, found);
        if let Some(own) = &mut self.own {
            own.end(at, found);
        }
        if let Some(patterns) = &mut self.patterns {
            patterns.end(at, found);
        }
        self.escape = Escape::default();
    }

    /// The end of the decided text: what follows may still turn out to belong to a secret.
    pub(crate) fn decided(&self) -> usize {
        self.detectors().filter_map(|detector| detector.undecided()).min().unwrap_or(self.at)
    }

    /// The secrets found so far, in order and with gaps between them. Those that end at or before `from` are forgotten.
    pub(crate) fn found(&mut self, from: usize) -> &[SecretSpan] {
        self.found.merged(from)
    }

    fn detectors(&self) -> impl Iterator<Item = &dyn Detector> {
        let own = self.own.as_ref().map(|own| own as &dyn Detector);
        let others: [&dyn Detector; 4] = [&self.tokens, &self.assignments, &self.key_blocks, &self.url_passwords];
        let patterns = self.patterns.as_ref().map(|patterns| patterns as &dyn Detector);
        others.into_iter().chain(own).chain(patterns)
    }

    /// The work so far beyond one step for each byte: candidates and spans examined.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> usize {
        self.tokens.steps + self.found.steps
    }
}

/// Escapes, whose letters and digits are no part of a word. Those of JSON inside a text, like `\n`, are hidden.
#[derive(Default)]
struct Escape {
    after_backslash: bool,
    /// Digits of a `\u0026` that are still to come.
    digits: u8,
    /// Bytes of a `%20` that have come.
    percent: u8,
}

impl Escape {
    /// Whether an escape of an address, such as `%20`, ended right before this byte. A key may start behind it.
    #[inline]
    fn ends_percent(&mut self, byte: u8) -> bool {
        let before = self.percent;
        self.percent = match before {
            _ if byte == b'%' => 1,
            1 | 2 if byte.is_ascii_hexdigit() => before + 1,
            _ => 0,
        };
        before == 3
    }

    #[inline]
    fn hide(&mut self, byte: u8) -> u8 {
        let after_backslash = std::mem::replace(&mut self.after_backslash, byte == b'\\');
        if self.digits > 0 && byte.is_ascii_hexdigit() {
            self.digits -= 1;
            return b' ';
        }
        self.digits = if after_backslash && byte == b'u' { 4 } else { 0 };
        if after_backslash && matches!(byte, b'n' | b'r' | b't' | b'u') { b' ' } else { byte }
    }
}
