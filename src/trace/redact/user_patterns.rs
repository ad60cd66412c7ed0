//! The user's own patterns of secrets, from the configuration.
//!
//! A regular expression can look at any length of text. To bound the work, and what a stream holds back, the text is searched in
//! windows that overlap by [`MAX_MATCH`]: a match that is no longer is found wherever it stands, and however the text is cut.

use std::sync::Arc;

use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::detector::Detector;
use super::names::REDACTED;
use super::spans::SecretSpans;

/// The most bytes of a match that is found for certain.
const MAX_MATCH: usize = 2048;

/// A regular expression for a kind of secret. What it matches is replaced, up to 2 KiB.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct SecretPattern(Regex);

/// What is in every trace and is no secret. A pattern that matches one of these would leave nothing of a recording.
const ORDINARY: [&str; 12] = [
    "\"",
    " ",
    ":",
    ",",
    "{",
    "[",
    "\n",
    "e",
    "0",
    "text",
    "{\"model\": \"m\", \"max_tokens\": 32000, \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}], \"stream\": true}",
    "You are an interactive agent that helps users with software engineering tasks.\nUse the tools that you have.\n\n - Be brief. \
     Read a file before you change it, and run the tests when you are done (npm test, cargo test, pytest).\n",
];

impl TryFrom<String> for SecretPattern {
    type Error = String;

    /// # Errors
    /// It is no regular expression, too large a one, or one that matches what is in every text. The reason has one line.
    fn try_from(pattern: String) -> Result<Self, String> {
        let reason = match Regex::new(&pattern) {
            Ok(regex) if regex.is_match(b"") => "matches the empty text".to_owned(),
            Ok(regex) if regex.is_match(REDACTED.as_bytes()) => format!("matches {REDACTED}, which replaces secrets"),
            Ok(regex) if ORDINARY.iter().any(|text| regex.is_match(text.as_bytes())) => "matches ordinary text".to_owned(),
            Ok(regex) => return Ok(Self(regex)),
            Err(regex::Error::Syntax(message)) => {
                let last = message.lines().last().unwrap_or_default();
                format!("is no regular expression: {}", last.trim_start_matches("error: "))
            }
            Err(error) => format!("is no usable regular expression: {error}"),
        };
        Err(format!("the pattern `{pattern}` {reason}"))
    }
}

impl From<SecretPattern> for String {
    fn from(pattern: SecretPattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl PartialEq for SecretPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Compiled patterns.
#[derive(Clone, Debug, Default)]
pub(super) struct UserPatterns(Arc<[Regex]>);

impl UserPatterns {
    pub(crate) fn new(patterns: &[SecretPattern]) -> Self {
        Self(patterns.iter().map(|pattern| pattern.0.clone()).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What finds them; `None` if there are none.
    pub(crate) fn detector(&self) -> Option<PatternWindow> {
        (!self.is_empty()).then(|| PatternWindow { patterns: self.clone(), start: 0, bytes: Vec::new() })
    }
}

/// The detector of their matches.
pub(super) struct PatternWindow {
    patterns: UserPatterns,
    /// Where the window starts in the text.
    start: usize,
    /// The end of the text so far, which is searched again together with the next piece.
    bytes: Vec<u8>,
}

impl PatternWindow {
    fn search(&self, found: &mut SecretSpans) {
        found.again(self.bytes.len() * self.patterns.0.len());
        let in_character = |at: &usize| self.bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
        for hit in self.patterns.0.iter().flat_map(|regex| regex.find_iter(&self.bytes)) {
            // A pattern may be about bytes; what is replaced is whole characters.
            let start = (0..=hit.start()).rev().find(|at| !in_character(at)).unwrap_or_default();
            let end = (hit.end()..self.bytes.len()).find(|at| !in_character(at)).unwrap_or(self.bytes.len());
            found.push(self.start + start..self.start + end);
        }
    }
}

impl Detector for PatternWindow {
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        self.bytes.push(byte);
        // At the same places however the text is cut.
        if (at + 1).is_multiple_of(MAX_MATCH) {
            self.search(found);
            let searched = self.bytes.len().saturating_sub(MAX_MATCH);
            self.bytes.drain(..searched);
            self.start = at + 1 - self.bytes.len();
        }
    }

    fn end(&mut self, at: usize, found: &mut SecretSpans) {
        self.search(found);
        self.bytes.clear();
        self.start = at;
    }

    fn undecided(&self) -> Option<usize> {
        (!self.bytes.is_empty()).then_some(self.start)
    }

    fn open(&self) -> Option<usize> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_usable_pattern_is_refused_in_one_line() {
        let refused = ["(", "a{2}{9999999}", "[b-a]", "x*", "[a-z]+", "(?s).{50,}", "tool"]
            .map(|pattern| SecretPattern::try_from(pattern.to_owned()).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"), @r"
        the pattern `(` is no regular expression: unclosed group
        the pattern `a{2}{9999999}` is no usable regular expression: Compiled regex exceeds size limit of 10485760 bytes.
        the pattern `[b-a]` is no regular expression: invalid character class range, the start must be <= the end
        the pattern `x*` matches the empty text
        the pattern `[a-z]+` matches [redacted], which replaces secrets
        the pattern `(?s).{50,}` matches ordinary text
        the pattern `tool` matches ordinary text
        ");
    }
}
