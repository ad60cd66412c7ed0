//! What values look like: secrets, placeholders, code or words.

use super::names::{Evidence, REDACTED};

/// How a value is written after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueForm {
    /// A string of JSON: `"name": "value"`.
    Json,
    /// A string of code: `name = "value"`.
    Quoted,
    /// As shells have it, `NAME=value`, or XML: the value is taken by the letter.
    Literal,
    /// Without quotes: `name: value`. It may be code, or prose.
    Bare,
    /// The same, with nothing else in the line, as YAML and properties have it.
    Line,
    /// Without quotes behind a name in quotes: a number of JSON, or a word like `true`.
    Number,
}

/// The fewest digits of a secret number. Shorter ones are counts.
const MIN_DIGITS: usize = 4;

/// Whether a value is a secret, by the evidence that its name demands.
pub(super) fn is_secret(value: &[u8], evidence: Evidence, form: ValueForm) -> bool {
    let has_space = value.iter().any(u8::is_ascii_whitespace);
    if is_placeholder(value) {
        return false;
    }
    match (evidence, form) {
        (Evidence::Name, ValueForm::Json | ValueForm::Literal) => true,
        // A sentence about a password.
        (Evidence::Name, ValueForm::Quoted) => !has_space || value.iter().any(u8::is_ascii_digit),
        (Evidence::Name, ValueForm::Line) if is_word(value) => true,
        (Evidence::Name, ValueForm::Bare | ValueForm::Line) => {
            (value.len() >= 5 && is_no_word(value)) || is_long_number(value) || is_mixed_run(value)
        }
        (Evidence::Name, ValueForm::Number) => is_long_number(value),
        (Evidence::Code, _) => is_code(value),
        (_, ValueForm::Number) => false,
        (Evidence::NoWord, _) => {
            !has_space && ((value.len() >= 5 && is_no_word(value) && !is_compound(value)) || is_mixed_run(value))
        }
        (Evidence::Token, _) => !has_space && is_token(value),
        (Evidence::Chance, _) => !has_space && is_chance(value),
    }
}

/// Whether a value only stands for one: empty, redacted, a variable, a row of stars.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let variable = |rest: &[u8]| match rest.first() {
        Some(b'{' | b'(') => true,
        _ => !rest.is_empty() && rest.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_'),
    };
    value.iter().all(|byte| !byte.is_ascii_alphanumeric())
        || value == REDACTED.as_bytes()
        || value.strip_prefix(b"$").is_some_and(variable)
        || value.starts_with(b"{{")
        || value.starts_with(b"%(")
        || (value.starts_with(b"<") && value.ends_with(b">"))
        || value.iter().all(|byte| byte.eq_ignore_ascii_case(&b'x') || matches!(byte, b'-' | b'.' | b'*'))
}

/// Whether no single word and no piece of code has these characters: digits, signs, capitals inside.
fn is_no_word(value: &[u8]) -> bool {
    let sign = |byte: &u8| matches!(byte, b'!' | b'@' | b'#' | b'$' | b'^' | b'*' | b'+' | b'=' | b'-' | b'~');
    value.iter().any(u8::is_ascii_digit) || value[1..].iter().any(sign)
}

/// Whether these are words with dashes between.
fn is_compound(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'-')
}

/// Words that stand where a password would: types, and what is said of one.
const NO_PASSWORDS: [&str; 40] = [
    "array",
    "boolean",
    "bytes",
    "changed",
    "default",
    "disabled",
    "empty",
    "enabled",
    "expired",
    "false",
    "field",
    "float",
    "hidden",
    "ignored",
    "incorrect",
    "inherit",
    "input",
    "integer",
    "invalid",
    "masked",
    "missing",
    "never",
    "number",
    "object",
    "optional",
    "password",
    "passwd",
    "prompt",
    "redacted",
    "required",
    "secret",
    "stdin",
    "string",
    "token",
    "undefined",
    "unknown",
    "unset",
    "value",
    "varchar",
    "wrong",
];

/// Whether this is a word of small letters that somebody may have for a password.
fn is_word(value: &[u8]) -> bool {
    value.len() >= 5 && value.iter().all(u8::is_ascii_lowercase) && !NO_PASSWORDS.iter().any(|word| word.as_bytes() == value)
}

/// Whether this is a number as JSON has it, with more digits than counts have.
fn is_long_number(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits >= MIN_DIGITS && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'))
}

/// Whether these are the digits of a code.
fn is_code(value: &[u8]) -> bool {
    value.len() >= MIN_DIGITS && value.iter().all(u8::is_ascii_digit)
}

fn is_token(value: &[u8]) -> bool {
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = value.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    value.len() >= 8 && ((digits >= 2 && letters >= 2) || is_chance(value) || is_mixed_run(value))
}

/// The fewest letters and digits in a row that may be chance. Names, dates and versions have shorter words.
const MIN_CHANCE: usize = 16;

/// The least Shannon entropy of chance, in bits for each byte. Hexadecimal digits have up to 4, random letters and digits more.
const MIN_ENTROPY: f64 = 3.0;

/// Whether the longest word in it looks random: it is long, has letters and two digits or more, and few bytes repeat.
pub(super) fn is_chance(value: &[u8]) -> bool {
    let word = longest_word(value);
    let has = |kind: fn(&u8) -> bool| word.iter().any(kind);
    let mixed = has(u8::is_ascii_alphabetic) && word.iter().filter(|byte| byte.is_ascii_digit()).count() >= 2;
    word.len() >= MIN_CHANCE && mixed && entropy(word) >= MIN_ENTROPY
}

/// Whether the longest word in it mixes large and small letters as chance does. One in twelve random words of 24 letters and
/// digits has fewer than two digits. In names of code, `likeThisOneWithManyWords`, fewer letters than one in four are large.
fn is_mixed_run(value: &[u8]) -> bool {
    let word = longest_word(value);
    let count = |kind: fn(&u8) -> bool| word.iter().filter(|byte| kind(byte)).count();
    let (large, small) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    word.len() >= MIN_CHANCE && large.min(small) * 4 >= large + small && large > 0 && entropy(word) >= MIN_ENTROPY
}

/// The longest run of ASCII letters and digits.
fn longest_word(value: &[u8]) -> &[u8] {
    value.split(|byte| !byte.is_ascii_alphanumeric()).max_by_key(|word| word.len()).unwrap_or_default()
}

/// Shannon entropy in bits for each byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let share = |count: &u32| f64::from(*count) / bytes.len() as f64;
    counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random words of 24 letters and digits, always the same.
    fn random_words(count: usize) -> impl Iterator<Item = Vec<u8>> {
        const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            BASE62[(state >> 33) as usize % 62]
        };
        (0..count).map(move |_| (0..24).map(|_| next()).collect())
    }

    #[test]
    fn of_random_tokens_hardly_one_stays() {
        for (evidence, form) in [
            (Evidence::Token, ValueForm::Json),
            (Evidence::Token, ValueForm::Literal),
            (Evidence::NoWord, ValueForm::Json),
            (Evidence::Name, ValueForm::Bare),
        ] {
            let stays = random_words(4000).filter(|word| !is_secret(word, evidence, form)).count();
            assert!(stays <= 10, "{stays} of 4000 stay behind {evidence:?}, {form:?}");
        }
    }

    #[test]
    fn words_and_names_of_code_are_no_tokens() {
        for value in [
            "letmeinthirteen",
            "getAccessTokenFromRequest",
            "CancellationTokenSource",
            "ACCESS_TOKEN_EXPIRED",
            "anotherlongwordofall",
        ] {
            assert!(!is_secret(value.as_bytes(), Evidence::Token, ValueForm::Json), "{value}");
        }
    }

    #[test]
    fn codes_have_four_digits_or_more() {
        for (value, form, is_one) in [
            ("4711", ValueForm::Json, true),
            ("482913", ValueForm::Number, true),
            ("13", ValueForm::Bare, false),
            ("1.25", ValueForm::Number, false),
            ("left-top", ValueForm::Quoted, false),
        ] {
            assert_eq!(is_secret(value.as_bytes(), Evidence::Code, form), is_one, "{value}");
        }
    }
}
