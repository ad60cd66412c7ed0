//! The rules by which a prompt is trimmed.

use serde_json::Value;

use crate::wire::{MessagesRequest, Tool, ToolChoice};

/// How many sentences of a tool's description are kept. Of a parameter's description only the first one is.
const TOOL_SENTENCES: usize = 2;

/// JSON Schema keywords whose values are data: a `description` in them describes nothing.
const DATA: [&str; 4] = ["default", "const", "enum", "examples"];

/// How to trim prompts. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrimRules {
    /// The names of the tools to keep; empty to keep all.
    pub tools_only: Vec<String>,
    /// Whether to shorten descriptions.
    pub compact_tools: bool,
}

impl TrimRules {
    /// Whether the rules change nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The trimmed request. A tool that must be called is always kept.
    pub fn apply(&self, mut request: MessagesRequest) -> MessagesRequest {
        let forced = match &request.tool_choice {
            Some(ToolChoice::Tool { name, .. }) => Some(name.as_str()),
            _ => None,
        };
        request.tools.retain(|tool| self.keeps(&tool.name, forced));
        if self.compact_tools {
            request.tools.iter_mut().for_each(compact);
        }
        request
    }

    /// Trims a request's body. Fields that the rules do not concern stay exactly as they are, known or not.
    pub fn apply_to_body(&self, body: &mut Value) {
        let choice = &body["tool_choice"];
        let forced = choice["name"].as_str().filter(|_| choice["type"] == "tool").map(str::to_owned);
        let Some(tools) = body.get_mut("tools").and_then(Value::as_array_mut) else { return };
        tools.retain(|tool| tool["name"].as_str().is_none_or(|name| self.keeps(name, forced.as_deref())));
        if self.compact_tools {
            tools.iter_mut().for_each(compact_in_body);
        }
    }

    fn keeps(&self, tool: &str, forced: Option<&str>) -> bool {
        self.tools_only.is_empty() || self.tools_only.iter().any(|name| name == tool) || forced == Some(tool)
    }

    /// The tools to keep that a request does not have.
    pub(super) fn absent(&self, request: &MessagesRequest) -> Vec<String> {
        let is_absent = |name: &&String| !request.tools.iter().any(|tool| tool.name == **name);
        self.tools_only.iter().filter(is_absent).cloned().collect()
    }
}

fn compact(tool: &mut Tool) {
    if let Some(description) = &mut tool.description {
        *description = sentences(description, TOOL_SENTENCES).to_owned();
    }
    compact_schema(&mut tool.input_schema);
}

fn compact_in_body(tool: &mut Value) {
    if let Some(Value::String(description)) = tool.get_mut("description") {
        *description = sentences(description, TOOL_SENTENCES).to_owned();
    }
    if let Some(schema) = tool.get_mut("input_schema") {
        compact_schema(schema);
    }
}

/// Shortens every description in a schema. A parameter named `description` is an object, and stays.
fn compact_schema(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "description" => *text = sentences(text, 1).to_owned(),
                    value if !DATA.contains(&name.as_str()) => compact_schema(value),
                    _ => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(compact_schema),
        _ => {}
    }
}

/// At most `most` sentences from the start of a text's first line. A sentence ends at a full stop before a space and a capital
/// letter, so that "e.g. this" ends none.
fn sentences(text: &str, most: usize) -> &str {
    let line = text.trim_start().lines().next().unwrap_or_default().trim_end();
    let ends = line.match_indices(". ").map(|(at, _)| at + 1);
    let mut ends = ends.filter(|end| line[*end..].trim_start().starts_with(char::is_uppercase));
    ends.nth(most - 1).map_or(line, |end| &line[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(tool_choice: Value) -> MessagesRequest {
        let schema = json!({"type": "object", "properties": {
            "description": {"type": "string", "description": "What it does. In five words."},
            "mode": {"enum": ["a"], "default": {"description": "One. Two."}}
        }});
        let tool = |name: &str| json!({"name": name, "description": "Does it. Use e.g. this. Never that. Long.\n\nMore.", "input_schema": schema});
        serde_json::from_value(json!({
            "model": "m", "max_tokens": 1, "messages": [], "tools": [tool("Read"), tool("Bash"), tool("Edit")], "tool_choice": tool_choice
        }))
        .unwrap()
    }

    fn names(request: &MessagesRequest) -> Vec<&str> {
        request.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn only_the_named_tools_and_a_forced_one_are_left_in_their_order() {
        let rules = TrimRules { tools_only: vec!["Bash".into(), "Read".into(), "Raed".into()], compact_tools: false };
        assert_eq!(names(&rules.apply(request(json!({"type": "auto"})))), ["Read", "Bash"]);
        assert_eq!(names(&rules.apply(request(json!({"type": "tool", "name": "Edit"})))), ["Read", "Bash", "Edit"]);
        assert_eq!(rules.absent(&request(json!({"type": "auto"}))), ["Raed"]);
    }

    #[test]
    fn descriptions_are_shortened_and_nothing_else() {
        let sent = request(json!({"type": "auto"}));
        let trimmed = TrimRules { tools_only: vec![], compact_tools: true }.apply(sent.clone());
        assert_eq!(names(&trimmed), names(&sent));
        assert_eq!(trimmed.tools[0].description.as_deref(), Some("Does it. Use e.g. this."));
        let schema = json!({"type": "object", "properties": {
            "description": {"type": "string", "description": "What it does."},
            "mode": {"enum": ["a"], "default": {"description": "One. Two."}}
        }});
        assert_eq!(trimmed.tools[0].input_schema, schema);
    }

    #[test]
    fn a_body_is_trimmed_as_a_request_is() {
        for choice in [json!({"type": "auto"}), json!({"type": "tool", "name": "Edit"})] {
            let sent = request(choice);
            for rules in [
                TrimRules { tools_only: vec!["Read".into()], compact_tools: true },
                TrimRules { tools_only: vec![], compact_tools: true },
            ] {
                let mut body = serde_json::to_value(&sent).unwrap();
                rules.apply_to_body(&mut body);
                assert_eq!(body, serde_json::to_value(rules.apply(sent.clone())).unwrap());
            }
        }
    }

    #[test]
    fn empty_rules_change_nothing() {
        let sent = request(json!({"type": "auto"}));
        assert!(TrimRules::default().is_empty());
        assert_eq!(TrimRules::default().apply(sent.clone()), sent);
    }

    #[test]
    fn sentences_end_before_a_capital_letter() {
        for (text, most, expected) in [
            ("One. Two. Three.", 1, "One."),
            ("One. Two. Three.", 2, "One. Two."),
            ("Only one", 2, "Only one"),
            ("See e.g. this one. Then", 1, "See e.g. this one."),
            ("\n  First line \nsecond", 1, "First line"),
            ("", 1, ""),
        ] {
            assert_eq!(sentences(text, most), expected, "{text:?}");
        }
    }
}
