//! One number for a JSON value, the same however it is written. Pure.

use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;

/// A SHA-256.
pub type Digest = [u8; 32];

/// The digest of a value. The order of keys does not count.
pub fn digest(value: &Value) -> Digest {
    let mut hash = Sha256::new();
    add(value, &mut hash);
    hash.finalize().into()
}

/// Adds a value. Each kind begins with a byte of its own, and what has a length with its length, so that no two values add the
/// same bytes.
pub(super) fn add(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(value) => hash.update(if *value { b"t" } else { b"f" }),
        Value::Number(number) => {
            hash.update(b"#");
            add_text(&number.to_string(), hash);
        }
        Value::String(text) => {
            hash.update(b"\"");
            add_text(text, hash);
        }
        Value::Array(items) => {
            hash.update(b"[");
            add_length(items.len(), hash);
            items.iter().for_each(|item| add(item, hash));
        }
        Value::Object(fields) => {
            hash.update(b"{");
            add_length(fields.len(), hash);
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in fields {
                add_text(name, hash);
                add(value, hash);
            }
        }
    }
}

pub(super) fn add_text(text: &str, hash: &mut Sha256) {
    add_length(text.len(), hash);
    hash.update(text);
}

fn add_length(length: usize, hash: &mut Sha256) {
    hash.update((length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::trace::outline::tests::json_value;

    proptest! {
        #[test]
        fn values_with_one_digest_are_equal(one in json_value(), other in json_value()) {
            prop_assert_eq!(digest(&one) == digest(&other), one == other);
        }
    }

    #[test]
    fn another_spelling_is_the_same_and_another_value_is_not() {
        let keys = |text: &str| digest(&serde_json::from_str(text).unwrap());
        assert_eq!(keys(r#"{"a": 1, "b": [2]}"#), keys(r#"{ "b":[2], "a":1 }"#));
        let values = [
            json!(null),
            json!(false),
            json!(0),
            json!("0"),
            json!(""),
            json!([]),
            json!({}),
            json!([[]]),
            json!([[], []]),
            json!({"a": null}),
            json!(1),
            json!(1.0),
            json!(1e300),
            json!("ab"),
            json!(["a", "b"]),
            json!(["ab", ""]),
        ];
        assert_eq!(values.iter().map(digest).collect::<HashSet<_>>().len(), values.len());
    }
}
