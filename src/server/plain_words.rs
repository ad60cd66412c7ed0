//! Rewording the parser's errors, which speak of Rust's types, for people who send JSON.

/// Where no more is known of what should stand there.
pub(super) const UNEXPECTED: &str = "something else is expected here";

/// The reason without words of Rust: `a list is expected, not "a"`.
pub(super) fn in_plain_words(reason: &str) -> String {
    let given_and_expected = reason.strip_prefix("invalid type: ").or_else(|| reason.strip_prefix("invalid value: "));
    if let Some((given, expected)) = given_and_expected.and_then(|rest| rest.rsplit_once(", expected ")) {
        return format!("{} is expected, not {}", expected_in_json(expected), given_in_json(given));
    }
    if let Some((given, expected)) = reason.strip_prefix("unknown variant ").and_then(|rest| rest.split_once(", expected ")) {
        let names = expected.trim_start_matches("one of ").replace(" or ", ", ");
        return format!("{} is none of {}", given.replace('`', "\""), names.replace('`', "\""));
    }
    if reason.starts_with("data did not match any variant") {
        return UNEXPECTED.to_owned();
    }
    reason.to_owned()
}

fn expected_in_json(expected: &str) -> String {
    let word = expected.split(' ').next().unwrap_or_default();
    match expected {
        "a map" | "map" => "an object",
        "a sequence" | "sequence" => "a list",
        "variant identifier" | "string" | "string or map" | "unit" => "a string",
        _ if expected.starts_with("variant index") => "a string",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        _ if ["struct", "enum", "internally", "adjacently"].contains(&word) => "an object",
        other => other,
    }
    .to_owned()
}

fn given_in_json(given: &str) -> String {
    match given {
        "sequence" => "a list",
        "map" => "an object",
        "unit value" => "null",
        other => ["integer ", "boolean ", "floating point ", "string "]
            .iter()
            .find_map(|kind| other.strip_prefix(kind))
            .unwrap_or(other),
    }
    .trim_matches('`')
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_rust_become_those_of_json() {
        for (reason, plain) in [
            ("invalid type: sequence, expected struct MessagesRequest", "an object is expected, not a list"),
            (
                "invalid type: string \"a, expected b\", expected u32",
                "a whole number from 0 on is expected, not \"a, expected b\"",
            ),
            ("invalid value: integer `-1`, expected u32", "a whole number from 0 on is expected, not -1"),
            ("invalid type: floating point `1.5`, expected i64", "a whole number is expected, not 1.5"),
            ("invalid type: null, expected f32", "a number is expected, not null"),
            ("invalid type: map, expected a sequence", "a list is expected, not an object"),
            ("invalid type: boolean `true`, expected internally tagged enum ToolChoice", "an object is expected, not true"),
            ("unknown variant `a`, expected `b` or `c`", "\"a\" is none of \"b\", \"c\""),
            ("unknown variant `a`, expected one of `b`, `c`, `d`", "\"a\" is none of \"b\", \"c\", \"d\""),
            ("invalid type: integer `7`, expected string or map", "a string is expected, not 7"),
            ("data did not match any variant of untagged enum StopSequences", "something else is expected here"),
            ("messages: is wrong", "messages: is wrong"),
        ] {
            assert_eq!(in_plain_words(reason), plain);
        }
    }
}
