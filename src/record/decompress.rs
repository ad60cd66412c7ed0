//! Decompressing bodies chunk by chunk for the trace. What is passed on stays compressed.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::tokio::write::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use axum::http::header::{CONTENT_ENCODING, HeaderMap};
use futures::FutureExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The most bytes that one chunk from the network may become. A few kilobytes can be made to become gigabytes.
const MAX_FROM_CHUNK: usize = 32 << 20;

/// The most bytes of a body, decompressed. Larger than any that a server takes or gives, and small enough to hold.
const MAX_BODY: usize = 256 << 20;

/// The most compressions that may follow one another in a body. Each takes memory of its own.
const MAX_MEMBERS: usize = 4096;

/// A piece of a request that came as a whole, in bytes.
const PIECE: usize = 64 << 10;

/// Why the rest of a body is not recorded.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
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

/// Decodes a body, and holds it to its bounds.
pub(super) struct Decoder {
    encoding: Encoding,
    /// Bytes that may still come out.
    room: usize,
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

impl Decoder {
    /// The decoder of a body as it is.
    pub(crate) fn identity() -> Self {
        Self { encoding: Encoding::Identity, room: MAX_BODY, member: None, members_left: MAX_MEMBERS }
    }

    /// The decoder for a body with these headers.
    ///
    /// # Errors
    /// The encoding is not known.
    pub(crate) fn for_body(headers: &HeaderMap) -> Result<Self, DecodeError> {
        let named = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim());
        let encoding = named.collect::<Vec<_>>().join(", ").to_ascii_lowercase();
        let (encoding, member) = match encoding.as_str() {
            "" | "identity" => (Encoding::Identity, None),
            "gzip" | "x-gzip" => (Encoding::Unstarted(GZIP.start), Some(GZIP)),
            "br" => (Encoding::Unstarted(|| Box::new(BrotliDecoder::new(BoundedOutput::default()))), None),
            "zstd" => (Encoding::Unstarted(ZSTD.start), Some(ZSTD)),
            "deflate" => (Encoding::Deflate, None),
            _ => return Err(DecodeError::UnknownEncoding(encoding)),
        };
        Ok(Self { encoding, member, ..Self::identity() })
    }

    /// Decodes a chunk and appends the result to `decoded`.
    ///
    /// # Errors
    /// The rest of the body cannot be decoded, or is too large. What could be decoded is added. The decoder must not be used
    /// again.
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
    /// Its compression has not.
    pub(crate) async fn finish(&mut self) -> Result<(), DecodeError> {
        match &mut self.encoding {
            // Everything that came has been flushed, so nothing is left to come out.
            Encoding::Compressed(decompressor) => decompressor.shutdown().await.map_err(|_| DecodeError::BrokeOff),
            Encoding::Identity | Encoding::Deflate | Encoding::Unstarted(_) => Ok(()),
        }
    }
}

/// Decompresses the whole body of a request.
///
/// # Errors
/// It cannot be recorded.
pub(super) fn decompressed<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
    let mut decoder = Decoder::for_body(headers)?;
    if matches!(decoder.encoding, Encoding::Identity) {
        return Ok(Cow::Borrowed(body));
    }
    let mut whole = Vec::new();
    let decoding = async {
        // In pieces as they come from the network, so that the bound for one of them is no bound for all.
        for piece in body.chunks(PIECE) {
            decoder.push(piece, &mut whole).await?;
        }
        decoder.finish().await
    };
    // Writing into memory never waits.
    decoding.now_or_never().unwrap_or_else(|| Err(DecodeError::Corrupt(io::ErrorKind::WouldBlock.into())))?;
    Ok(Cow::Owned(whole))
}

/// Writes as much as belongs to the compression; how many bytes that was.
async fn write(decompressor: &mut dyn Decompressor, chunk: &[u8]) -> io::Result<usize> {
    let taken = decompressor.write(chunk).await?;
    decompressor.flush().await?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_compression::Level;
    use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};

    const PARTS: [&str; 3] = ["event: a\ndata: 1\n\n", "event: b\ndata: é\n\n", "event: c\ndata: 3\n\n"];

    /// The parts, compressed one after the other and flushed after each, as a streaming server does.
    async fn compress(encoding: &str) -> Vec<Vec<u8>> {
        macro_rules! parts {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                let mut chunks = Vec::new();
                for part in PARTS {
                    encoder.write_all(part.as_bytes()).await.unwrap();
                    encoder.flush().await.unwrap();
                    chunks.push(std::mem::take(encoder.get_mut()));
                }
                encoder.shutdown().await.unwrap();
                chunks.push(encoder.into_inner());
                chunks
            }};
        }
        match encoding {
            "gzip" => parts!(GzipEncoder),
            "br" => parts!(BrotliEncoder),
            "zstd" => parts!(ZstdEncoder),
            "deflate" => parts!(ZlibEncoder),
            "raw deflate" => parts!(DeflateEncoder),
            _ => PARTS.iter().map(|part| part.as_bytes().to_vec()).collect(),
        }
    }

    fn headers(encoding: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, encoding.rsplit(' ').next().unwrap().parse().unwrap())])
    }

    fn decoder(encoding: &str) -> Decoder {
        Decoder::for_body(&headers(encoding)).unwrap()
    }

    #[tokio::test]
    async fn each_part_is_decoded_as_soon_as_it_has_come() {
        for encoding in ["identity", "gzip", "br", "zstd", "deflate", "raw deflate"] {
            let mut decoder = decoder(encoding);
            for (chunk, part) in compress(encoding).await.iter().zip(PARTS) {
                let mut decoded = Vec::new();
                decoder.push(chunk, &mut decoded).await.unwrap();
                assert_eq!(String::from_utf8(decoded).unwrap(), part, "{encoding}");
            }
        }
    }

    #[tokio::test]
    async fn chunk_boundaries_do_not_matter() {
        for encoding in ["identity", "gzip", "br", "zstd", "deflate", "raw deflate"] {
            let mut decoder = decoder(encoding);
            let mut decoded = Vec::new();
            for byte in compress(encoding).await.concat() {
                decoder.push(&[byte], &mut decoded).await.unwrap_or_else(|e| panic!("{encoding}: {e}"));
            }
            decoder.finish().await.unwrap_or_else(|e| panic!("{encoding}: {e}"));
            assert_eq!(String::from_utf8(decoded).unwrap(), PARTS.concat(), "{encoding}");
        }
    }

    #[tokio::test]
    async fn whole_bodies_are_decompressed() {
        for encoding in ["identity", "gzip", "br", "zstd", "deflate", "raw deflate"] {
            let body = compress(encoding).await.concat();
            assert_eq!(decompressed(&headers(encoding), &body).unwrap(), PARTS.concat().as_bytes(), "{encoding}");
        }
        assert!(matches!(decompressed(&headers("gzip"), b"plain text"), Err(DecodeError::Corrupt(_))));
        assert!(
            matches!(decompressed(&headers("compress"), b"x"), Err(DecodeError::UnknownEncoding(name)) if name == "compress")
        );
    }

    #[tokio::test]
    async fn all_compressions_of_a_body_are_decoded_however_it_is_cut() {
        for encoding in ["gzip", "zstd"] {
            let one = compress(encoding).await.concat();
            let body = one.repeat(3);
            for size in [1, 7, one.len(), one.len() + 1, body.len()] {
                let (mut decoder, mut decoded) = (decoder(encoding), Vec::new());
                for chunk in body.chunks(size) {
                    decoder.push(chunk, &mut decoded).await.unwrap_or_else(|e| panic!("{encoding}, {size}: {e}"));
                }
                decoder.finish().await.unwrap_or_else(|e| panic!("{encoding}, {size}: {e}"));
                assert_eq!(String::from_utf8(decoded).unwrap(), PARTS.concat().repeat(3), "{encoding}, {size}");
            }
            assert_eq!(decompressed(&headers(encoding), &body).unwrap(), PARTS.concat().repeat(3).as_bytes());
            // The last of them broke off, what follows is none, and too many.
            assert!(matches!(decompressed(&headers(encoding), &body[..body.len() - 9]), Err(DecodeError::BrokeOff)));
            let other = [&one[..], b"other"].concat();
            assert!(matches!(decompressed(&headers(encoding), &other), Err(DecodeError::Corrupt(_))));
            let many = one.repeat(MAX_MEMBERS + 2);
            assert!(matches!(decompressed(&headers(encoding), &many), Err(DecodeError::TooManyMembers)));
        }
    }

    const COMPRESSIONS: [&str; 5] = ["gzip", "br", "zstd", "deflate", "raw deflate"];

    #[tokio::test]
    async fn a_body_that_breaks_off_is_known_for_it_and_keeps_what_came() {
        for encoding in COMPRESSIONS {
            let body = compress(encoding).await.concat();
            for end in 1..body.len() {
                let (mut decoder, mut decoded) = (decoder(encoding), Vec::new());
                decoder.push(&body[..end], &mut decoded).await.unwrap();
                assert!(matches!(decoder.finish().await, Err(DecodeError::BrokeOff)), "{encoding} cut at {end}");
                assert!(PARTS.concat().as_bytes().starts_with(&decoded), "{encoding} cut at {end}");
                assert!(decompressed(&headers(encoding), &body[..end]).is_err());
            }
            // Nothing at all is what HEAD is answered with.
            decoder(encoding).finish().await.unwrap();
        }
    }

    /// This many zeros, compressed.
    async fn bomb(encoding: &str, megabytes: usize) -> Vec<u8> {
        macro_rules! zeros {
            ($encoder:ident) => {{
                let mut encoder = $encoder::with_quality(Vec::new(), Level::Fastest);
                for _ in 0..megabytes {
                    encoder.write_all(&vec![0; 1 << 20]).await.unwrap();
                }
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }};
        }
        match encoding {
            "gzip" => zeros!(GzipEncoder),
            "br" => zeros!(BrotliEncoder),
            "zstd" => zeros!(ZstdEncoder),
            "deflate" => zeros!(ZlibEncoder),
            _ => zeros!(DeflateEncoder),
        }
    }

    #[tokio::test]
    async fn what_one_chunk_becomes_has_a_bound() {
        for encoding in COMPRESSIONS {
            let bomb = bomb(encoding, (MAX_FROM_CHUNK >> 20) + 1).await;
            let (mut decoder, mut decoded) = (decoder(encoding), Vec::new());
            assert!(matches!(decoder.push(&bomb, &mut decoded).await, Err(DecodeError::TooLarge)), "{encoding}");
            assert_eq!(decoded.len(), MAX_FROM_CHUNK, "{encoding}");
        }
    }

    #[tokio::test]
    async fn a_whole_body_has_a_bound() {
        for encoding in ["identity", "gzip"] {
            let mut decoder = Decoder { room: 40, ..decoder(encoding) };
            let mut decoded = Vec::new();
            let mut failed = None;
            for chunk in compress(encoding).await {
                failed = decoder.push(&chunk, &mut decoded).await.err();
                if failed.is_some() {
                    break;
                }
            }
            assert!(matches!(failed, Some(DecodeError::TooLarge)), "{encoding}");
            assert_eq!(decoded, &PARTS.concat().as_bytes()[..40], "{encoding}");
        }
    }

    #[tokio::test]
    async fn a_wrong_or_unknown_encoding_is_an_error() {
        assert!(matches!(decoder("gzip").push(b"plain text", &mut Vec::new()).await, Err(DecodeError::Corrupt(_))));
        assert!(matches!(Decoder::for_body(&headers("compress")), Err(DecodeError::UnknownEncoding(name)) if name == "compress"));
    }
}
