//! Tools that Anthropic defines and clients name by their `type` only.

use serde_json::{Map, Value, json};

use super::Omitted;
use crate::wire::Tool;

/// Further fields of a tool that it keeps when it is written out.
const KEPT: [&str; 3] = ["cache_control", "defer_loading", "strict"];

/// The size of the screen that a tool uses.
const DISPLAY: [&str; 2] = ["display_width_px", "display_height_px"];

/// A tool that Anthropic defines, for a model that has not been trained on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AnthropicTool {
    /// The client runs it: the same tool with its description and schema written out.
    Client(Tool),
    /// Anthropic's servers run it. Nothing here can.
    Server,
}

impl AnthropicTool {
    /// What the tool is; `None` for one that the client has defined itself.
    pub(super) fn of(tool: &Tool) -> Option<Self> {
        let kind = tool.anthropic_type()?;
        // The types end with the date of their version: `bash_20250124`.
        let family = kind.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
        let Some((description, schema)) = definition(family, tool) else {
            // A type that is not known, but with a schema: the client has defined it after all.
            return tool.input_schema.as_object().is_none_or(Map::is_empty).then_some(Self::Server);
        };
        let mut tool = tool.clone();
        tool.extra.retain(|field, _| KEPT.contains(&field.as_str()));
        tool.description.get_or_insert(description);
        tool.input_schema = schema;
        Some(Self::Client(tool))
    }
}

/// Whether this is one of Anthropic's tools that clients run.
pub fn is_run_by_client(tool: &Tool) -> bool {
    matches!(AnthropicTool::of(tool), Some(AnthropicTool::Client(_)))
}

/// The tools that a client can run, with those that Anthropic defines written out. The types of the others are added to
/// `omitted`.
pub(super) fn runnable(tools: Vec<Tool>, omitted: &mut Omitted) -> Vec<Tool> {
    let runnable = tools.into_iter().filter_map(|tool| match AnthropicTool::of(&tool) {
        None => {
            // The client has written out a tool of a type that nobody here knows.
            if let Some(kind) = tool.anthropic_type() {
                omitted.add(format!("tools.type {kind}"));
            }
            Some(tool)
        }
        Some(AnthropicTool::Client(written_out)) => {
            omitted.unread("tools", &tool.extra, &[&KEPT[..], &["type"], &DISPLAY].concat());
            Some(written_out)
        }
        Some(AnthropicTool::Server) => {
            omitted.add(format!("tools.{}", tool.anthropic_type().unwrap_or_default()));
            None
        }
    });
    runnable.collect()
}

/// Description and schema of a tool that clients run, after Anthropic's documentation of each.
fn definition(family: &str, tool: &Tool) -> Option<(String, Value)> {
    let text = |description: &str| json!({"type": "string", "description": description});
    match family {
        "bash" => Some((
            "Runs a command in a bash session that keeps its state from one call to the next.".into(),
            json!({"type": "object", "properties": {
                "command": text("The command to run. Needed unless the session is restarted."),
                "restart": {"type": "boolean", "description": "True starts a new session."}}}),
        )),
        "text_editor" => {
            let undoes = tool.anthropic_type() < Some("text_editor_20250429");
            Some(("Views, creates and edits text files.".into(), editor(undoes)))
        }
        "memory" => Some(("Views and edits files below /memories, which outlast the conversation.".into(), memory())),
        "computer" => Some((format!("Uses a computer's{} screen, mouse and keyboard.", display_size(tool)), computer())),
        _ => None,
    }
}

/// The size of the screen that coordinates refer to, if the client says it.
fn display_size(tool: &Tool) -> String {
    match DISPLAY.map(|field| tool.extra.get(field).and_then(Value::as_u64)) {
        [Some(width), Some(height)] => format!(" {width} x {height} pixel"),
        _ => String::new(),
    }
}

/// Arguments of the text editor. Its older versions can take an edit back.
fn editor(undoes: bool) -> Value {
    let mut commands = vec!["view", "create", "str_replace", "insert"];
    commands.extend(undoes.then_some("undo_edit"));
    let mut schema = file_commands(&commands, "The absolute path of a file or folder.");
    schema["properties"]["view_range"] = json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2,
        "description": "For view: the first and the last line to show, from 1 on; -1 is the end."});
    schema["required"] = json!(["command", "path"]);
    schema
}

/// Arguments of the memory tool.
fn memory() -> Value {
    let commands = ["view", "create", "str_replace", "insert", "delete", "rename"];
    let mut schema = file_commands(&commands, "A path below /memories.");
    schema["properties"]["old_path"] = json!({"type": "string", "description": "For rename: the path so far."});
    schema["properties"]["new_path"] = json!({"type": "string", "description": "For rename: the new path."});
    schema
}

/// The arguments that the text editor and the memory tool share. `path`: the description of that argument.
fn file_commands(commands: &[&str], path: &str) -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    json!({"type": "object", "properties": {
        "command": {"type": "string", "enum": commands},
        "path": text(path),
        "file_text": text("For create: the whole content of the file."),
        "old_str": text("For str_replace: the text to replace. It must be in the file exactly once."),
        "new_str": text("For str_replace: the text to put in its place."),
        "insert_line": {"type": "integer", "description": "For insert: the line after which the text goes; 0 is the start."},
        "insert_text": text("For insert: the text."),
    }, "required": ["command"]})
}

/// Arguments of computer use.
fn computer() -> Value {
    let point = |description: &str| json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2, "description": description});
    let actions = [
        "screenshot",
        "left_click",
        "right_click",
        "middle_click",
        "double_click",
        "triple_click",
        "mouse_move",
        "left_click_drag",
        "left_mouse_down",
        "left_mouse_up",
        "scroll",
        "type",
        "key",
        "hold_key",
        "wait",
        "cursor_position",
        "zoom",
    ];
    json!({"type": "object", "properties": {
        "action": {"type": "string", "enum": actions},
        "coordinate": point("Where, as x and y in pixels."),
        "start_coordinate": point("For left_click_drag: where the drag begins."),
        "text": {"type": "string", "description": "For type: the text. For key and hold_key: the keys, as in ctrl+s."},
        "duration": {"type": "number", "description": "For hold_key and wait: seconds."},
        "scroll_direction": {"type": "string", "enum": ["up", "down", "left", "right"]},
        "scroll_amount": {"type": "integer", "description": "For scroll: how many clicks of the wheel."},
        "region": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4,
            "description": "For zoom: left, top, right and bottom in pixels."},
    }, "required": ["action"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tool: Value) -> Option<AnthropicTool> {
        AnthropicTool::of(&serde_json::from_value(tool).unwrap())
    }

    #[test]
    fn tools_that_clients_run_get_their_schema() {
        for (kind, name, required) in [
            ("bash_20250124", "bash", Value::Null),
            ("text_editor_20250728", "str_replace_based_edit_tool", json!(["command", "path"])),
            ("memory_20250818", "memory", json!(["command"])),
            ("computer_20251124", "computer", json!(["action"])),
        ] {
            let tool = json!({"type": kind, "name": name, "cache_control": {"type": "ephemeral"}, "max_characters": 9});
            let Some(AnthropicTool::Client(tool)) = of(tool) else { panic!("{kind}") };
            assert_eq!((tool.name.as_str(), &tool.input_schema["required"]), (name, &required));
            assert!(tool.description.is_some());
            assert_eq!(tool.extra.keys().collect::<Vec<_>>(), ["cache_control"]);
            jsonschema::validator_for(&tool.input_schema).unwrap();
        }
    }

    #[test]
    fn the_size_of_the_screen_is_told() {
        let screen = json!({"type": "computer_20250124", "name": "computer", "display_width_px": 1280, "display_height_px": 800});
        let Some(AnthropicTool::Client(tool)) = of(screen) else { panic!("a client's tool") };
        assert_eq!(tool.description.as_deref(), Some("Uses a computer's 1280 x 800 pixel screen, mouse and keyboard."));
    }

    #[test]
    fn older_editors_undo() {
        let commands = |kind: &str| match of(json!({"type": kind, "name": "e"})) {
            Some(AnthropicTool::Client(tool)) => tool.input_schema["properties"]["command"]["enum"].to_string(),
            other => panic!("{other:?}"),
        };
        assert!(commands("text_editor_20250124").contains("undo_edit"));
        assert!(!commands("text_editor_20250728").contains("undo_edit"));
    }

    #[test]
    fn tools_of_the_servers_and_of_the_client_are_told_apart() {
        for kind in
            ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset", "computer_toolset_20260801"]
        {
            assert_eq!(of(json!({"type": kind, "name": "x"})), Some(AnthropicTool::Server), "{kind}");
        }
        assert_eq!(of(json!({"type": "function", "name": "find", "input_schema": {"type": "object"}})), None);
        assert_eq!(of(json!({"name": "bash", "input_schema": {}})), None);
        assert_eq!(of(json!({"type": "custom", "name": "bash", "input_schema": {}})), None);
    }
}
