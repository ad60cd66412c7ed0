//! What is structure in a text of JSON: all but what its strings hold.

/// The bytes outside of strings; of a string only its opening quote.
pub(crate) fn outside_strings(json: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *json.get(at)?;
        at += 1;
        if byte == b'"' {
            at = after_string(json, at);
        }
        Some(byte)
    })
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
