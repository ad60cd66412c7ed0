//! JSON text with half a UTF-16 pair.
//!
//! A client that cuts a text in the middle of an emoji writes `"\ud83d"`. That is an escape JSON allows and no text can hold, so
//! a strict parser refuses the whole body, and with it every later turn of the conversation. Here it becomes U+FFFD.

use serde::de::DeserializeOwned;

/// Parses JSON in which lone surrogates stand for U+FFFD.
///
/// # Errors
/// The text is not JSON, or not the JSON of a `T`.
pub fn from_json<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(json).or_else(|error| match without_lone_surrogates(json) {
        Some(repaired) => serde_json::from_slice(&repaired),
        None => Err(error),
    })
}

/// The JSON text with U+FFFD in place of lone surrogates; `None` if it has none.
pub fn without_lone_surrogates(json: &[u8]) -> Option<Vec<u8>> {
    let mut repaired: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(escape) = json[at..].iter().position(|byte| *byte == b'\\').map(|found| at + found) {
        at = escape
            + match (surrogate(json, escape), surrogate(json, escape + 6)) {
                (Some(Surrogate::High), Some(Surrogate::Low)) => 12,
                (Some(_), _) => {
                    // As long as what it replaces, so positions stay.
                    repaired.get_or_insert_with(|| json.to_vec())[escape..escape + 6].copy_from_slice(b"\\ufffd");
                    6
                }
                // Whatever is escaped, be it a backslash, does not begin an escape.
                (None, _) => 2,
            };
        if at >= json.len() {
            break;
        }
    }
    repaired
}

enum Surrogate {
    High,
    Low,
}

/// Which surrogate the escape at this place is, if it is one.
fn surrogate(json: &[u8], at: usize) -> Option<Surrogate> {
    let hex = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    match u16::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()? {
        0xD800..=0xDBFF => Some(Surrogate::High),
        0xDC00..=0xDFFF => Some(Surrogate::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_surrogates_are_replaced() {
        for (json, text) in [
            (r#""\ud83d\ude00""#, "😀"),
            (r#""a\ud83d""#, "a\u{fffd}"),
            (r#""\ud83d\ud83d\ude00!""#, "\u{fffd}😀!"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\uD83Dx\n""#, "\u{fffd}x\n"),
            (r#""\ud83d\n\u0041""#, "\u{fffd}\nA"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\\\ud83d\\""#, "\\\u{fffd}\\"),
        ] {
            assert_eq!(from_json::<String>(json.as_bytes()).unwrap(), text, "{json}");
        }
        for broken in [r#""\ud83d"#, r#""\ud8"#, "\"\\", r#""\u+ABC""#, "{"] {
            assert!(from_json::<String>(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
