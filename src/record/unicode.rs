//! In which of Unicode's encodings a body is written. JSON is UTF-8, but servers and clients read other encodings too.

use std::borrow::Cow;

/// A body as a text.
pub(super) enum UnicodeText<'a> {
    /// In UTF-8, without a byte order mark. A body that is no text stays as it is.
    Utf8(Cow<'a, [u8]>),
    /// In UTF-32, which nobody sends and nothing here reads.
    Utf32,
}

/// Tells the encoding by the byte order mark, or else by where the first characters, which in JSON are ASCII, have zeros.
pub(super) fn text_in(body: &[u8]) -> UnicodeText<'_> {
    match body {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [1..=255, 0, 0, 0, ..] | [0, 0, 0, 1..=255, ..] => UnicodeText::Utf32,
        [0xef, 0xbb, 0xbf, rest @ ..] => UnicodeText::Utf8(Cow::Borrowed(rest)),
        [0xff, 0xfe, rest @ ..] => from_utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => from_utf16(rest, u16::from_be_bytes),
        [1..=255, 0, 1..=255, ..] | [1..=255, 0] => from_utf16(body, u16::from_le_bytes),
        [0, 1..=255, 0, ..] | [0, 1..=255] => from_utf16(body, u16::from_be_bytes),
        _ => UnicodeText::Utf8(Cow::Borrowed(body)),
    }
}

/// Half of a pair becomes U+FFFD. An odd byte at the end, as a body that broke off has it, is left out.
fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> UnicodeText<'static> {
    let (pairs, _) = bytes.as_chunks::<2>();
    let characters = char::decode_utf16(pairs.iter().map(|pair| unit(*pair)));
    let text: String = characters.map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    UnicodeText::Utf8(Cow::Owned(text.into_bytes()))
}
