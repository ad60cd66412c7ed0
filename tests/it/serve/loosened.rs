//! Schemas that cannot be enforced in full, and those that are large: the answer comes, and its head says what was left out.

use serde_json::{Map, Value, json};

use crate::support::MODEL;
use crate::support::serving::Serving;
use crate::support::upstream::{Client, Message};

fn object(properties: Map<String, Value>, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// An object of this one argument.
fn argument(schema: Value) -> Value {
    object(Map::from_iter([("p".to_owned(), schema)]), &["p"])
}

fn optional(count: usize) -> Value {
    object((0..count).map(|at| (format!("key{at}"), json!({"type": "integer"}))).collect(), &[])
}

fn patterns(count: usize) -> Value {
    argument(
        json!({"allOf": (0..count).map(|at| json!({"type": "string", "pattern": format!(".*x{at}.*")})).collect::<Vec<_>>()}),
    )
}

fn alternatives(count: usize) -> Value {
    let one = |at: usize| {
        let key = format!("key{at}");
        object(Map::from_iter([(key.clone(), json!({"type": "boolean"}))]), &[&key])
    };
    argument(json!({"anyOf": (0..count).map(one).collect::<Vec<_>>()}))
}

fn tool(schema: &Value) -> Value {
    json!({"name": "Edit", "input_schema": schema})
}

/// The answer to a request that forces a call of this tool.
fn ask(server: &Serving, tool: &Value, stream: bool) -> Message {
    let body = json!({"model": "m", "max_tokens": 40, "stream": stream, "temperature": 0,
        "messages": [{"role": "user", "content": "Go on."}], "tools": [tool],
        "tool_choice": {"type": "tool", "name": "Edit"}});
    Client::send(&server.url, "POST", "/v1/messages", &["content-type: application/json"], body.to_string()).answer()
}

#[test]
fn the_head_of_an_answer_says_which_schemas_were_loosened() {
    let server = Serving::start(MODEL, &[]);
    let loosened = |schema: &Value, stream: bool| {
        let answer = ask(&server, &tool(schema), stream);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.header("x-anyclaude-loosened").map(str::to_owned)
    };
    for stream in [true, false] {
        assert_eq!(loosened(&patterns(2), stream), None);
        assert_eq!(loosened(&optional(550), stream), None);
        let patterns: Vec<String> = (0..20).map(|at| format!("pattern \".*x{at}.*\"")).collect();
        assert_eq!(loosened(&self::patterns(20), stream), Some(format!("Edit: {}", patterns.join(", "))));
        let reason = "Edit: its schema: an object has too many properties";
        assert_eq!(loosened(&optional(1_500), stream).as_deref(), Some(reason));
        assert_eq!(loosened(&alternatives(1_000), stream), None);
        // The prompt of 2,000 would be longer than the model's context.
        assert_eq!(loosened(&alternatives(1_500), stream).as_deref(), Some(reason));
    }
}

#[test]
fn what_was_loosened_is_in_the_log_once() {
    let server = Serving::start(MODEL, &[]);
    for _ in 0..2 {
        assert_eq!(ask(&server, &tool(&patterns(6)), false).status(), 200);
    }
    let said = server.stop("TERM").stderr;
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("arguments are not held to: pattern \".*x0.*\"")).collect();
    assert!(matches!(lines[..], [line] if line.contains("WARN") && line.contains("Edit")), "{said}");
}

#[test]
fn a_strict_tool_that_would_be_loosened_is_refused() {
    let server = Serving::start(MODEL, &[]);
    let mut tool = tool(&patterns(20));
    tool["strict"] = json!(true);
    for stream in [true, false] {
        let answer = ask(&server, &tool, stream);
        assert_eq!(answer.status(), 400, "{}", answer.text());
        assert!(answer.text().contains("tools.Edit.input_schema"), "{}", answer.text());
    }
}
