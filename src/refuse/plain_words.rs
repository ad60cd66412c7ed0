//! Rewording the parser's errors, which speak of Rust's types, as Anthropic words them.

/// What is said where no more is known of what should stand there.
pub(super) const UNEXPECTED: &str = "Input should be of another type";

/// The reason without words of Rust: `Input should be a valid list`.
pub(super) fn in_plain_words(reason: &str) -> String {
    let given_and_expected = reason.strip_prefix("invalid type: ").or_else(|| reason.strip_prefix("invalid value: "));
    if let Some((given, expected)) = given_and_expected.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("Input should be {}", expected_in_json(given, expected));
    }
    if let Some((_, expected)) = reason.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        let names = expected.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "'");
        return match names.rsplit_once(", ") {
            Some((first, last)) => format!("Input should be {first} or {last}"),
            None => format!("Input should be {names}"),
        };
    }
    if reason.starts_with("data did not match any variant") {
        return UNEXPECTED.to_owned();
    }
    reason.to_owned()
}

/// Whether the reason is that something else stands where the parser expects the name of a variant.
pub(super) fn expects_name(reason: &str) -> bool {
    let names = ["variant identifier", "string or map", "variant index"];
    reason.rsplit_once(", expected ").is_some_and(|(_, expected)| names.iter().any(|name| expected.starts_with(name)))
}

fn expected_in_json(given: &str, expected: &str) -> String {
    let word = expected.split(' ').next().unwrap_or_default();
    match expected {
        "a map" | "map" => "a valid dictionary",
        "a sequence" | "sequence" => "a valid list",
        "variant identifier" | "a string" | "string" | "string or map" | "unit" => "a valid string",
        "a boolean" => "a valid boolean",
        "u8" | "u16" | "u32" | "u64" | "usize" if given.starts_with("integer `-") => "greater than or equal to 0",
        "u32" if given.starts_with("integer") => "less than or equal to 4294967295",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => "a valid integer",
        "f32" | "f64" => "a valid number",
        _ if expected.starts_with("variant index") => "a valid string",
        _ if expected.starts_with("a string or a list") => "a valid string or list",
        _ if ["struct", "enum", "internally", "adjacently"].contains(&word) => "a valid dictionary",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_rust_become_those_of_json() {
        for (reason, plain) in [
            ("invalid type: sequence, expected struct MessagesRequest", "Input should be a valid dictionary"),
            ("invalid type: string \"a, expected b\", expected u32", "Input should be a valid integer"),
            ("invalid value: integer `-1`, expected u32", "Input should be greater than or equal to 0"),
            ("invalid value: integer `4294967296`, expected u32", "Input should be less than or equal to 4294967295"),
            ("invalid type: floating point `1.5`, expected i64", "Input should be a valid integer"),
            ("invalid type: null, expected f32", "Input should be a valid number"),
            ("invalid type: string \"yes\", expected a boolean", "Input should be a valid boolean"),
            ("invalid type: map, expected a sequence", "Input should be a valid list"),
            ("invalid type: integer `7`, expected a string or a list of items", "Input should be a valid string or list"),
            ("invalid type: boolean `true`, expected internally tagged enum ToolChoice", "Input should be a valid dictionary"),
            ("unknown variant `a`, expected `b`", "Input should be 'b'"),
            ("unknown variant `a`, expected `b` or `c`", "Input should be 'b' or 'c'"),
            ("unknown variant `a`, expected one of `b`, `c`, `d`", "Input should be 'b', 'c' or 'd'"),
            ("invalid type: integer `7`, expected string or map", "Input should be a valid string"),
            ("data did not match any variant of untagged enum Several", "Input should be of another type"),
            ("messages: is wrong", "messages: is wrong"),
        ] {
            assert_eq!(in_plain_words(reason), plain);
        }
    }
}
