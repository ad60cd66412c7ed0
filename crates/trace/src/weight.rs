//! What JSON weighs in memory once it is parsed. A hundred megabytes of `[[],[],…]` become gigabytes.

use super::outside_strings::outside_strings;

/// What a value weighs without its text: an element of a list, or a field with its name and place in the table.
const VALUE: usize = 96;

/// What an object weighs with its table.
const OBJECT: usize = 320;

/// What a text of JSON weighs at most, beside the text in it.
pub fn json_weight(json: &[u8]) -> usize {
    let weights = outside_strings(json).map(|byte| match byte {
        b',' | b'[' => VALUE,
        b'{' => OBJECT,
        _ => 0,
    });
    VALUE + weights.sum::<usize>()
}

/// Whether a text of JSON weighs more than this, beside the text in it. A short one is not gone through: no byte of one weighs more
/// than an object does.
pub fn is_heavier(json: &[u8], most: usize) -> bool {
    json.len().saturating_mul(OBJECT).saturating_add(VALUE) > most && json_weight(json) > most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_texts_weighs_nothing() {
        for (json, weight) in [
            ("1", VALUE),
            ("[1,2]", 3 * VALUE),
            ("{\"a\":1,\"b\":[]}", 3 * VALUE + OBJECT),
            ("\"[,{\\\",[\"", VALUE),
            ("\"\\\\\",1", 2 * VALUE),
        ] {
            assert_eq!(json_weight(json.as_bytes()), weight, "{json}");
            assert!(!is_heavier(json.as_bytes(), weight) && is_heavier(json.as_bytes(), weight - 1), "{json}");
        }
    }
}
