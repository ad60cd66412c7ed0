//! Decompressing bodies chunk by chunk for the trace. What is passed on stays compressed.

use std::borrow::Cow;
use std::io;

use axum::http::header::{CONTENT_ENCODING, HeaderMap};
use futures::FutureExt;

use super::compression::{Compression, DecodeError};

/// A piece of a request that came as a whole, in bytes.
const PIECE: usize = 64 << 10;

/// The most compressions that a body may have one around the other. Each takes memory and time of its own.
const MAX_COMPRESSIONS: usize = 4;

/// Decodes a body, and holds it to its bounds.
pub(super) struct Decoder {
    /// The compressions around the body, the outermost first. At least one, which may be none.
    compressions: Vec<Compression>,
}

impl Decoder {
    /// The decoder of a body as it is.
    pub(crate) fn identity() -> Self {
        Self { compressions: vec![Compression::none()] }
    }

    /// The decoder for a body with these headers. They name the compressions in the order in which they were applied.
    ///
    /// # Errors
    /// An encoding is not known, or there are too many.
    pub(crate) fn for_body(headers: &HeaderMap) -> Result<Self, DecodeError> {
        let named = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?"));
        let named = named.collect::<Vec<_>>().join(", ").to_ascii_lowercase();
        let applied = named.split(',').map(str::trim).filter(|encoding| !["", "identity"].contains(encoding));
        let compressions = applied
            .rev()
            .map(Compression::named)
            .collect::<Option<Vec<_>>>()
            .filter(|compressions| compressions.len() <= MAX_COMPRESSIONS);
        match compressions {
            Some(none) if none.is_empty() => Ok(Self::identity()),
            Some(compressions) if compressions.len() <= MAX_COMPRESSIONS => Ok(Self { compressions }),
            _ => Err(DecodeError::UnknownEncoding(named)),
        }
    }

    /// Whether the body is as it is.
    fn is_identity(&self) -> bool {
        self.compressions.iter().all(Compression::is_none)
    }

    /// Decodes a chunk and appends the result to `decoded`.
    ///
    /// # Errors
    /// The rest of the body cannot be decoded, or is too large. What could be decoded is added. The decoder must not be used
    /// again.
    pub(crate) async fn push(&mut self, chunk: &[u8], decoded: &mut Vec<u8>) -> Result<(), DecodeError> {
        let Some((innermost, outer)) = self.compressions.split_last_mut() else { return Ok(()) };
        let mut chunk = Cow::Borrowed(chunk);
        let mut failed = Ok(());
        for compression in outer {
            let mut inside = Vec::new();
            // What came out before it failed goes on.
            failed = failed.and(compression.push(&chunk, &mut inside).await);
            chunk = Cow::Owned(inside);
        }
        innermost.push(&chunk, decoded).await.and(failed)
    }

    /// The body has ended.
    ///
    /// # Errors
    /// A compression of it has not.
    pub(crate) async fn finish(&mut self) -> Result<(), DecodeError> {
        for compression in &mut self.compressions {
            compression.finish().await?;
        }
        Ok(())
    }
}

/// Decompresses the whole body of a request.
///
/// # Errors
/// It cannot be recorded.
pub(crate) fn decompressed<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
    let mut decoder = Decoder::for_body(headers)?;
    if decoder.is_identity() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::compression::{MAX_FROM_CHUNK, MAX_MEMBERS};
    use async_compression::Level;
    use async_compression::tokio::write::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    use tokio::io::AsyncWriteExt;

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

    /// The bytes in another compression.
    macro_rules! around {
        ($encoder:ident, $bytes:expr) => {{
            let mut encoder = $encoder::new(Vec::new());
            encoder.write_all($bytes).await.unwrap();
            encoder.shutdown().await.unwrap();
            encoder.into_inner()
        }};
    }

    #[tokio::test]
    async fn compressions_around_each_other_are_taken_off_from_the_last_on() {
        for (inner, outer, name) in
            [("gzip", "gzip", "gzip, gzip"), ("br", "gzip", "br,GZIP"), ("deflate", "zstd", "identity, deflate, zstd")]
        {
            let inside = compress(inner).await.concat();
            let body = if outer == "zstd" { around!(ZstdEncoder, &inside) } else { around!(GzipEncoder, &inside) };
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, name.parse().unwrap())]);
            assert_eq!(decompressed(&headers, &body).unwrap(), PARTS.concat().as_bytes(), "{name}");
            for size in [1, 7, body.len()] {
                let (mut decoder, mut decoded) = (Decoder::for_body(&headers).unwrap(), Vec::new());
                for chunk in body.chunks(size) {
                    decoder.push(chunk, &mut decoded).await.unwrap_or_else(|e| panic!("{name}, {size}: {e}"));
                }
                decoder.finish().await.unwrap();
                assert_eq!(decoded, PARTS.concat().as_bytes(), "{name}, {size}");
            }
            assert!(matches!(decompressed(&headers, &body[..body.len() - 1]), Err(DecodeError::BrokeOff)), "{name}");
            assert!(decompressed(&headers, &inside).is_err(), "{name}");
        }
        for name in ["gzip, compress", "gzip, gzip, gzip, gzip, gzip"] {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, name.parse().unwrap())]);
            assert!(matches!(Decoder::for_body(&headers), Err(DecodeError::UnknownEncoding(known)) if known == name));
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
            let mut decoder = decoder(encoding);
            decoder.compressions[0].room = 40;
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
