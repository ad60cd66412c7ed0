//! Looking for secrets in a text that comes in pieces. Every byte is looked at once by each detector, and none keeps more than a
//! few kilobytes, so the work grows with the text, whatever is in it and however it is cut.

use super::assignments::Assignments;
use super::credentials::{Credentials, OwnCredentials};
use super::detector::Detector;
use super::escape::{Escape, EscapeStep, PercentEscape, UNICODE};
use super::key_blocks::KeyBlocks;
use super::spans::{SecretSpan, SecretSpans};
use super::tokens::Tokens;
use super::url_passwords::UrlPasswords;
use super::user_patterns::{PatternWindow, UserPatterns};

/// All detectors, and how far they have come.
pub(super) struct Scanner {
    at: usize,
    escape: Escape,
    percent: PercentEscape,
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
            percent: PercentEscape::default(),
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
            let at = self.at;
            if let Some(own) = &mut self.own {
                own.byte(at, byte, &mut self.found);
            }
            if let Some(patterns) = &mut self.patterns {
                patterns.byte(at, byte, &mut self.found);
            }
            if self.percent.ends_at(byte) {
                self.tokens.break_word();
            }
            let read = self.escape.read(byte);
            self.see(at, read);
            self.at += 1;
        }
        let seen = self.seen();
        if let Some(start) = self.detectors().filter_map(|detector| detector.open()).min() {
            self.found.push(start..seen);
        }
    }

    /// Shows the detectors what was read of the text up to this position.
    #[inline(always)]
    fn see(&mut self, at: usize, read: EscapeStep) {
        match read {
            EscapeStep::Byte(byte) => self.see_byte(at, byte),
            EscapeStep::Nothing => {}
            EscapeStep::Held { count, kept } => {
                let start = at - usize::from(count);
                (0..count).for_each(|held| self.see_byte(start + usize::from(held), if held == 0 { b'\\' } else { b' ' }));
                if let Some(byte) = kept {
                    self.see_byte(at, byte);
                }
            }
            EscapeStep::Decoded(byte) => self.see_byte(at + 1 - UNICODE, byte),
        }
    }

    #[inline(always)]
    fn see_byte(&mut self, at: usize, byte: u8) {
        let found = &mut self.found;
        self.tokens.byte(at, byte, found);
        self.assignments.byte(at, byte, found);
        self.key_blocks.byte(at, byte, found);
        self.url_passwords.byte(at, byte, found);
    }

    /// The text is over. The next piece begins another one.
    pub(crate) fn end(&mut self) {
        let held = self.escape.end();
        self.see(self.at, held);
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
        self.percent = PercentEscape::default();
    }

    /// The end of the decided text: what follows may still turn out to belong to a secret.
    pub(crate) fn decided(&self) -> usize {
        let seen = self.seen();
        self.detectors().filter_map(|detector| detector.undecided()).min().unwrap_or(seen).min(seen)
    }

    /// Up to where the detectors have seen the text: an escape may have begun there.
    fn seen(&self) -> usize {
        self.at - usize::from(self.escape.held)
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

    /// The work so far beyond one look of each detector at each byte.
    #[cfg(test)]
    pub(crate) fn steps(&self) -> usize {
        self.found.steps
    }
}
