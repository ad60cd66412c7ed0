//! Keys that are known by how they begin.

use super::detector::Detector;
use super::patterns::{AWS_SECRET, BEGINNINGS, Beginnings, KeyPattern};
use super::spans::SecretSpans;

/// The longest candidate, in bytes. One that is still undecided then is not a key, so a stream holds back no more than this.
const MAX_UNDECIDED: usize = 4096;

/// How far behind an access key id of AWS its secret is looked for, in bytes.
const AWS_NEAR: usize = 200;

/// The detector of these keys. A rule has at most one candidate past its prefix: a later one would end where the first one does,
/// and be shorter.
pub(super) struct Tokens {
    beginnings: &'static Beginnings,
    candidates: Vec<KeyCandidate>,
    /// The byte before this one and where it is, if a word starts with it.
    started: Option<(usize, u8)>,
    /// Whether a word can start here: the byte before is neither letter nor digit.
    after_word: bool,
    /// The end of the stretch behind an access key id in which the secret access key of AWS is expected.
    aws_until: usize,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { beginnings: &BEGINNINGS, candidates: Vec::new(), started: None, after_word: false, aws_until: 0 }
    }
}

/// A key that may have started.
struct KeyCandidate {
    rule: &'static KeyPattern,
    start: usize,
    /// Bytes of the prefix so far.
    matched: usize,
    /// Bytes after the prefix.
    tail: usize,
    has_digit: bool,
    /// The part that goes on, and its bytes.
    part: usize,
    part_length: usize,
}

enum Step {
    GoesOn,
    Ended,
    IsNone,
}

impl KeyCandidate {
    fn new(rule: &'static KeyPattern, start: usize) -> Self {
        Self { rule, start, matched: 0, tail: 0, has_digit: false, part: 0, part_length: 0 }
    }

    fn in_tail(&self) -> bool {
        self.matched == self.rule.prefix.len()
    }

    /// Whether it is a key if it ends here. One that goes on may still become too long.
    fn is_key(&self) -> bool {
        let rule = self.rule;
        let last_part = rule.parts.get(self.part);
        let parts = rule.parts.is_empty()
            || (self.part + 1 == rule.parts.len() && last_part.is_some_and(|(min, _)| self.part_length >= *min));
        self.in_tail() && parts && self.tail >= rule.min && (!rule.needs_digit || self.has_digit)
    }

    /// Whether it is a key however it goes on.
    fn is_decided(&self) -> bool {
        let last_is_open = self.rule.parts.last().is_none_or(|(_, max)| *max == usize::MAX);
        self.rule.max == usize::MAX && last_is_open && self.is_key()
    }

    fn step(&mut self, byte: u8) -> Step {
        let rule = self.rule;
        if !self.in_tail() {
            let fits = rule.prefix.as_bytes()[self.matched] == byte;
            self.matched += 1;
            return if fits { Step::GoesOn } else { Step::IsNone };
        }
        if !rule.tail.has(byte) {
            return if self.is_key() { Step::Ended } else { Step::IsNone };
        }
        self.tail += 1;
        self.has_digit |= byte.is_ascii_digit();
        if let Some((min, max)) = rule.parts.get(self.part) {
            match byte {
                // Further parts belong to the last one.
                b'.' if self.part + 1 < rule.parts.len() => {
                    if self.part_length < *min {
                        return Step::IsNone;
                    }
                    (self.part, self.part_length) = (self.part + 1, 0);
                }
                _ => self.part_length += 1,
            }
            if self.part_length > *max {
                return Step::IsNone;
            }
        }
        if self.tail > rule.max || (self.tail > MAX_UNDECIDED && !self.is_key()) { Step::IsNone } else { Step::GoesOn }
    }
}

impl Tokens {
    /// A word may start at the next byte, whatever came before.
    pub(crate) fn break_word(&mut self) {
        self.after_word = false;
    }

    /// Adds a candidate for each rule that begins with these two bytes.
    fn begin(&mut self, start: usize, first: u8, second: u8) {
        for rule in self.beginnings.of(first, second) {
            let taken = |other: &KeyCandidate| std::ptr::eq(other.rule, rule) && other.in_tail();
            if !self.candidates.iter().any(taken) {
                self.candidates.push(KeyCandidate { matched: 1, ..KeyCandidate::new(rule, start) });
            }
        }
    }

    fn step(&mut self, at: usize, byte: u8, is_word: bool, found: &mut SecretSpans) {
        if let Some((start, first)) = self.started.take() {
            self.begin(start, first, byte);
        }
        if !self.candidates.is_empty() {
            let aws_until = &mut self.aws_until;
            self.candidates.retain_mut(|candidate| match candidate.step(byte) {
                Step::GoesOn => true,
                Step::IsNone => false,
                Step::Ended => {
                    found.push(candidate.start..at);
                    if candidate.rule.prefix.starts_with('A') {
                        *aws_until = at + AWS_NEAR;
                    }
                    false
                }
            });
        }
        if is_word && !self.after_word {
            self.started = Some((at, byte));
            if at < self.aws_until && !self.candidates.iter().any(|other| other.rule.prefix.is_empty()) {
                self.candidates.push(KeyCandidate { tail: 1, ..KeyCandidate::new(&AWS_SECRET, at) });
            }
        }
        self.after_word = is_word;
    }
}

impl Detector for Tokens {
    #[inline(always)]
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        found.again(self.candidates.len());
        let is_word = byte.is_ascii_alphanumeric();
        if self.candidates.is_empty() && self.started.is_none() && (self.after_word || !is_word) {
            self.after_word = is_word;
            return;
        }
        self.step(at, byte, is_word, found);
    }

    fn end(&mut self, at: usize, found: &mut SecretSpans) {
        for candidate in self.candidates.drain(..).filter(KeyCandidate::is_key) {
            found.push(candidate.start..at);
        }
        (self.started, self.after_word, self.aws_until) = (None, false, 0);
    }

    fn undecided(&self) -> Option<usize> {
        let undecided = self.candidates.iter().filter(|candidate| !candidate.is_decided()).map(|candidate| candidate.start);
        undecided.chain(self.started.map(|(start, _)| start)).min()
    }

    fn open(&self) -> Option<usize> {
        self.candidates.iter().filter(|candidate| candidate.is_decided()).map(|candidate| candidate.start).min()
    }
}
