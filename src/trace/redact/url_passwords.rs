//! Passwords in addresses: `scheme://user:password@host`, and tokens in the user's place: `scheme://token@host`.

use super::detector::Detector;
use super::spans::SecretSpans;
use super::values::{is_chance, is_placeholder};

/// The longest password, and the longest user name, in bytes. Clouds give tokens of a kilobyte for passwords.
const MAX_LENGTH: usize = 2048;

/// The detector of these passwords.
#[derive(Default)]
pub(super) struct UrlPasswords {
    state: UrlPart,
}

#[derive(Default)]
enum UrlPart {
    #[default]
    Outside,
    Colon,
    Slash,
    /// Before the user's name.
    Start,
    User {
        start: usize,
        text: Vec<u8>,
    },
    /// Before the password.
    AfterUser,
    Password {
        start: usize,
        text: Vec<u8>,
    },
}

impl UrlPasswords {
    fn step(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        let ends = byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'\\' | b'<' | b'>');
        self.state = match (std::mem::take(&mut self.state), byte) {
            (UrlPart::Colon, b'/') => UrlPart::Slash,
            (UrlPart::Slash, b'/') => UrlPart::Start,
            (UrlPart::Start | UrlPart::User { .. }, b':') => UrlPart::AfterUser,
            (UrlPart::Start, _) if !ends && byte != b'@' => UrlPart::User { start: at, text: vec![byte] },
            (UrlPart::User { start, text }, b'@') => {
                found.again(text.len());
                if is_chance(&text) {
                    found.push(start..at);
                }
                UrlPart::Outside
            }
            (UrlPart::User { start, mut text }, _) if !ends && text.len() < MAX_LENGTH => {
                text.push(byte);
                UrlPart::User { start, text }
            }
            (UrlPart::AfterUser, _) if !ends && byte != b'@' => UrlPart::Password { start: at, text: vec![byte] },
            (UrlPart::Password { start, text }, b'@') => {
                found.again(text.len());
                if !is_placeholder(&text) {
                    found.push(start..at);
                }
                UrlPart::Outside
            }
            (UrlPart::Password { start, mut text }, _) if !ends && text.len() < MAX_LENGTH => {
                text.push(byte);
                UrlPart::Password { start, text }
            }
            (_, b':') => UrlPart::Colon,
            _ => UrlPart::Outside,
        };
    }
}

impl Detector for UrlPasswords {
    #[inline(always)]
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        if byte == b':' || !matches!(self.state, UrlPart::Outside) {
            self.step(at, byte, found);
        }
    }

    fn end(&mut self, _at: usize, _found: &mut SecretSpans) {
        self.state = UrlPart::Outside;
    }

    fn undecided(&self) -> Option<usize> {
        match self.state {
            UrlPart::User { start, .. } | UrlPart::Password { start, .. } => Some(start),
            _ => None,
        }
    }

    fn open(&self) -> Option<usize> {
        None
    }
}
