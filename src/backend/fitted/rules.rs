//! The rules by which a prompt is made smaller. Pure.

use serde_json::Value;

use crate::wire::{MessagesRequest, Tool, ToolChoice};

/// How many sentences of a tool's description are kept; of a parameter's, the first one is.
const TOOL_SENTENCES: usize = 2;

/// Parts of a JSON Schema that hold data, in which `description` is no description.
const DATA: [&str; 4] = ["default", "const", "enum", "examples"];

/// How to make prompts smaller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitting {
    /// The only tools that are kept, by name; all where it is empty.
    pub tools_only: Vec<String>,
    /// Whether descriptions are shortened.
    pub compact_tools: bool,
}

impl Fitting {
    /// Whether it changes anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The request as the model gets it. A tool that must be called is always kept.
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

    /// The same for a request's body, in which everything else stays to the letter.
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

    /// The tools to be kept that a request does not have.
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

/// Shortens every description in a schema. A parameter that is called `description` is an object, and stays.
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

/// The first sentences of a text's first line. A sentence ends with a mark before a space and a capital letter, so that
/// "e.g. this" ends none.
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
        let fitting = Fitting { tools_only: vec!["Bash".into(), "Read".into(), "Raed".into()], compact_tools: false };
        assert_eq!(names(&fitting.apply(request(json!({"type": "auto"})))), ["Read", "Bash"]);
        assert_eq!(names(&fitting.apply(request(json!({"type": "tool", "name": "Edit"})))), ["Read", "Bash", "Edit"]);
        assert_eq!(fitting.absent(&request(json!({"type": "auto"}))), ["Raed"]);
    }

    #[test]
    fn descriptions_are_shortened_and_nothing_else() {
        let sent = request(json!({"type": "auto"}));
        let fitted = Fitting { tools_only: vec![], compact_tools: true }.apply(sent.clone());
        assert_eq!(names(&fitted), names(&sent));
        assert_eq!(fitted.tools[0].description.as_deref(), Some("Does it. Use e.g. this."));
        let schema = json!({"type": "object", "properties": {
            "description": {"type": "string", "description": "What it does."},
            "mode": {"enum": ["a"], "default": {"description": "One. Two."}}
        }});
        assert_eq!(fitted.tools[0].input_schema, schema);
    }

    #[test]
    fn a_body_is_fitted_as_a_request_is() {
        for choice in [json!({"type": "auto"}), json!({"type": "tool", "name": "Edit"})] {
            let sent = request(choice);
            for fitting in [
                Fitting { tools_only: vec!["Read".into()], compact_tools: true },
                Fitting { tools_only: vec![], compact_tools: true },
            ] {
                let mut body = serde_json::to_value(&sent).unwrap();
                fitting.apply_to_body(&mut body);
                assert_eq!(body, serde_json::to_value(fitting.apply(sent.clone())).unwrap());
            }
        }
    }

    #[test]
    fn an_empty_fitting_changes_nothing() {
        let sent = request(json!({"type": "auto"}));
        assert!(Fitting::default().is_empty());
        assert_eq!(Fitting::default().apply(sent.clone()), sent);
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
