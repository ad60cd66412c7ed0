//! How deep JSON is nested. What is nested deeper than a reader follows cannot be read again once it is written.

/// How deep lists and objects may be nested in JSON that `serde_json` reads, a trace's file for one.
pub const MAX_DEPTH: usize = 127;

/// How deep lists and objects are nested in a text of JSON.
pub fn json_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(&byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = after_string(json, at),
            _ => {}
        }
    }
    deepest
}

/// Where the string ends whose first character is at `at`.
fn after_string(json: &[u8], mut at: usize) -> usize {
    while let Some(found) = json[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        // What is escaped ends no string.
        at = (at + 2).min(json.len());
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_not_nested() {
        for (json, depth) in
            [("", 0), ("1", 0), ("\"[{\\\"[\"", 0), ("{\"a]\": [[], {\"b\": [1]}]}", 4), ("[\"\\\\\", []]", 2), ("[\"[\\", 1)]
        {
            assert_eq!(json_depth(json.as_bytes()), depth, "{json}");
        }
    }

    #[test]
    fn the_most_is_what_is_read() {
        for (depth, is_read) in [(MAX_DEPTH, true), (MAX_DEPTH + 1, false)] {
            let json = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(json_depth(json.as_bytes()), depth);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), is_read, "{depth}");
        }
    }
}
