//! Taking one compression off a body, chunk by chunk, within bounds.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::tokio::write::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The most bytes that one chunk from the network may become. A few kilobytes can be made to become gigabytes.
pub(super) const MAX_FROM_CHUNK: usize = 32 << 20;

/// The most bytes of a body, decompressed. Larger than any that a server takes or gives, and small enough to hold.
const MAX_BODY: usize = 256 << 20;

/// The most compressions that may follow one another in a body. Each takes memory of its own.
pub(super) const MAX_MEMBERS: usize = 4096;

/// Why the rest of a body is not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("content-encoding {0} is not known")]
    UnknownEncoding(String),
    #[error(
        "decompressed it is too large: more than {} MiB, or {} MiB from one piece of it", MAX_BODY >> 20, MAX_FROM_CHUNK >> 20
    )]
    TooLarge,
    #[error("it has more than {MAX_MEMBERS} compressions, one after the other")]
    TooManyMembers,
    #[error("it cannot be decompressed: {0}")]
    Corrupt(io::Error),
    #[error("it broke off: its compression has no end")]
    BrokeOff,
}

/// One of the compressions around a body, and its bounds.
pub(super) struct Compression {
    encoding: Encoding,
    /// Bytes that may still come out.
    pub room: usize,
    /// How a further member (gzip) or frame (zstd) begins, and its decoder; `None` for formats that have no such things.
    member: Option<Member>,
    /// Members or frames that may still follow.
    members_left: usize,
}

/// A gzip member or zstd frame. A body may have several, like files that were concatenated.
#[derive(Clone, Copy)]
struct Member {
    begins: fn(u8) -> bool,
    start: fn() -> Box<dyn Decompressor>,
}

const GZIP: Member = Member { begins: |byte| byte == 0x1f, start: || Box::new(GzipDecoder::new(BoundedOutput::default())) };

/// A zstd frame, or a skippable one.
const ZSTD: Member = Member {
    begins: |byte| byte == 0x28 || (0x50..0x60).contains(&byte),
    start: || Box::new(ZstdDecoder::new(BoundedOutput::default())),
};

enum Encoding {
    Identity,
    /// `deflate` before its first byte, which tells which of two formats it is.
    Deflate,
    /// Compressed, before the first byte. A body without bytes, as answers to HEAD have it, is not broken.
    Unstarted(fn() -> Box<dyn Decompressor>),
    Compressed(Box<dyn Decompressor>),
}

/// The decoders, which write into a [`BoundedOutput`]. That never waits, so neither do their futures.
trait Decompressor: AsyncWrite + Unpin + Send {
    fn output(&mut self) -> &mut BoundedOutput;
}

macro_rules! decompressors {
    ($($decoder:ident),*) => {
        $(impl Decompressor for $decoder<BoundedOutput> {
            fn output(&mut self) -> &mut BoundedOutput {
                self.get_mut()
            }
        })*
    };
}

decompressors!(GzipDecoder, BrotliDecoder, ZstdDecoder, ZlibDecoder, DeflateDecoder);

/// Takes bytes until it is full, then refuses them.
#[derive(Default)]
struct BoundedOutput {
    bytes: Vec<u8>,
    /// Bytes that it still takes.
    room: usize,
    /// Whether bytes were refused.
    is_full: bool,
}

impl AsyncWrite for BoundedOutput {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.room);
        if taken == 0 && !bytes.is_empty() {
            self.is_full = true;
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        self.room -= taken;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Compression {
    /// That of a body which is not compressed.
    pub(crate) fn none() -> Self {
        Self::new(Encoding::Identity, None)
    }

    /// Whether the body is not compressed.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.encoding, Encoding::Identity)
    }

    fn new(encoding: Encoding, member: Option<Member>) -> Self {
        Self { encoding, room: MAX_BODY, member, members_left: MAX_MEMBERS }
    }

    /// The compression that `content-encoding` names so; `None` if it is not known.
    pub(crate) fn named(encoding: &str) -> Option<Self> {
        let (encoding, member) = match encoding {
            "gzip" | "x-gzip" => (Encoding::Unstarted(GZIP.start), Some(GZIP)),
            "br" => (Encoding::Unstarted(|| Box::new(BrotliDecoder::new(BoundedOutput::default()))), None),
            "zstd" => (Encoding::Unstarted(ZSTD.start), Some(ZSTD)),
            "deflate" => (Encoding::Deflate, None),
            _ => return None,
        };
        Some(Self::new(encoding, member))
    }

    /// Takes the compression off a chunk and appends the result to `decoded`.
    ///
    /// # Errors
    /// The rest of the body cannot be decoded, or is too large. What could be decoded is added.
    pub(crate) async fn push(&mut self, chunk: &[u8], decoded: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Some(first) = chunk.first() else { return Ok(()) };
        // Whether the compression may have ended with the chunk before.
        let mut may_have_ended = matches!(self.encoding, Encoding::Compressed(_));
        match self.encoding {
            Encoding::Unstarted(start) => self.encoding = Encoding::Compressed(start()),
            // In a zlib header the low four bits are 8, the number of the deflate method.
            Encoding::Deflate if first & 0x0f == 8 => {
                self.encoding = Encoding::Compressed(Box::new(ZlibDecoder::new(BoundedOutput::default())));
            }
            Encoding::Deflate => {
                self.encoding = Encoding::Compressed(Box::new(DeflateDecoder::new(BoundedOutput::default())));
            }
            Encoding::Identity | Encoding::Compressed(_) => {}
        }
        let Encoding::Compressed(decompressor) = &mut self.encoding else {
            let taken = chunk.len().min(self.room);
            decoded.extend_from_slice(&chunk[..taken]);
            self.room -= taken;
            return if taken < chunk.len() { Err(DecodeError::TooLarge) } else { Ok(()) };
        };
        let mut rest = chunk;
        let mut room = self.room.min(MAX_FROM_CHUNK);
        loop {
            decompressor.output().room = room;
            let written = write(&mut **decompressor, rest).await;
            let output = decompressor.output();
            room -= output.bytes.len();
            self.room -= output.bytes.len();
            decoded.append(&mut std::mem::take(&mut output.bytes));
            let follows = |rest: &[u8]| self.member.filter(|member| rest.first().is_some_and(|byte| (member.begins)(*byte)));
            let next = match written {
                Ok(taken) if taken == rest.len() => return Ok(()),
                // The compression has ended before its chunk has.
                Ok(taken) => {
                    rest = &rest[taken..];
                    follows(rest).ok_or_else(|| DecodeError::Corrupt(io::Error::other("something follows its end")))?
                }
                Err(_) if output.is_full => return Err(DecodeError::TooLarge),
                Err(error) => follows(rest).filter(|_| may_have_ended).ok_or(DecodeError::Corrupt(error))?,
            };
            may_have_ended = false;
            self.members_left = self.members_left.checked_sub(1).ok_or(DecodeError::TooManyMembers)?;
            *decompressor = (next.start)();
        }
    }

    /// The body has ended.
    ///
    /// # Errors
    /// The compression has not.
    pub(crate) async fn finish(&mut self) -> Result<(), DecodeError> {
        match &mut self.encoding {
            // Everything that came has been flushed, so nothing is left to come out.
            Encoding::Compressed(decompressor) => decompressor.shutdown().await.map_err(|_| DecodeError::BrokeOff),
            Encoding::Identity | Encoding::Deflate | Encoding::Unstarted(_) => Ok(()),
        }
    }
}

/// Writes as much of the chunk as belongs to the compression. Returns how many bytes that was.
async fn write(decompressor: &mut dyn Decompressor, chunk: &[u8]) -> io::Result<usize> {
    let taken = decompressor.write(chunk).await?;
    decompressor.flush().await?;
    Ok(taken)
}
