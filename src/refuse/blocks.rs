//! What Anthropic refuses in a content block although it parses. Reasons continue the block's path.

use serde_json::Value;

use super::expected::{Expected, may_be, must_be, must_be_object, must_be_text, read};
use super::{cache_control, tools};
use crate::wire::{Content, ContentBlock, Role, Tool};

/// Checks a block of a message with this role.
pub(super) fn check(block: &ContentBlock, role: Role) -> Result<(), String> {
    check_role(block, role)?;
    check_fields(block)?;
    match block {
        ContentBlock::ToolResult { content: Some(content), .. } => {
            let mut inner = content.listed().iter().enumerate();
            inner.try_for_each(|(at, inner)| check_fields(inner).map_err(|reason| format!(".tool_result.content.{at}{reason}")))
        }
        _ => Ok(()),
    }
}

fn check_role(block: &ContentBlock, role: Role) -> Result<(), String> {
    match (block, role) {
        (ContentBlock::ToolUse { .. }, Role::User | Role::System) => {
            Err(": `tool_use` blocks can only be in `assistant` messages".into())
        }
        (ContentBlock::Thinking { .. } | ContentBlock::RedactedThinking { .. }, Role::User | Role::System) => {
            Err(format!(": `{}` blocks can only be in `assistant` messages", block.kind()))
        }
        (ContentBlock::ToolResult { .. }, Role::Assistant | Role::System) => {
            Err(": `tool_result` blocks can only be in `user` messages".into())
        }
        (ContentBlock::ToolAddition { .. } | ContentBlock::ToolRemoval { .. }, Role::Assistant) => {
            Err(format!(": `{}` blocks can only be in `system` messages", block.kind()))
        }
        (ContentBlock::ToolReference { .. }, Role::Assistant) => {
            Err(": `tool_reference` blocks can only be in `tool_result` blocks".into())
        }
        _ => Ok(()),
    }
}

/// Checks a block of any role, without the blocks inside of it.
pub(super) fn check_fields(block: &ContentBlock) -> Result<(), String> {
    let block_type = block.kind();
    match block {
        ContentBlock::ToolUse { input, .. } => must_be_object(input, ".tool_use.input"),
        ContentBlock::Image { source, .. } | ContentBlock::Document { source, .. } => {
            check_source(source, &format!("{block_type}.source"))
        }
        ContentBlock::ToolAddition { tool, .. } if tool.get("definition").is_some() => {
            let defined: Tool = read(tool.get("definition"), "tool.definition")?;
            tools::check_one(&defined).map_err(|reason| format!(".tool.definition{reason}"))
        }
        ContentBlock::ToolAddition { tool, .. } | ContentBlock::ToolRemoval { tool, .. } => {
            must_be_object(tool, ".tool")?;
            must_be_text(tool.get("name"), ".tool.name")
        }
        _ => Ok(()),
    }?;
    let Some(extra) = block.extra() else { return Ok(()) };
    let (required, optional) = fields(block_type);
    for (name, expected) in required {
        must_be(*expected, extra.get(*name), &format!(".{block_type}.{name}"))?;
    }
    for (name, expected) in optional {
        may_be(*expected, extra.get(*name), &format!(".{block_type}.{name}"))?;
    }
    if block_type == "search_result" {
        read::<Content>(extra.get("content"), "search_result.content")?;
    }
    cache_control::check(extra).map_err(|reason| format!(".{block_type}.{reason}"))
}

/// Names of fields with what they must be.
type ExpectedFields = &'static [(&'static str, Expected)];

/// The fields, required and optional, of a block type that its variant of [`ContentBlock`] keeps as they came.
fn fields(block_type: &str) -> (ExpectedFields, ExpectedFields) {
    use Expected::{Boolean, List, Object, ObjectOrList, Text, TextOrList};
    match block_type {
        "text" => (&[], &[("citations", List)]),
        "document" => (&[], &[("title", Text), ("context", Text), ("citations", Object)]),
        "search_result" => (&[("source", Text), ("title", Text), ("content", List)], &[("citations", Object)]),
        // Without a summary, compaction has failed.
        "compaction" => (&[], &[("content", Text)]),
        "server_tool_use" => (&[("id", Text), ("name", Text), ("input", Object)], &[]),
        "mcp_tool_use" => (&[("id", Text), ("name", Text), ("server_name", Text), ("input", Object)], &[]),
        "container_upload" => (&[("file_id", Text)], &[]),
        "mcp_tool_result" => (&[("tool_use_id", Text)], &[("content", TextOrList), ("is_error", Boolean)]),
        "advisor_tool_result" => (&[("tool_use_id", Text)], &[]),
        "web_search_tool_result"
        | "web_fetch_tool_result"
        | "code_execution_tool_result"
        | "bash_code_execution_tool_result"
        | "text_editor_code_execution_tool_result"
        | "tool_search_tool_result" => (&[("tool_use_id", Text), ("content", ObjectOrList)], &[]),
        _ => (&[], &[]),
    }
}

/// Checks where a picture or a file comes from. Sources of other types may be known to Anthropic by now.
fn check_source(source: &Value, field: &str) -> Result<(), String> {
    must_be_object(source, &format!(".{field}"))?;
    must_be_text(source.get("type"), &format!(".{field}.type"))?;
    let kind = source["type"].as_str().unwrap_or_default();
    let required: &[&str] = match kind {
        "base64" => &["media_type", "data"],
        "text" => &["data"],
        "url" => &["url"],
        "file" => &["file_id"],
        "content" => return read::<Content>(source.get("content"), &format!("{field}.{kind}.content")).map(drop),
        _ => &[],
    };
    required.iter().try_for_each(|name| must_be_text(source.get(*name), &format!(".{field}.{kind}.{name}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::refused;
    use super::*;

    /// Why a conversation is refused whose second message is this block.
    fn in_message(role: &str, block: Value) -> String {
        let messages = json!([{"role": "user", "content": "Hi"}, {"role": role, "content": [block]}]);
        refused(messages, json!([])).unwrap_or_default()
    }

    #[test]
    fn known_blocks_with_wrong_fields_are_refused() {
        let document = |fields: Value| {
            let mut block = json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A"}});
            block.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            block
        };
        let image = |source: Value| json!({"type": "image", "source": source});
        let parts = |content: Value| document(json!({"source": {"type": "content", "content": content}}));
        let text = |mark: Value| json!({"type": "text", "text": "a", "cache_control": mark});
        let blocks = [
            document(json!({"title": 7})),
            document(json!({"context": ["a"]})),
            document(json!({"citations": true})),
            document(json!({"source": {"type": "text", "data": {"a": 1}}})),
            parts(json!([{"type": "text"}])),
            parts(json!(7)),
            parts(Value::Null),
            image(json!({"type": "base64", "media_type": "image/png"})),
            image(json!({"type": "base64", "data": "AAAA"})),
            image(json!({"type": "url", "url": 5})),
            text(json!("ephemeral")),
            text(json!({})),
            text(json!({"type": "forever"})),
            text(json!({"type": "ephemeral", "ttl": "2h"})),
            json!({"type": "text", "text": "a", "citations": "b"}),
            json!({"type": "compaction", "content": {"text": "a"}}),
            json!({"type": "search_result", "source": "s", "content": []}),
            json!({"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": 1}]}),
            json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": "{}"}),
            json!({"type": "mcp_tool_use", "id": "s", "name": "a", "input": {}}),
            json!({"type": "web_search_tool_result", "content": []}),
            json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": "a"}),
            json!({"type": "mcp_tool_result", "tool_use_id": "s", "content": {"a": 1}}),
            json!({"type": "mcp_tool_result", "tool_use_id": "s", "is_error": "no"}),
            json!({"type": "container_upload"}),
            json!({"type": "tool_addition", "tool": {"definition": 7}}),
            json!({"type": "tool_addition", "tool": {"definition": {}}}),
            json!({"type": "tool_addition", "tool": {"definition": {"name": "a b"}}}),
            json!({"type": "tool_addition", "tool": {"definition": {"name": "a", "input_schema": 5}}}),
            json!({"type": "tool_result", "tool_use_id": "t", "content": [document(json!({"title": 7}))]}),
        ];
        insta::assert_snapshot!(blocks.map(|block| in_message("user", block)).join("\n"), @r#"
        messages.1.content.0.document.title: Input should be a valid string
        messages.1.content.0.document.context: Input should be a valid string
        messages.1.content.0.document.citations: Input should be a valid dictionary
        messages.1.content.0.document.source.text.data: Input should be a valid string
        messages.1.content.0.document.source.content.content.0.text.text: Field required
        messages.1.content.0.document.source.content.content: Input should be a valid string or list
        messages.1.content.0.document.source.content.content: Input should be a valid string or list
        messages.1.content.0.image.source.base64.data: Field required
        messages.1.content.0.image.source.base64.media_type: Field required
        messages.1.content.0.image.source.url.url: Input should be a valid string
        messages.1.content.0.text.cache_control: Input should be a valid dictionary
        messages.1.content.0.text.cache_control.type: Field required
        messages.1.content.0.text.cache_control.type: Input should be 'ephemeral'
        messages.1.content.0.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'
        messages.1.content.0.text.citations: Input should be a valid list
        messages.1.content.0.compaction.content: Input should be a valid string
        messages.1.content.0.search_result.title: Field required
        messages.1.content.0.search_result.content.0.text.text: Input should be a valid string
        messages.1.content.0.server_tool_use.input: Input should be a valid dictionary
        messages.1.content.0.mcp_tool_use.server_name: Field required
        messages.1.content.0.web_search_tool_result.tool_use_id: Field required
        messages.1.content.0.web_search_tool_result.content: Input should be a valid dictionary or list
        messages.1.content.0.mcp_tool_result.content: Input should be a valid string or list
        messages.1.content.0.mcp_tool_result.is_error: Input should be a valid boolean
        messages.1.content.0.container_upload.file_id: Field required
        messages.1.content.0.tool.definition: Input should be a valid dictionary
        messages.1.content.0.tool.definition.name: Field required
        messages.1.content.0.tool.definition.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'
        messages.1.content.0.tool.definition.custom.input_schema: Input should be a valid dictionary
        messages.1.content.0.tool_result.content.0.document.title: Input should be a valid string
        "#);
    }

    #[test]
    fn known_blocks_with_right_fields_are_taken() {
        let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBE"});
        for block in [
            json!({"type": "document", "title": null, "context": "c", "citations": {"enabled": true}, "source": pdf}),
            json!({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}),
            json!({"type": "image", "source": {"type": "file", "file_id": "f"}}),
            json!({"type": "image", "source": {"type": "telepathy"}}),
            json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}}),
            json!({"type": "text", "text": "a", "cache_control": null, "citations": null}),
            json!({"type": "compaction", "content": null}),
            json!({"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "a"}]}),
            json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "mlx"}}),
            json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": {"error_code": "e"}}),
            json!({"type": "hologram", "title": 7}),
        ] {
            assert_eq!(in_message("assistant", block.clone()), "", "{block}");
        }
    }

    #[test]
    fn blocks_are_where_they_may_be_and_hold_what_they_must() {
        let in_message = |role: &str, block: Value| {
            let messages = json!([{"role": "user", "content": "Hi"}, {"role": role, "content": [block]}]);
            refused(messages, json!([])).unwrap_or_default()
        };
        let call = json!({"type": "tool_use", "id": "t", "name": "X", "input": {}});
        let result = |content: Value| json!({"type": "tool_result", "tool_use_id": "t", "content": content});
        for (role, block, reason) in [
            ("assistant", call.clone(), ""),
            ("user", call, "messages.1.content.0: `tool_use` blocks can only be in `assistant` messages"),
            ("assistant", result(json!("")), "messages.1.content.0: `tool_result` blocks can only be in `user` messages"),
            (
                "user",
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                "messages.1.content.0: `thinking` blocks can only be in `assistant` messages",
            ),
            (
                "user",
                json!({"type": "image", "source": "a.png"}),
                "messages.1.content.0.image.source: Input should be a valid dictionary",
            ),
            (
                "user",
                result(json!([{"type": "text", "text": ""}, {"type": "document", "source": null}])),
                "messages.1.content.0.tool_result.content.1.document.source: Input should be a valid dictionary",
            ),
            ("user", json!({"type": "image", "source": {}}), "messages.1.content.0.image.source.type: Field required"),
            (
                "system",
                json!({"type": "tool_addition", "tool": {"type": "tool_reference", "tool_name": "Read"}}),
                "messages.1.content.0.tool.name: Field required",
            ),
            (
                "system",
                json!({"type": "tool_removal", "tool": {"name": 7}}),
                "messages.1.content.0.tool.name: Input should be a valid string",
            ),
            ("system", json!({"type": "tool_addition", "tool": {"definition": {"name": "a"}}}), ""),
        ] {
            assert_eq!(in_message(role, block), reason);
        }
    }
}
