//! Text in place of content blocks that a model cannot be given.

use serde_json::{Map, Value};

use crate::wire::{Content, ContentBlock};

/// The text that stands for a picture, a file, or a block of a type that only Anthropic's servers have. What can be read in it is
/// kept; else it says what was there. Empty where nothing is missing without it.
pub(super) fn stand_in(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Image { .. } => "[an image, which this model cannot see]".into(),
        ContentBlock::Document { source, extra } => document(source, extra),
        ContentBlock::Other(fields) => other(block.kind(), fields),
        _ => String::new(),
    }
}

/// Whether the block is a document whose source is text, of which the stand-in loses nothing. One of content blocks may have
/// pictures.
pub(super) fn is_readable(block: &ContentBlock) -> bool {
    matches!(block, ContentBlock::Document { source, .. } if source["type"] == "text")
}

/// A document's text, with its title and what the client says about it; of a file that is not text its name and size.
pub(super) fn document(source: &Value, extra: &Map<String, Value>) -> String {
    let said = |field: &str| extra.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let title = said("title");
    let text = match source["type"].as_str() {
        Some("text") => source["data"].as_str().map(str::to_owned),
        Some("content") => serde_json::from_value(source["content"].clone()).ok().map(|content: Content| readable(&content)),
        _ => None,
    };
    let shown = match (text, title) {
        (Some(text), None) => text,
        (Some(text), Some(title)) => format!("{title}:\n{text}"),
        (None, title) => {
            let name = title.or(source["url"].as_str()).unwrap_or("a file");
            format!("[{name}{}, which this model cannot read]", size(source))
        }
    };
    match said("context") {
        Some(context) => format!("{context}\n{shown}"),
        None => shown,
    }
}

/// Type and size of base64 data, in parentheses; nothing where a source has none.
fn size(source: &Value) -> String {
    let kind = source["media_type"].as_str();
    let bytes = source["data"].as_str().map(|base64| base64.len() / 4 * 3);
    match (kind, bytes) {
        (Some(kind), Some(bytes)) => format!(" ({kind}, {} KB)", bytes.div_ceil(1000)),
        (Some(kind), None) => format!(" ({kind})"),
        (None, _) => String::new(),
    }
}

fn other(kind: &str, fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    match kind {
        // A block without a summary, or not the last one: see [`super::compaction`].
        "compaction" => text("content").to_owned(),
        "search_result" => format!("{} ({}):\n{}", text("title"), text("source"), found(fields.get("content"))),
        "server_tool_use" | "mcp_tool_use" => {
            let input = fields.get("input").map(Value::to_string).unwrap_or_default();
            format!("[{} was called with {input}]", text("name"))
        }
        // Which model took over from which: nothing that was said.
        "fallback" => String::new(),
        _ if kind.ends_with("_tool_result") => {
            let found = found(fields.get("content"));
            let name = kind.trim_end_matches("_tool_result");
            if found.is_empty() { format!("[{name} gave no text]") } else { format!("[{name} gave:]\n{found}") }
        }
        _ => format!("[{kind}, which this model cannot read]"),
    }
}

/// The fields of a server tool's result that are written to be read.
const READABLE: [&str; 12] = [
    "title",
    "url",
    "text",
    "stdout",
    "stderr",
    "error_code",
    "tool_name",
    "tool_references",
    "content",
    "lines",
    "data",
    "source",
];

/// All that can be read in a result, a line for each field. Results of each tool nest in their own way, with these fields.
fn found(value: Option<&Value>) -> String {
    let lines = match value {
        Some(Value::String(text)) => return text.clone(),
        Some(Value::Array(values)) => values.iter().map(|value| found(Some(value))).collect::<Vec<_>>(),
        // Pictures and files are data too, but none to read.
        Some(Value::Object(fields)) if fields.get("type").is_some_and(|kind| kind == "base64") => return String::new(),
        Some(Value::Object(fields)) => READABLE.iter().map(|name| found(fields.get(*name))).collect(),
        _ => return String::new(),
    };
    lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The text of content, with stand-ins for what is not text.
fn readable(content: &Content) -> String {
    let blocks = content.blocks();
    let texts = blocks.iter().map(|block| match block {
        ContentBlock::Text { text, .. } => text.clone(),
        other => stand_in(other),
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(block: Value) -> String {
        stand_in(&serde_json::from_value(block).unwrap())
    }

    #[test]
    fn what_can_be_read_is_kept() {
        let cases = [
            (json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A"}}), "A"),
            (
                json!({"type": "document", "title": "a.md", "source": {"type": "content", "content": [{"type": "text", "text": "A"},
                    {"type": "image", "source": {}}]}}),
                "a.md:\nA\n[an image, which this model cannot see]",
            ),
            (
                json!({"type": "document", "title": "a.md", "context": "A draft.", "source": {"type": "text", "data": "A"}}),
                "A draft.\na.md:\nA",
            ),
            (
                json!({"type": "search_result", "title": "T", "source": "https://example.org", "content": [{"type": "text", "text": "A"}]}),
                "T (https://example.org):\nA",
            ),
            (
                json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "mlx"}}),
                r#"[web_search was called with {"query":"mlx"}]"#,
            ),
            (
                json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": [
                    {"type": "web_search_result", "title": "T", "url": "https://example.org", "encrypted_content": "Zm9v", "page_age": null}]}),
                "[web_search gave:]\nT\nhttps://example.org",
            ),
            (
                json!({"type": "web_search_tool_result", "tool_use_id": "s",
                    "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}}),
                "[web_search gave:]\nmax_uses_exceeded",
            ),
            (
                json!({"type": "web_fetch_tool_result", "tool_use_id": "s", "content": {"type": "web_fetch_result", "url": "https://example.org",
                    "content": {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "A"}}}}),
                "[web_fetch gave:]\nhttps://example.org\nT\nA",
            ),
            (
                json!({"type": "bash_code_execution_tool_result", "tool_use_id": "s",
                    "content": {"type": "bash_code_execution_result", "stdout": "1\n", "stderr": "", "return_code": 0}}),
                "[bash_code_execution gave:]\n1\n",
            ),
            (
                json!({"type": "mcp_tool_result", "tool_use_id": "s", "is_error": false, "content": [{"type": "text", "text": "A"}]}),
                "[mcp gave:]\nA",
            ),
            (json!({"type": "compaction", "content": "The user wants A."}), "The user wants A."),
            (json!({"type": "compaction", "content": null}), ""),
            (json!({"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}), ""),
        ];
        for (block, expected) in cases {
            assert_eq!(of(block.clone()), expected, "{block}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x".repeat(1000)});
        assert_eq!(
            of(json!({"type": "document", "title": "a.pdf", "source": pdf})),
            "[a.pdf (application/pdf, 6 KB), which this model cannot read]"
        );
        assert_eq!(
            of(json!({"type": "document", "source": {"type": "file", "file_id": "f"}})),
            "[a file, which this model cannot read]"
        );
        assert_eq!(of(json!({"type": "container_upload", "file_id": "f"})), "[container_upload, which this model cannot read]");
        assert_eq!(of(json!({"type": "hologram"})), "[hologram, which this model cannot read]");
        let picture = json!({"type": "web_fetch_tool_result", "content": {"source": {"type": "base64", "data": "AAAA"}}});
        assert_eq!(of(picture), "[web_fetch gave no text]");
    }
}
