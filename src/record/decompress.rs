//! Decompressing an answer chunk by chunk for the trace. The client gets the compressed bytes.

use std::io;

use async_compression::tokio::write::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use axum::http::header::{CONTENT_ENCODING, HeaderMap};
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
    /// The decoder for a response with these headers. The error is the name of an unknown encoding.
    pub(crate) fn for_response(headers: &HeaderMap) -> Result<Self, String> {
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

    fn decoder(encoding: &str) -> Decoder {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, encoding.rsplit(' ').next().unwrap().parse().unwrap());
        Decoder::for_response(&headers).unwrap()
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
    async fn a_wrong_or_unknown_encoding_is_an_error() {
        assert!(decoder("gzip").push(b"plain text").await.is_err());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "compress".parse().unwrap());
        assert_eq!(Decoder::for_response(&headers).err().as_deref(), Some("compress"));
    }
}
