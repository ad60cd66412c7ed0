//! How deep JSON is nested. What is nested deeper than a reader follows cannot be read again once it is written.

use super::outside_strings::outside_strings;

/// How deep lists and objects may be nested in JSON that `serde_json` reads, a trace's file for one.
pub(crate) const MAX_DEPTH: usize = 127;

/// Whether a text of JSON can be read again from inside of so many lists and objects.
pub fn is_readable(json: &[u8], around: usize) -> bool {
    json_depth(json) + around <= MAX_DEPTH
}

/// How deep lists and objects are nested in a text of JSON.
fn json_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in outside_strings(json) {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
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
