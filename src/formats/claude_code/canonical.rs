//! The digests that Claude Code's transcripts name messages and requests by.
//!
//! They are SHA-256 of canonical JSON: keys in order, no spaces, no escapes but those that JSON needs.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The field that says what an upstream may cache. Messages have their names without it.
pub(super) const CACHE_CONTROL: &str = "cache_control";

/// The digest of a value, in lower hex.
pub(super) fn digest(value: &Value) -> String {
    hex(|out| write(value, None, out))
}

/// The digest of a value without what it says about caching, at any depth.
pub(super) fn uncached_digest(value: &Value) -> String {
    hex(|out| write(value, Some(CACHE_CONTROL), out))
}

/// The digest by which a transcript names a message. A text as content counts as the one block that it stands for.
pub(super) fn message_digest(role: &str, content: &[Value]) -> String {
    // The keys are in order.
    hex(|out| {
        out.write_all(b"{\"content\":[")?;
        write_list(content, Some(CACHE_CONTROL), out)?;
        out.write_all(b"],\"role\":")?;
        serde_json::to_writer(&mut *out, role)?;
        out.write_all(b"}")
    })
}

/// A message's content as blocks.
pub(super) fn into_blocks(content: Value) -> Vec<Value> {
    match content {
        Value::Array(blocks) => blocks,
        text => vec![json!({"type": "text", "text": text})],
    }
}

fn hex(content: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut text = Vec::new();
    // Writing into memory cannot fail.
    content(&mut text).map(|()| format!("{:x}", Sha256::digest(&text))).unwrap_or_default()
}

fn write(value: &Value, without: Option<&str>, out: &mut Vec<u8>) -> io::Result<()> {
    match value {
        Value::Array(items) => {
            out.write_all(b"[")?;
            write_list(items, without, out)?;
            out.write_all(b"]")
        }
        Value::Object(fields) => write_object(fields, without, out),
        scalar => Ok(serde_json::to_writer(out, scalar)?),
    }
}

fn write_list(items: &[Value], without: Option<&str>, out: &mut Vec<u8>) -> io::Result<()> {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        write(item, without, out)?;
    }
    Ok(())
}

fn write_object(fields: &Map<String, Value>, without: Option<&str>, out: &mut Vec<u8>) -> io::Result<()> {
    let mut sorted: Vec<_> = fields.iter().filter(|(key, _)| without != Some(key.as_str())).collect();
    sorted.sort_by_key(|(key, _)| *key);
    out.write_all(b"{")?;
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, key)?;
        out.write_all(b":")?;
        write(value, without, out)?;
    }
    out.write_all(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_keys_and_what_is_cached_do_not_matter() {
        let one = json!({"b": [1, {"d": "é\n", "c": null}], "a": true});
        let other = json!({"a": true, "b": [1, {"c": null, "cache_control": {"type": "ephemeral"}, "d": "é\n"}]});
        let text = "{\"a\":true,\"b\":[1,{\"c\":null,\"d\":\"é\\n\"}]}";
        assert_eq!(digest(&one), format!("{:x}", Sha256::digest(text)));
        assert_eq!(uncached_digest(&other), digest(&one));
        assert_ne!(digest(&other), digest(&one));
    }

    #[test]
    fn a_message_is_named_like_the_object_that_it_is() {
        let content = into_blocks("hi".into());
        assert_eq!(message_digest("user", &content), digest(&json!({"role": "user", "content": content})));
    }
}
