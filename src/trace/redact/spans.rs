//! Where well-known kinds of secrets are in a text. Pure, and written for texts of megabytes: one look per byte.

use std::ops::Range;

use super::{REDACTED, SECRET_FIELDS, bare_name};

/// A kind of key that its own look gives away: a prefix, then this many or more token characters.
struct Shape {
    prefix: &'static str,
    min: usize,
    /// Without a digit it may be an ordinary word.
    needs_digit: bool,
}

const fn shape(prefix: &'static str, min: usize, needs_digit: bool) -> Shape {
    Shape { prefix, min, needs_digit }
}

/// Prefixes are compared without case.
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

/// No private key is longer; a begin without an end does not hold a stream up for more than this.
const MAX_OPEN: usize = 64 * 1024;

/// Every span that looks like a secret, in no order; they may overlap.
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

/// Sorts spans and joins those that touch.
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

/// Whether more text could complete a secret that begins in this one.
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

/// Whether the text ends in a proper beginning of `secret`, at the start of a word.
pub(super) fn ends_in_prefix_of(text: &str, secret: &str) -> bool {
    let bytes = text.as_bytes();
    let longest = secret.len().saturating_sub(1).min(bytes.len());
    (1..=longest).any(|length| {
        let at = bytes.len() - length;
        secret.as_bytes().starts_with(&bytes[at..]) && starts_word(bytes, at)
    })
}

/// Whether a word can start here: the byte before is no letter or digit, or it is the letter of an escape like `\n`.
fn starts_word(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    let escape = matches!(bytes[before], b'n' | b'r' | b't') && before > 0 && bytes[before - 1] == b'\\';
    !bytes[before].is_ascii_alphanumeric() || escape
}

#[derive(Default)]
struct Token {
    complete: Option<Range<usize>>,
    /// It reaches the end of the text, and more could make it a secret, or a longer one.
    open: bool,
}

fn token(bytes: &[u8], at: usize) -> Token {
    let rest = &bytes[at..];
    let mut token = Token::default();
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

/// A PEM private key that begins here; to the end of the text where its end is missing.
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

/// Whether a label that may still be cut off can be a private key's.
fn may_be_private_key(rest: &str) -> bool {
    rest.find(DASHES).map_or(rest.len() <= 40, |end| rest[..end].ends_with("PRIVATE KEY"))
}

#[derive(Default)]
struct Field {
    /// The value's span, without its quotes.
    value: Option<Range<usize>>,
    /// The text ends inside of it, or before it is clear whether it is one.
    open: bool,
}

/// `"api_key": "…"` inside a text (JSON in a tool's arguments or results) whose first quote is here. The quotes may be
/// escaped, as they are in JSON inside of JSON.
fn secret_field(text: &str, at: usize) -> Field {
    let name_and_rest = &text[at + 1..];
    let longest = SECRET_FIELDS.iter().map(|name| name.len()).max().unwrap_or(0) + 8;
    let name_end = name_and_rest.bytes().take(longest).position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')));
    let Some(name_end) = name_end else {
        let name = bare_name(&name_and_rest.chars().take(longest).collect::<String>());
        let open = name_and_rest.len() < longest && SECRET_FIELDS.iter().any(|field| field.starts_with(&name));
        return Field { value: None, open };
    };
    if !SECRET_FIELDS.contains(&bare_name(&name_and_rest[..name_end]).as_str()) {
        return Field::default();
    }
    let mut cursor = &name_and_rest[name_end..];
    let mut escaped = false;
    // The name's closing quote, a colon, the value's opening quote; blanks between.
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
            None => return Field { value: None, open: cursor.is_empty() },
        }
    }
    let start = text.len() - cursor.len();
    let length = value_length(cursor, escaped);
    let value = start..start + length.unwrap_or(cursor.len());
    let blank = value.is_empty() || &text[value.clone()] == REDACTED;
    Field { value: (!blank).then_some(value), open: length.is_none() }
}

/// The length of a JSON string's inside, up to its closing quote; `None` where the text ends first.
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
    fn what_may_go_on_is_open() {
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
