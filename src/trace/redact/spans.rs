//! Finding well-known kinds of secrets in a text. Texts may have megabytes, so the search goes over them once.

use std::ops::Range;

use super::names::{REDACTED, SECRET_FIELDS, bare_name};

/// A kind of key that is known by its prefix.
struct Shape {
    /// In lower case; keys are compared without case.
    prefix: &'static str,
    /// The least number of token characters after the prefix.
    min: usize,
    /// Whether one of those must be a digit. Without one, the text may consist of ordinary words.
    needs_digit: bool,
}

const fn shape(prefix: &'static str, min: usize, needs_digit: bool) -> Shape {
    Shape { prefix, min, needs_digit }
}

/// The known kinds of keys.
const SHAPES: [Shape; 16] = [
    shape("sk-ant-", 4, false),
    shape("sk-", 16, true),
    shape("ghp_", 16, false),
    shape("gho_", 16, false),
    shape("ghu_", 16, false),
    shape("ghs_", 16, false),
    shape("ghr_", 16, false),
    shape("github_pat_", 16, false),
    shape("glpat-", 16, false),
    shape("xoxb-", 16, true),
    shape("xoxp-", 16, true),
    shape("hf_", 24, false),
    shape("aiza", 30, true),
    shape("akia", 16, false),
    shape("asia", 16, true),
    shape("bearer ", 12, true),
];

const KEY_BEGIN: &str = "-----BEGIN";
const KEY_END: &str = "-----END";
const DASHES: &str = "-----";

/// The most text that is held back for a secret that may not have ended, in bytes. No private key is longer.
const MAX_OPEN: usize = 64 * 1024;

/// The byte ranges of everything that looks like a secret, unordered; they may overlap.
pub(super) fn well_known(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut spans = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let found = match bytes[at] {
            b'-' => private_key(text, at),
            b'"' => secret_field(text, at).value,
            byte if byte.is_ascii_alphabetic() && starts_word(bytes, at) => token(bytes, at).complete,
            _ => None,
        };
        match found {
            Some(span) => {
                at = span.end.max(at + 1);
                spans.push(span);
            }
            None => at += 1,
        }
    }
    spans
}

/// Sorts ranges and joins those that touch.
pub(super) fn merge(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_by_key(|span| (span.start, span.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// Whether more text could complete or extend a well-known secret at the end of this one.
pub(super) fn is_open(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() > MAX_OPEN {
        return false;
    }
    (0..bytes.len()).any(|at| match bytes[at] {
        b'-' => {
            KEY_BEGIN.as_bytes().starts_with(&bytes[at..])
                || (text[at..].starts_with(KEY_BEGIN)
                    && private_key_end(text, at).is_none()
                    && may_be_private_key(&text[at + KEY_BEGIN.len()..]))
        }
        b'"' => secret_field(text, at).open,
        byte if byte.is_ascii_alphabetic() && starts_word(bytes, at) => token(bytes, at).open,
        _ => false,
    })
}

/// Whether the text ends with a part of `secret` from its start, but not all of it, and that part starts a word.
pub(super) fn ends_in_prefix_of(text: &str, secret: &str) -> bool {
    let bytes = text.as_bytes();
    let longest = secret.len().saturating_sub(1).min(bytes.len());
    (1..=longest).any(|length| {
        let at = bytes.len() - length;
        secret.as_bytes().starts_with(&bytes[at..]) && starts_word(bytes, at)
    })
}

/// Whether a word can start here: the byte before is neither letter nor digit, or is the letter of an escape like `\n`.
fn starts_word(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    let escape = matches!(bytes[before], b'n' | b'r' | b't') && before > 0 && bytes[before - 1] == b'\\';
    !bytes[before].is_ascii_alphanumeric() || escape
}

/// A look at a place where a key may start.
#[derive(Default)]
struct TokenMatch {
    /// The key's range, if there is one.
    complete: Option<Range<usize>>,
    /// Whether the text ends here, and more of it could make a key, or a longer one.
    open: bool,
}

fn token(bytes: &[u8], at: usize) -> TokenMatch {
    let rest = &bytes[at..];
    let mut token = TokenMatch::default();
    for Shape { prefix, min, needs_digit } in &SHAPES {
        let prefix = prefix.as_bytes();
        if rest.len() < prefix.len() {
            token.open |= prefix[..rest.len()].eq_ignore_ascii_case(rest);
            continue;
        }
        if !rest[..prefix.len()].eq_ignore_ascii_case(prefix) {
            continue;
        }
        let tail = &rest[prefix.len()..];
        let length = tail.iter().position(|b| !is_token_byte(*b)).unwrap_or(tail.len());
        token.open |= length == tail.len();
        let enough = length >= *min && (!needs_digit || tail[..length].iter().any(u8::is_ascii_digit));
        if enough && token.complete.is_none() {
            token.complete = Some(at..at + prefix.len() + length);
        }
    }
    token
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=' | b'.' | b'~')
}

/// The range of a PEM private key that starts here. Without its end line it extends to the end of the text.
fn private_key(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text[at..].strip_prefix(KEY_BEGIN)?;
    let label = &rest[..rest.find(DASHES)?];
    if !label.ends_with("PRIVATE KEY") || label.len() > 40 {
        return None;
    }
    Some(at..private_key_end(text, at).unwrap_or(text.len()))
}

fn private_key_end(text: &str, begin: usize) -> Option<usize> {
    let end = begin + text[begin..].find(KEY_END)? + KEY_END.len();
    Some(end + text[end..].find(DASHES)? + DASHES.len())
}

/// Whether the label of a PEM block, which may be cut off, can be that of a private key.
fn may_be_private_key(rest: &str) -> bool {
    rest.find(DASHES).map_or(rest.len() <= 40, |end| rest[..end].ends_with("PRIVATE KEY"))
}

/// A look at a quote that may start a secret field.
#[derive(Default)]
struct FieldMatch {
    /// The range of its value without the quotes, if it is one.
    value: Option<Range<usize>>,
    /// Whether the text ends inside the field, or before it is clear whether it is one.
    open: bool,
}

/// Looks for a field like `"api_key": "…"` whose first quote is here. Such fields are in the JSON text of tool calls and results.
/// The quotes may be escaped, as they are for JSON inside JSON.
fn secret_field(text: &str, at: usize) -> FieldMatch {
    let name_and_rest = &text[at + 1..];
    let longest = SECRET_FIELDS.iter().map(|name| name.len()).max().unwrap_or(0) + 8;
    let name_end = name_and_rest.bytes().take(longest).position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
    let Some(name_end) = name_end else {
        let name = bare_name(&name_and_rest.chars().take(longest).collect::<String>());
        let open = name_and_rest.len() < longest && SECRET_FIELDS.iter().any(|field| field.starts_with(&name));
        return FieldMatch { value: None, open };
    };
    if !SECRET_FIELDS.contains(&bare_name(&name_and_rest[..name_end]).as_str()) {
        return FieldMatch::default();
    }
    let mut cursor = &name_and_rest[name_end..];
    let mut escaped = false;
    // The name's closing quote, a colon and the value's opening quote, with white space between.
    for (blanks_before, expected) in [(false, '"'), (true, ':'), (true, '"')] {
        if blanks_before {
            cursor = cursor.trim_start_matches([' ', '\t', '\n', '\r']);
        }
        if expected == '"' && cursor.starts_with('\\') {
            escaped = true;
            cursor = &cursor[1..];
        }
        match cursor.strip_prefix(expected) {
            Some(after) => cursor = after,
            None => return FieldMatch { value: None, open: cursor.is_empty() },
        }
    }
    let start = text.len() - cursor.len();
    let length = value_length(cursor, escaped);
    let value = start..start + length.unwrap_or(cursor.len());
    let blank = value.is_empty() || &text[value.clone()] == REDACTED;
    FieldMatch { value: (!blank).then_some(value), open: length.is_none() }
}

/// The length of a JSON string up to its closing quote; `None` if the text ends first. `escaped`: the quote is, too.
fn value_length(text: &str, escaped: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escaped && bytes.get(at + 1) == Some(&b'"') => return Some(at),
            b'\\' => at += 2,
            b'"' => return Some(at),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Redactor;
    use super::*;

    #[test]
    fn well_known_kinds_are_found() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----";
        let cases = [
            ("key sk-ant-api03-Ab_c-d, ok", "key [redacted], ok"),
            ("sk-proj-0123456789abcdef", "[redacted]"),
            ("ghp_0123456789abcdefABCD", "[redacted]"),
            ("AKIAIOSFODNN7EXAMPLE.", "[redacted]"),
            ("Authorization: Bearer abcdef012345\n", "Authorization: [redacted]\n"),
            ("escaped \\nsk-ant-api03-x", "escaped \\n[redacted]"),
            (&format!("a {key} b"), "a [redacted] b"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", "[redacted]"),
            (r#"{"api_key": "a\"b", "x": "y"}"#, r#"{"api_key": "[redacted]", "x": "y"}"#),
            (r#"{\"API-Key\":\"abc\",\"x\":1}"#, r#"{\"API-Key\":\"[redacted]\",\"x\":1}"#),
        ];
        for (text, expected) in cases {
            assert_eq!(Redactor::default().text(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_text_stays() {
        for text in [
            "task-force sk-learn risk-averse-people",
            "the bearer of this letter, bearer authentication",
            "sk-ant-... is what keys look like",
            "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
            "\"max_tokens\": 5, \"token\": \"word\", \"secret\": true, \"api_key\": {\"type\": \"string\"}",
            "asia and akia",
            "",
            "\"",
            "é\"é-----é",
        ] {
            assert_eq!(Redactor::default().text(text), text);
        }
    }

    #[test]
    fn a_secret_that_may_go_on_is_open() {
        for open in [
            "see sk",
            "s",
            "sk-ant-api03-x",
            "Bearer",
            "-----BEG",
            "-----BEGIN PRIVATE KEY-----\nabc",
            "{\"api_",
            "{\"api_key\": ",
            "{\"password\":\"hun",
        ] {
            assert!(is_open(open), "{open}");
        }
        for closed in [
            "files",
            "sk-ant-api03-x ",
            "words end. ",
            "\"path\": \"q",
            "-----BEGIN CERTIFICATE----- ",
            "{\"api_key\": \"x\", ",
            "",
        ] {
            assert!(!is_open(closed), "{closed}");
        }
    }
}
