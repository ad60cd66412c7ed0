//! Which bodies of requests are refused, and in which words: those that do not parse, and Messages requests that Anthropic
//! refuses although they parse. What is refused at Anthropic's own route only is in [`messages_route`].

mod blocks;
mod cache_control;
mod error_path;
mod expected;
mod field_at_fault;
mod malformed_body;
mod messages_route;
mod plain_words;
mod tools;

use serde_json::{Map, Value};

pub(crate) use self::error_path::{PathStyle, RequestBody};
use self::expected::{Expected, may_be, must_be_one_of};
pub(crate) use self::malformed_body::parse;
pub(crate) use self::messages_route::check_as_anthropic;
use crate::wire::{ContentBlock, MessagesRequest, OutputFormat, System};

/// Most stop sequences. Each is looked for at every token.
const MOST_STOP_SEQUENCES: usize = 8_191;

/// Most cache breakpoints, as at Anthropic.
const MOST_BREAKPOINTS: usize = 4;

/// Checks a request's conversation, tools and settings.
///
/// # Errors
/// One sentence that begins with the field's path.
pub(crate) fn check(request: &MessagesRequest) -> Result<(), String> {
    if request.messages.is_empty() {
        return Err("messages: at least one message is required".into());
    }
    for (at, message) in request.messages.iter().enumerate() {
        for (index, block) in message.content.listed().iter().enumerate() {
            blocks::check(block, message.role).map_err(|reason| format!("messages.{at}.content.{index}{reason}"))?;
        }
    }
    for (at, block) in system_blocks(request).iter().enumerate() {
        // All its blocks are text, so paths leave the type out.
        let path = |reason: String| format!("system.{at}{}", reason.strip_prefix(".text").unwrap_or(&reason));
        blocks::check_fields(block).map_err(path)?;
    }
    tools::check(&request.tools)?;
    check_stop_sequences(&request.stop_sequences)?;
    check_breakpoints(request)?;
    check_settings(&request.extra)?;
    OutputFormat::of(&request.extra).map(drop)
}

fn check_stop_sequences(stops: &[String]) -> Result<(), String> {
    match stops.len() {
        0..=MOST_STOP_SEQUENCES => Ok(()),
        many => Err(format!("stop_sequences: at most {MOST_STOP_SEQUENCES} are possible, not {many}")),
    }
}

fn system_blocks(request: &MessagesRequest) -> &[ContentBlock] {
    match &request.system {
        Some(System::Blocks(blocks)) => blocks,
        _ => &[],
    }
}

fn check_breakpoints(request: &MessagesRequest) -> Result<(), String> {
    let blocks = request.messages.iter().flat_map(|message| message.content.listed()).chain(system_blocks(request));
    let inside = blocks.flat_map(|block| match block {
        ContentBlock::ToolResult { content: Some(content), .. } => content.listed().iter().chain([block]),
        _ => [].iter().chain([block]),
    });
    let extras = inside.filter_map(ContentBlock::extra).chain(request.tools.iter().map(|tool| &tool.extra));
    match extras.filter(|extra| extra.get("cache_control").is_some_and(|control| !control.is_null())).count() {
        0..=MOST_BREAKPOINTS => Ok(()),
        many => Err(format!("A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {many}.")),
    }
}

/// Settings whose types are checked, by their path; the objects of paths come first.
const SETTINGS: [(&[&str], Expected); 9] = [
    (&["thinking"], Expected::Object),
    (&["output_config"], Expected::Object),
    (&["metadata"], Expected::Object),
    (&["context_management"], Expected::Object),
    (&["mcp_servers"], Expected::List),
    (&["service_tier"], Expected::Text),
    (&["inference_geo"], Expected::Text),
    (&["output_config", "effort"], Expected::Text),
    (&["metadata", "user_id"], Expected::Text),
];

/// Checks the types of settings that would otherwise be taken for left out.
fn check_settings(extra: &Map<String, Value>) -> Result<(), String> {
    let given = |name: &str| extra.get(name).filter(|value| !value.is_null());
    for (path, expected) in SETTINGS {
        let (first, inner) = (extra.get(path[0]), path.get(1));
        let value = inner.map_or(first, |inner| first.and_then(|owner| owner.get(inner)));
        may_be(expected, value, &path.join("."))?;
    }
    cache_control::check(extra)?;
    match given("thinking") {
        None => Ok(()),
        Some(thinking) => must_be_one_of(&["enabled", "disabled", "adaptive"], thinking.get("type"), "thinking.type"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn request(extra: Value) -> MessagesRequest {
        let mut body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(body).unwrap()
    }

    pub(super) fn refused(messages: Value, tools: Value) -> Option<String> {
        let (messages, tools): (Vec<_>, Vec<_>) = serde_json::from_value(json!([messages, tools])).unwrap();
        let mut request = request(json!({}));
        (request.messages, request.tools) = (messages, tools);
        check(&request).err()
    }

    #[test]
    fn an_unusable_output_format_is_refused() {
        let reason = "output_config.format.type: Input should be 'json_schema' or 'text'";
        assert_eq!(check(&request(json!({"output_config": {"format": {"type": "yaml"}}}))), Err(reason.into()));
    }

    #[test]
    fn settings_of_another_type_are_refused() {
        let refused = |extra: Value| check(&request(extra)).unwrap_err();
        for (extra, reason) in [
            (json!({"output_config": "x"}), "output_config: Input should be a valid dictionary"),
            (json!({"output_config": {"effort": 5}}), "output_config.effort: Input should be a valid string"),
            (json!({"metadata": {"user_id": 5}}), "metadata.user_id: Input should be a valid string"),
            (json!({"mcp_servers": 5}), "mcp_servers: Input should be a valid list"),
            (json!({"thinking": true}), "thinking: Input should be a valid dictionary"),
            (json!({"metadata": []}), "metadata: Input should be a valid dictionary"),
            (json!({"thinking": {}}), "thinking.type: Field required"),
            (json!({"thinking": {"type": "on"}}), "thinking.type: Input should be 'enabled', 'disabled' or 'adaptive'"),
        ] {
            assert_eq!(refused(extra), reason);
        }
        let fine = json!({"thinking": {"type": "adaptive"}, "output_config": null, "metadata": {"user_id": "u"}});
        assert_eq!(check(&request(fine)), Ok(()));
    }

    #[test]
    fn a_block_of_the_system_prompt_is_named_by_its_place_alone() {
        let block = json!({"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "2h"}});
        let reason = "system.0.cache_control.ephemeral.ttl: Input should be '5m' or '1h'";
        assert_eq!(check(&request(json!({"system": [block]}))), Err(reason.into()));
    }

    #[test]
    fn there_are_limits_for_stop_sequences_and_cache_breakpoints() {
        let stops = |count: usize| check(&request(json!({"stop_sequences": vec!["x"; count]})));
        assert_eq!(stops(8_191), Ok(()));
        assert_eq!(stops(8_192), Err("stop_sequences: at most 8191 are possible, not 8192".into()));
        let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
        let with = |blocks: usize| {
            let content = json!([{"type": "tool_result", "tool_use_id": "t", "content": [marked("a")]}, marked("b")]);
            let system: Vec<Value> = (0..blocks).map(|_| marked("s")).collect();
            check(&request(json!({"system": system, "messages": [{"role": "user", "content": content}],
                "tools": [{"name": "a", "cache_control": {"type": "ephemeral"}}, {"name": "b", "cache_control": null}]})))
        };
        assert_eq!(with(1), Ok(()));
        assert_eq!(with(2), Err("A maximum of 4 blocks with cache_control may be provided. Found 5.".into()));
    }

    #[test]
    fn each_reason_begins_with_the_field() {
        let user = json!({"role": "user", "content": "Hi"});
        assert_eq!(refused(json!([user]), json!([{"name": "mcp__files-1__Read"}])), None);
        assert_eq!(refused(json!([]), json!([])).as_deref(), Some("messages: at least one message is required"));
        let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "X", "input": "{}"}]});
        assert_eq!(
            refused(json!([user, call, user]), json!([])).as_deref(),
            Some("messages.1.content.0.tool_use.input: Input should be a valid dictionary")
        );
        let twice = refused(json!([user]), json!([{"name": "a"}, {"name": "b"}, {"name": "a"}]));
        assert_eq!(twice.as_deref(), Some("tools: Tool names must be unique."));
        for name in ["a b", "a.b", "é"] {
            assert_eq!(
                refused(json!([user]), json!([{"name": "ok"}, {"name": name}])).as_deref(),
                Some("tools.1.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
            );
        }
        assert_eq!(refused(json!([user]), json!([{"type": "mcp_toolset", "mcp_server_name": "a b"}])), None);
    }
}
