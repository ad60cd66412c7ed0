//! Private keys between `-----BEGIN … PRIVATE KEY-----` and `-----END …-----`, of OpenSSL, OpenSSH and PGP.

use super::detector::Detector;
use super::spans::SecretSpans;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: usize = 5;

/// The longest label between the dashes, in bytes.
const MAX_LABEL: usize = 40;

/// A key without an end goes as far as this, in bytes. No private key is longer.
const MAX_KEY: usize = 64 * 1024;

/// The detector of these blocks.
#[derive(Default)]
pub(super) struct KeyBlocks {
    state: BlockPart,
    /// Where the block, or what may become one, starts.
    start: usize,
}

#[derive(Default)]
enum BlockPart {
    #[default]
    Outside,
    /// Inside [`BEGIN`], after this many of its bytes.
    Begin(usize),
    /// The label and its dashes so far.
    Label(Vec<u8>),
    /// After the dashes: the next bytes tell whether a key follows, or the line is only quoted.
    Body,
    /// Inside a key, after this many bytes of [`END`].
    Key(usize),
    /// Inside its last line, after this many of the closing dashes.
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
    fn step(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        self.state = match std::mem::take(&mut self.state) {
            BlockPart::Outside => {
                self.start = at;
                BlockPart::Begin(1)
            }
            BlockPart::Begin(matched) => match advance(BEGIN, matched, byte) {
                0 => BlockPart::Outside,
                all if all == BEGIN.len() => BlockPart::Label(Vec::new()),
                now => {
                    // More dashes than five: the block starts at the last ones.
                    self.start = at + 1 - now;
                    BlockPart::Begin(now)
                }
            },
            BlockPart::Label(mut label) => {
                label.push(byte);
                if label.ends_with(b"-----") {
                    found.again(label.len());
                    if label[..label.len() - DASHES].windows(11).any(|part| part == b"PRIVATE KEY") {
                        BlockPart::Body
                    } else {
                        self.start = at + 1 - DASHES;
                        BlockPart::Begin(DASHES)
                    }
                } else if label.len() > MAX_LABEL || matches!(byte, b'\n' | b'"' | b'\'' | b'\\') {
                    BlockPart::Outside
                } else {
                    BlockPart::Label(label)
                }
            }
            // A quoted line may be followed by an escaped line end.
            BlockPart::Body if byte == b'\\' => BlockPart::Body,
            // Escaped line ends of XML and of addresses.
            BlockPart::Body if matches!(byte, b'&' | b'%') => BlockPart::Key(0),
            BlockPart::Body if byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() => BlockPart::Key(0),
            BlockPart::Body => BlockPart::Outside,
            BlockPart::Key(_) if at - self.start > MAX_KEY => {
                found.push(self.start..at);
                BlockPart::Outside
            }
            BlockPart::Key(matched) => match advance(END, matched, byte) {
                all if all == END.len() => BlockPart::LastLine(0),
                matched => BlockPart::Key(matched),
            },
            BlockPart::LastLine(dashes) => {
                let dashes = if byte == b'-' { dashes + 1 } else { 0 };
                if dashes == DASHES {
                    found.push(self.start..at + 1);
                    BlockPart::Outside
                } else if at - self.start > MAX_KEY {
                    found.push(self.start..at);
                    BlockPart::Outside
                } else {
                    BlockPart::LastLine(dashes)
                }
            }
        };
    }
}

impl Detector for KeyBlocks {
    #[inline(always)]
    fn byte(&mut self, at: usize, byte: u8, found: &mut SecretSpans) {
        if byte == b'-' || !matches!(self.state, BlockPart::Outside) {
            self.step(at, byte, found);
        }
    }

    fn end(&mut self, at: usize, found: &mut SecretSpans) {
        if let Some(start) = self.open() {
            found.push(start..at);
        }
        self.state = BlockPart::Outside;
    }

    fn undecided(&self) -> Option<usize> {
        matches!(self.state, BlockPart::Begin(_) | BlockPart::Label(_) | BlockPart::Body).then_some(self.start)
    }

    fn open(&self) -> Option<usize> {
        matches!(self.state, BlockPart::Key(_) | BlockPart::LastLine(_)).then_some(self.start)
    }
}
