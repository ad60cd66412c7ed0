//! Decompressing bodies chunk by chunk for the trace. What is passed on stays compressed.

use std::borrow::Cow;
use std::io;

use async_compression::tokio::write::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use axum::http::header::{CONTENT_ENCODING, HeaderMap};
use futures::FutureExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// Decodes one `content-encoding`. The decoders write into memory, so their futures never wait.
pub(super) enum Decoder {
    Identity,
    Gzip(GzipDecoder<Vec<u8>>),
    Brotli(BrotliDecoder<Vec<u8>>),
    Zstd(ZstdDecoder<Vec<u8>>),
    /// `deflate` before its first byte, which tells which of two formats it is.
    Deflate,
    Zlib(ZlibDecoder<Vec<u8>>),
    RawDeflate(DeflateDecoder<Vec<u8>>),
}

impl Decoder {
    /// The decoder for a body with these headers. The error is the name of an unknown encoding.
    pub(crate) fn for_body(headers: &HeaderMap) -> Result<Self, String> {
        let encoding =
            headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or("?")).trim().to_ascii_lowercase();
        Ok(match encoding.as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip(GzipDecoder::new(Vec::new())),
            "br" => Self::Brotli(BrotliDecoder::new(Vec::new())),
            "zstd" => Self::Zstd(ZstdDecoder::new(Vec::new())),
            "deflate" => Self::Deflate,
            _ => return Err(encoding),
        })
    }

    /// Decodes a chunk as far as possible. After an error the decoder cannot go on.
    pub(crate) async fn push(&mut self, chunk: &[u8]) -> io::Result<Vec<u8>> {
        if let (Self::Deflate, Some(first)) = (&*self, chunk.first()) {
            // In a zlib header the low four bits are 8, the number of the deflate method.
            *self = match first & 0x0f {
                8 => Self::Zlib(ZlibDecoder::new(Vec::new())),
                _ => Self::RawDeflate(DeflateDecoder::new(Vec::new())),
            };
        }
        match self {
            Self::Identity | Self::Deflate => Ok(chunk.to_vec()),
            Self::Gzip(decoder) => {
                write(decoder, chunk).await?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Brotli(decoder) => {
                write(decoder, chunk).await?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Zstd(decoder) => {
                write(decoder, chunk).await?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Zlib(decoder) => {
                write(decoder, chunk).await?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::RawDeflate(decoder) => {
                write(decoder, chunk).await?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

/// The most bytes of a decompressed request. Larger than any body that a server takes, and small enough to hold.
const MAX_REQUEST: usize = 256 << 20;

/// Decompresses the whole body of a request. The error says why it cannot be recorded.
pub(super) fn decompressed<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    let mut decoder = Decoder::for_body(headers).map_err(|encoding| format!("content-encoding {encoding} is not known"))?;
    if matches!(decoder, Decoder::Identity) {
        return Ok(Cow::Borrowed(body));
    }
    let mut whole = Vec::new();
    // In small chunks, so that one of them cannot grow beyond all measure.
    for chunk in body.chunks(1024) {
        // Writing into memory never waits.
        let decoded = decoder.push(chunk).now_or_never().ok_or("the decoder waits")?;
        whole.extend(decoded.map_err(|error| format!("it cannot be decompressed: {error}"))?);
        if whole.len() > MAX_REQUEST {
            return Err(format!("it has more than {MAX_REQUEST} bytes"));
        }
    }
    Ok(Cow::Owned(whole))
}

async fn write(decoder: &mut (impl AsyncWrite + Unpin), chunk: &[u8]) -> io::Result<()> {
    decoder.write_all(chunk).await?;
    decoder.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
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
                assert_eq!(String::from_utf8(decoder.push(chunk).await.unwrap()).unwrap(), part, "{encoding}");
            }
        }
    }

    #[tokio::test]
    async fn chunk_boundaries_do_not_matter() {
        for encoding in ["identity", "gzip", "br", "zstd", "deflate", "raw deflate"] {
            let mut decoder = decoder(encoding);
            let mut decoded = Vec::new();
            for byte in compress(encoding).await.concat() {
                decoded.extend(decoder.push(&[byte]).await.unwrap_or_else(|e| panic!("{encoding}: {e}")));
            }
            assert_eq!(String::from_utf8(decoded).unwrap(), PARTS.concat(), "{encoding}");
        }
    }

    #[tokio::test]
    async fn whole_bodies_are_decompressed() {
        for encoding in ["identity", "gzip", "br", "zstd", "deflate", "raw deflate"] {
            let body = compress(encoding).await.concat();
            assert_eq!(decompressed(&headers(encoding), &body).unwrap(), PARTS.concat().as_bytes(), "{encoding}");
        }
        assert!(decompressed(&headers("gzip"), b"plain text").unwrap_err().contains("cannot be decompressed"));
        assert_eq!(decompressed(&headers("compress"), b"x").unwrap_err(), "content-encoding compress is not known");
    }

    #[tokio::test]
    async fn a_body_that_grows_beyond_all_measure_is_refused() {
        let mut encoder = GzipEncoder::new(Vec::new());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=MAX_REQUEST >> 20 {
            encoder.write_all(&zeros).await.unwrap();
        }
        encoder.shutdown().await.unwrap();
        assert!(decompressed(&headers("gzip"), &encoder.into_inner()).unwrap_err().starts_with("it has more than"));
    }

    #[tokio::test]
    async fn a_wrong_or_unknown_encoding_is_an_error() {
        assert!(decoder("gzip").push(b"plain text").await.is_err());
        assert_eq!(Decoder::for_body(&headers("compress")).err().as_deref(), Some("compress"));
    }
}
