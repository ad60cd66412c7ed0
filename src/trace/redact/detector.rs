//! What finds one kind of secret, byte by byte.

use super::spans::SecretSpans;

/// Finds one kind of secret.
pub(super) trait Detector {
    /// Takes the next byte, which is at `at`.
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans);
    /// The text ends at `at`. A new one may follow.
    fn end(&mut self, at: usize, found: &mut SecretSpans);
    /// Where the first thing starts that more text may make a secret.
    fn undecided(&self) -> Option<usize>;
    /// Where a secret starts that has not ended.
    fn open(&self) -> Option<usize>;
}
