//! The interface of the detectors, each of which finds one kind of secret, byte by byte.

use super::spans::SecretSpans;

/// Finds one kind of secret.
pub(super) trait Detector {
    /// Takes the next byte, which is at `at`.
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans);
    /// The text ends at `at`. A new one may follow.
    fn end(&mut self, at: usize, found: &mut SecretSpans);
    /// Where the earliest undecided candidate starts: more text may still make a secret of it.
    fn undecided(&self) -> Option<usize>;
    /// Where a secret starts that has not ended.
    fn open(&self) -> Option<usize>;
}
