//! Private keys between `-----BEGIN … PRIVATE KEY-----` and `-----END …-----`, of OpenSSL, OpenSSH and PGP.

use super::scanner::{Detector, Found};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: usize = 5;

/// The longest label between the dashes, in bytes.
const MAX_LABEL: usize = 40;

/// A key without an end goes as far as this, in bytes. No private key is longer.
const MAX_KEY: usize = 64 * 1024;

/// Finds them.
#[derive(Default)]
pub(super) struct KeyBlocks {
    state: State,
    /// Where the block, or what may become one, starts.
    start: usize,
}

#[derive(Default)]
enum State {
    /// Bytes of [`BEGIN`] that came.
    #[default]
    Outside,
    Begin(usize),
    /// The label and its dashes so far.
    Label(Vec<u8>),
    /// After the dashes: whether a key follows, or this is only about the line.
    Body,
    /// Inside a key, with that many bytes of [`END`].
    Key(usize),
    /// Inside its last line, with that many dashes.
    LastLine(usize),
}

/// The bytes of `pattern` that have come with this one, if there were `matched` before. Both patterns begin with dashes and have
/// no others, so a start over can only be among those.
fn advance(pattern: &[u8], matched: usize, byte: u8) -> usize {
    match byte {
        b'-' if matched <= DASHES => (matched + 1).min(DASHES),
        b'-' => 1,
        _ if pattern[matched] == byte && matched >= DASHES => matched + 1,
        _ => 0,
    }
}

impl KeyBlocks {
    fn step(&mut self, at: usize, byte: u8, found: &mut Found) {
        self.state = match std::mem::take(&mut self.state) {
            State::Outside => {
                self.start = at;
                State::Begin(1)
            }
            State::Begin(matched) => match advance(BEGIN, matched, byte) {
                0 => State::Outside,
                all if all == BEGIN.len() => State::Label(Vec::new()),
                now => {
                    // More dashes than five: the block starts at the last ones.
                    self.start = at + 1 - now;
                    State::Begin(now)
                }
            },
            State::Label(mut label) => {
                label.push(byte);
                if label.ends_with(b"-----") {
                    if label[..label.len() - DASHES].windows(11).any(|part| part == b"PRIVATE KEY") {
                        State::Body
                    } else {
                        self.start = at + 1 - DASHES;
                        State::Begin(DASHES)
                    }
                } else if label.len() > MAX_LABEL || matches!(byte, b'\n' | b'"' | b'\'' | b'\\') {
                    State::Outside
                } else {
                    State::Label(label)
                }
            }
            // A quoted line may be followed by an escaped line end.
            State::Body if byte == b'\\' => State::Body,
            State::Body if byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() => State::Key(0),
            State::Body => State::Outside,
            State::Key(_) if at - self.start > MAX_KEY => {
                found.push(self.start..at);
                State::Outside
            }
            State::Key(matched) => match advance(END, matched, byte) {
                all if all == END.len() => State::LastLine(0),
                matched => State::Key(matched),
            },
            State::LastLine(dashes) => {
                let dashes = if byte == b'-' { dashes + 1 } else { 0 };
                if dashes == DASHES {
                    found.push(self.start..at + 1);
                    State::Outside
                } else if at - self.start > MAX_KEY {
                    found.push(self.start..at);
                    State::Outside
                } else {
                    State::LastLine(dashes)
                }
            }
        };
    }
}

impl Detector for KeyBlocks {
    #[inline(always)]
    fn byte(&mut self, at: usize, byte: u8, found: &mut Found) {
        if byte == b'-' || !matches!(self.state, State::Outside) {
            self.step(at, byte, found);
        }
    }

    fn end(&mut self, at: usize, found: &mut Found) {
        found.extend(self.open().map(|start| start..at));
        self.state = State::Outside;
    }

    fn undecided(&self) -> Option<usize> {
        matches!(self.state, State::Begin(_) | State::Label(_) | State::Body).then_some(self.start)
    }

    fn open(&self) -> Option<usize> {
        matches!(self.state, State::Key(_) | State::LastLine(_)).then_some(self.start)
    }
}
