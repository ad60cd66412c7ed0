//! What names, ids and other short values of a protocol look like. What looks otherwise is not taken for structure.

/// The most bytes of a name. The longest that Anthropic allows for tools.
const MAX_NAME: usize = 128;

/// Whether every byte is a letter, a digit or one of these, and there is at least one and no more than a name has.
fn consists_of(text: &str, signs: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || signs.contains(&byte))
}

/// A tool, a parameter, a value of an enumeration.
pub(super) fn is_name(text: &str) -> bool {
    consists_of(text, b"_-.:$")
}

/// A model: `claude-opus-4-5`, `us.anthropic.claude-v2:0`, `organisation/model-4bit`. No path and no address.
pub(super) fn is_model(text: &str) -> bool {
    consists_of(text, b"_-.:/@") && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && !text.contains("//")
}

/// How ids of blocks, calls, messages and items begin.
const ID_STARTS: [&str; 15] = [
    "toolu_",
    "srvtoolu_",
    "mcptoolu_",
    "msg_",
    "call_",
    "chatcmpl-",
    "cmpl-",
    "resp_",
    "fc_",
    "rs_",
    "ctc_",
    "item_",
    "msgbatch_",
    "file_",
    "functions.",
];

/// An id of a block, a call or a message. What begins in another way may be anybody's.
pub(super) fn is_id(text: &str) -> bool {
    consists_of(text, b"_-.:|") && ID_STARTS.iter().any(|start| text.starts_with(start))
}

/// A media type with its parameters: `text/plain; charset=utf-8`.
pub(super) fn is_media(text: &str) -> bool {
    const KINDS: [&str; 8] = ["application", "audio", "font", "image", "multipart", "text", "video", "*"];
    let mut parts = text.split(';');
    let kind = parts.next().and_then(|kind| kind.trim().split_once('/'));
    let known = kind.is_some_and(|(kind, sub)| KINDS.contains(&kind) && consists_of(sub, b".+-*"));
    let is_parameter = |part: &str| {
        part.trim().split_once('=').is_some_and(|(name, value)| match name {
            "charset" => ["utf-8", "us-ascii"].contains(&value.to_ascii_lowercase().as_str()),
            "q" => is_number(value),
            _ => false,
        })
    };
    known && parts.all(is_parameter)
}

/// A number, perhaps with a unit of one letter or two: `600`, `0.9`, `12ms`.
pub(super) fn is_number(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    text.starts_with(|c: char| c.is_ascii_digit()) && ["", "s", "ms", "m", "h", "%"].contains(&unit)
}

/// A version: `0.128.0`, `v24.1.0`, `2.1.331-rc.1`.
pub(super) fn is_version(text: &str) -> bool {
    let digits = text.trim_start_matches('v');
    let parts = || digits.split(['.', '-', '+']);
    let known = |part: &str| ["alpha", "beta", "rc", "dev", "canary", "nightly"].contains(&part);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && parts().all(|part| known(part) || part.bytes().all(|b| b.is_ascii_digit()))
}

/// A date and time as HTTP or RFC 3339 have it.
pub(super) fn is_date(text: &str) -> bool {
    const WORDS: [&str; 23] = [
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
        "Nov", "Dec", "GMT", "UTC", "T", "Z",
    ];
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    words.all(|word| WORDS.contains(&word)) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ,:.+-".contains(&byte))
}

/// A beta of Anthropic's API: words, then a date.
pub(super) fn is_beta(text: &str) -> bool {
    let digits: String = text.chars().rev().take_while(|c| c.is_ascii_digit() || *c == '-').filter(|c| *c != '-').collect();
    consists_of(text, b"-") && digits.len() >= 8
}

/// A regular expression that spells nothing: single letters, classes and escapes, and the beginnings of ids and addresses.
pub(super) fn is_wordless(pattern: &str) -> bool {
    const KNOWN: [&str; 6] = ["http", "https", "toolu", "srvtoolu", "msg", "file"];
    let mut words = pattern.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() > 2);
    words.all(|word| KNOWN.contains(&word))
}

/// The length in bytes of the longest start of the text whose characters belong together.
pub(super) fn length_while(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_tell_structure_from_text() {
        type Shape = fn(&str) -> bool;
        let table: [(&str, Shape, &[&str], &[&str]); 9] = [
            ("name", is_name, &["tool_use", "mcp__a__b", "-C", "$ref", "x.y"], &["", "two words", "a/b", "é", "me@corp", "a,b"]),
            (
                "model",
                is_model,
                &["claude-opus-4-5", "us.anthropic.claude-v2:0", "mlx-community/Qwen3-4bit"],
                &["/srv/models/ours", "https://gateway.corp/m", "our model", "~/m"],
            ),
            ("id", is_id, &["toolu_01A", "functions.Read:0", "call_1|fc_2"], &["", "a b", "a/b", "Meier", "id1"]),
            (
                "media",
                is_media,
                &["image/png", "text/event-stream; charset=utf-8", "*/*", "text/html;q=0.9"],
                &["png", "secret/png", "text/plain; name=mine.txt"],
            ),
            ("number", is_number, &["600", "0.9", "12ms"], &["", "x1", "12 apples"]),
            ("version", is_version, &["0.128.0", "v24.1.0", "2.1-rc.1"], &["", "two", "1.0-mine"]),
            ("date", is_date, &["Sat, 28 Nov 2026 03:04:13 GMT", "2026-11-28T03:04:13Z"], &["Satan", "28 Nov @ home"]),
            ("beta", is_beta, &["claude-code-20250219", "effort-2025-11-24"], &["mine", "x-2025", "a b-20250219"]),
            ("wordless", is_wordless, &["^[a-z0-9_-]{6,}$", r"^\d+$", "^https?://"], &["^ACME-[0-9]+$", "secret"]),
        ];
        for (name, shape, fits, does_not) in table {
            fits.iter().for_each(|text| assert!(shape(text), "{name}: {text}"));
            does_not.iter().for_each(|text| assert!(!shape(text), "{name}: {text}"));
        }
    }
}
