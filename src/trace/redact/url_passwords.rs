//! Passwords in addresses: `scheme://user:password@host`.

use super::scanner::{Detector, Found};
use super::values::is_placeholder;

/// The longest password, and the longest user name, in bytes.
const MAX_LENGTH: usize = 256;

/// Finds them.
#[derive(Default)]
pub(super) struct UrlPasswords {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Outside,
    Colon,
    Slash,
    /// Bytes of the user's name so far.
    User(usize),
    Password {
        start: usize,
        text: Vec<u8>,
    },
}

impl UrlPasswords {
    fn step(&mut self, at: usize, byte: u8, found: &mut Found) {
        let ends = byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`' | b'\\' | b'<' | b'>');
        self.state = match (std::mem::take(&mut self.state), byte) {
            (State::Colon, b'/') => State::Slash,
            (State::Slash, b'/') => State::User(0),
            (State::User(_), b':') => State::Password { start: at + 1, text: Vec::new() },
            (State::User(length), _) if !ends && byte != b'@' && length < MAX_LENGTH => State::User(length + 1),
            (State::Password { start, text }, b'@') => {
                if !is_placeholder(&text) {
                    found.push(start..at);
                }
                State::Outside
            }
            (State::Password { start, mut text }, _) if !ends && text.len() < MAX_LENGTH => {
                text.push(byte);
                State::Password { start, text }
            }
            (_, b':') => State::Colon,
            _ => State::Outside,
        };
    }
}

impl Detector for UrlPasswords {
    #[inline(always)]
    fn byte(&mut self, at: usize, byte: u8, found: &mut Found) {
        if byte == b':' || !matches!(self.state, State::Outside) {
            self.step(at, byte, found);
        }
    }

    fn end(&mut self, _at: usize, _found: &mut Found) {
        self.state = State::Outside;
    }

    fn undecided(&self) -> Option<usize> {
        match self.state {
            State::Password { start, .. } => Some(start),
            _ => None,
        }
    }

    fn open(&self) -> Option<usize> {
        None
    }
}
