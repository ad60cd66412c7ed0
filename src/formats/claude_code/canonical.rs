//! The digests that Claude Code's transcripts name messages and requests by.
//!
//! They are SHA-256 of canonical JSON: keys in order, no spaces, no escapes but those that JSON needs.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// The field that says what an upstream may cache. Messages have their names without it.
pub(super) const CACHE_CONTROL: &str = "cache_control";

/// The canonical JSON of a value.
pub(super) fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing into memory cannot fail.
    write(value, None, &mut text).map(|()| text).unwrap_or_default()
}

/// The digest of a request's body, in lower hex. `known`: the canonical JSON of the message at this place, where it is at hand.
pub(super) fn request_digest<'a>(body: &Map<String, Value>, known: impl Fn(usize) -> Option<&'a [u8]>) -> String {
    hex(|out| {
        write_fields(body, None, out, |key, value, out| match value {
            Value::Array(messages) if key == "messages" => {
                out.write_all(b"[")?;
                for (at, message) in messages.iter().enumerate() {
                    if at > 0 {
                        out.write_all(b",")?;
                    }
                    match known(at) {
                        Some(text) => out.write_all(text)?,
                        None => write(message, None, out)?,
                    }
                }
                out.write_all(b"]")
            }
            value => write(value, None, out),
        })
    })
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
        Value::Object(fields) => write_fields(fields, without, out, |_, value, out| write(value, without, out)),
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

/// Writes an object, each value by `each`.
fn write_fields(
    fields: &Map<String, Value>,
    without: Option<&str>,
    out: &mut Vec<u8>,
    each: impl Fn(&str, &Value, &mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    let mut sorted: Vec<_> = fields.iter().filter(|(key, _)| without != Some(key.as_str())).collect();
    sorted.sort_by_key(|(key, _)| *key);
    out.write_all(b"{")?;
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        serde_json::to_writer(&mut *out, key)?;
        out.write_all(b":")?;
        each(key, value, &mut *out)?;
    }
    out.write_all(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest of a value.
    fn digest(value: &Value) -> String {
        format!("{:x}", Sha256::digest(canonical(value)))
    }

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
    fn a_request_has_one_digest_whatever_is_known_of_its_messages() {
        let messages = [json!({"role": "user", "content": "Hi"}), json!({"content": [], "role": "assistant"})];
        let body = json!({"model": "m", "messages": messages, "a": {"messages": [1, 2]}});
        let texts = messages.map(|message| canonical(&message));
        for known in [[false, false], [true, false], [false, true], [true, true]] {
            let of_known = |at: usize| known[at].then_some(&*texts[at]);
            assert_eq!(request_digest(body.as_object().unwrap(), of_known), digest(&body));
        }
    }

    #[test]
    fn a_message_is_named_like_the_object_that_it_is() {
        let content = into_blocks("hi".into());
        assert_eq!(message_digest("user", &content), digest(&json!({"role": "user", "content": content})));
    }
}
