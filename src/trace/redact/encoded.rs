//! Texts that are written in base64, as files in a request are.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Shorter ones hold no secret together with its name.
const MIN_LENGTH: usize = 20;

/// How many of the first characters are decoded to tell text from other data. A multiple of four.
const START: usize = 64;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// The same without secrets, if this is a text in base64, alone or in a `data:` address, and has some.
pub(super) fn without_secrets(value: &str, redact: impl Fn(&str) -> Cow<'_, str>) -> Option<String> {
    let (address, encoded) = match value.split_once(";base64,") {
        Some((kind, encoded)) if kind.starts_with("data:") => (&value[..value.len() - encoded.len()], encoded),
        _ => ("", value),
    };
    if encoded.len() < MIN_LENGTH || !is_text(encoded.as_bytes().get(..START).unwrap_or(encoded.as_bytes())) {
        return None;
    }
    let engine = engine(encoded.as_bytes());
    let decoded = String::from_utf8(engine.decode(encoded).ok()?).ok()?;
    match redact(&decoded) {
        Cow::Owned(clean) => Some(format!("{address}{}", engine.encode(clean))),
        Cow::Borrowed(_) => None,
    }
}

fn engine(encoded: &[u8]) -> &'static GeneralPurpose {
    if encoded.iter().any(|byte| matches!(byte, b'-' | b'_')) { &URL_SAFE } else { &STANDARD }
}

/// Whether this is how a text in base64 begins: most data is none, and most text is no base64.
fn is_text(start: &[u8]) -> bool {
    let whole = start.len() - start.len() % 4;
    let Ok(decoded) = engine(start).decode(&start[..whole]) else { return false };
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let valid = match std::str::from_utf8(&decoded) {
        Ok(_) => true,
        // A character may go on behind the start.
        Err(error) => error.error_len().is_none(),
    };
    valid && !decoded.iter().any(is_control)
}
