//! The tools of a Responses request: as the model is offered them, and what the client calls them.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::Omitted;
use super::openai_common::{choice_of_mode, input_schema, refuse_more};
use crate::wire::openai::responses::{ClientTool, ResponsesTool, ResponsesToolChoice};
use crate::wire::{Tool, ToolChoice};

/// The argument that carries a custom tool's input: a Messages tool has only arguments in an object.
const CUSTOM_INPUT: &str = "input";

/// What the model can be offered of a request's tools.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OfferedResponsesTools {
    pub tools: Vec<Tool>,
    /// The path of each of the tools in the request: `tools.2`, or `tools.2.tools.0` in a group. In the order of `tools`.
    pub paths: Vec<String>,
    pub names: ClientNames,
}

/// The client's names of those tools that the model knows by another name or as another kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientNames(HashMap<String, ClientName>);

/// What the client calls a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientName {
    pub namespace: Option<String>,
    pub name: String,
    pub kind: ToolKind,
}

/// How a tool is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToolKind {
    /// With arguments in a JSON object.
    Function,
    /// With one free text.
    Custom,
}

impl ClientNames {
    /// The client's name of a tool.
    pub(super) fn client_name(&self, name: &str) -> ClientName {
        let same = || ClientName { namespace: None, name: name.into(), kind: ToolKind::Function };
        self.0.get(name).cloned().unwrap_or_else(same)
    }
}

/// The name that the model knows a tool by: Messages tools are in no groups.
pub(super) fn model_name(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}__{name}"))
}

/// The arguments with which the model calls a custom tool.
pub(super) fn custom_arguments(input: String) -> Value {
    json!({ CUSTOM_INPUT: input })
}

/// The input in the arguments of a custom tool's call; `None` where these were cut.
pub(super) fn custom_input(arguments: &str) -> Option<String> {
    match serde_json::from_str::<Map<String, Value>>(arguments).ok()?.remove(CUSTOM_INPUT)? {
        Value::String(input) => Some(input),
        _ => None,
    }
}

impl OfferedResponsesTools {
    /// The tools that the client runs. The types of the others are added to `omitted`.
    pub(super) fn of(tools: Vec<ResponsesTool>, omitted: &mut Omitted) -> Self {
        let mut offered = Self::default();
        for (at, tool) in tools.into_iter().enumerate() {
            offered.add(tool, None, format!("tools.{at}"), omitted);
        }
        offered
    }

    fn add(&mut self, tool: ResponsesTool, namespace: Option<&str>, path: String, omitted: &mut Omitted) {
        let kind = tool.kind().to_owned();
        match tool {
            ResponsesTool::Function(tool) => self.push(tool, ToolKind::Function, namespace, path, omitted),
            ResponsesTool::Custom(tool) => self.push(tool, ToolKind::Custom, namespace, path, omitted),
            ResponsesTool::Namespace { name, tools, extra } if namespace.is_none() => {
                omitted.fields("tools.namespace", &extra);
                for (at, tool) in tools.into_iter().enumerate() {
                    self.add(tool, Some(&name), format!("{path}.tools.{at}"), omitted);
                }
            }
            ResponsesTool::Namespace { .. } | ResponsesTool::Other(_) => omitted.add(format!("tools.{kind}")),
        }
    }

    fn push(&mut self, tool: ClientTool, kind: ToolKind, namespace: Option<&str>, path: String, omitted: &mut Omitted) {
        let name = model_name(namespace, &tool.name);
        if namespace.is_some() || kind == ToolKind::Custom {
            let client = ClientName { namespace: namespace.map(str::to_owned), name: tool.name.clone(), kind };
            self.names.0.insert(name.clone(), client);
        }
        let tool = match kind {
            ToolKind::Function => function(name, tool, omitted),
            ToolKind::Custom => custom(name, tool, omitted),
        };
        self.tools.push(tool);
        self.paths.push(path);
    }

    /// Whether the model must call a tool, and which. Takes out the tools that it may not call.
    ///
    /// # Errors
    /// One sentence that names the field: an unknown mode, or a tool that only OpenAI's servers run.
    pub(super) fn choose(
        &mut self,
        choice: Option<ResponsesToolChoice>,
        parallel: Option<bool>,
    ) -> Result<Option<ToolChoice>, String> {
        let disable_parallel_tool_use = parallel == Some(false);
        let mode = |mode: &str, field: &str| choice_of_mode(mode, field, disable_parallel_tool_use);
        let choice = match choice {
            None => {
                return Ok(disable_parallel_tool_use.then_some(ToolChoice::Auto { disable_parallel_tool_use, extra: Map::new() }));
            }
            Some(ResponsesToolChoice::Mode(name)) => return mode(&name, "tool_choice").map(Some),
            Some(ResponsesToolChoice::Choice(fields)) => fields,
        };
        let text = |field: &str| choice.get(field).and_then(Value::as_str);
        match text("type") {
            Some("function" | "custom") => {
                refuse_more("tool_choice", &choice, &["type", "name", "namespace"])?;
                let name = text("name").ok_or("tool_choice.name: Field required")?;
                Ok(Some(ToolChoice::Tool {
                    name: model_name(text("namespace"), name),
                    disable_parallel_tool_use,
                    extra: Map::new(),
                }))
            }
            Some("allowed_tools") => {
                refuse_more("tool_choice", &choice, &["type", "mode", "tools"])?;
                let allowed = choice.get("tools").and_then(Value::as_array).ok_or("tool_choice.tools: Field required")?;
                self.keep_only(allowed)?;
                mode(text("mode").unwrap_or("auto"), "tool_choice.mode").map(Some)
            }
            Some(kind) => {
                Err(format!("tool_choice.type: {kind} is a tool that OpenAI's servers run, so this model cannot call it"))
            }
            None => Err("tool_choice.type: Field required".into()),
        }
    }

    /// Takes out the tools that are not in the list of `{"type", "name"}`. Tools that only OpenAI's servers run may be in it.
    ///
    /// # Errors
    /// One sentence that names the field: there is no such tool.
    fn keep_only(&mut self, allowed: &[Value]) -> Result<(), String> {
        let mut names = Vec::new();
        for (at, tool) in allowed.iter().enumerate().filter(|(_, tool)| tool["type"] == "function" || tool["type"] == "custom") {
            let name = tool["name"].as_str().ok_or_else(|| format!("tool_choice.tools.{at}.name: Field required"))?;
            let name = model_name(tool["namespace"].as_str(), name);
            if !self.tools.iter().any(|tool| tool.name == name) {
                return Err(format!("tool_choice.tools.{at}.name: there is no tool {name}"));
            }
            names.push(name);
        }
        let both = std::mem::take(&mut self.tools).into_iter().zip(std::mem::take(&mut self.paths));
        (self.tools, self.paths) = both.filter(|(tool, _)| names.contains(&tool.name)).unzip();
        Ok(())
    }
}

fn function(name: String, tool: ClientTool, omitted: &mut Omitted) -> Tool {
    let ClientTool { description, parameters, mut extra, .. } = tool;
    let strict = extra.remove_entry("strict").filter(|(_, strict)| *strict == true);
    omitted.fields("tools", &extra);
    Tool { name, description, input_schema: input_schema(parameters), extra: strict.into_iter().collect() }
}

/// A custom tool as a function of one text. The grammar of the text is told to the model and not enforced.
fn custom(name: String, tool: ClientTool, omitted: &mut Omitted) -> Tool {
    let ClientTool { description, format, extra, .. } = tool;
    omitted.fields("tools", &extra);
    let format = format.unwrap_or_default();
    let grammar = format["definition"].as_str().map(|definition| {
        omitted.add("tools.format (the model is told and not held to it)");
        format!("The input follows this {} grammar:\n{definition}", format["syntax"].as_str().unwrap_or("lark"))
    });
    let texts: Vec<String> = [description, grammar].into_iter().flatten().collect();
    Tool {
        name,
        description: (!texts.is_empty()).then(|| texts.join("\n\n")),
        input_schema: json!({
            "type": "object", "properties": {CUSTOM_INPUT: {"type": "string"}}, "required": [CUSTOM_INPUT],
            "additionalProperties": false,
        }),
        extra: Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(tools: Value) -> (OfferedResponsesTools, String) {
        let mut omitted = Omitted::default();
        let offered = OfferedResponsesTools::of(serde_json::from_value(tools).unwrap(), &mut omitted);
        (offered, omitted.to_string())
    }

    fn tools() -> Value {
        json!([
            {"type": "web_search", "external_web_access": false},
            {"type": "function", "name": "Read", "description": "Reads.", "parameters": {"type": "object"}, "strict": true},
            {"type": "custom", "name": "patch", "description": "Patches.",
             "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.*/"}},
            {"type": "namespace", "name": "mcp__files", "description": "Files.", "tools": [
                {"type": "function", "name": "list", "strict": false, "defer_loading": true}]},
        ])
    }

    #[test]
    fn tools_that_the_client_runs_are_offered() {
        let (offered, omitted) = offered(tools());
        let custom = json!({"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"],
            "additionalProperties": false});
        assert_eq!(
            serde_json::to_value(&offered.tools).unwrap(),
            json!([
                {"name": "Read", "description": "Reads.", "input_schema": {"type": "object"}, "strict": true},
                {"name": "patch", "description": "Patches.\n\nThe input follows this lark grammar:\nstart: /.*/", "input_schema": custom},
                {"name": "mcp__files__list", "input_schema": {"type": "object", "properties": {}}},
            ])
        );
        assert_eq!(offered.paths, ["tools.1", "tools.2", "tools.3.tools.0"]);
        assert_eq!(
            omitted,
            "tools.defer_loading, tools.format (the model is told and not held to it), tools.namespace.description, tools.web_search"
        );
        let list = ClientName { namespace: Some("mcp__files".into()), name: "list".into(), kind: ToolKind::Function };
        assert_eq!(offered.names.client_name("mcp__files__list"), list);
        assert_eq!(offered.names.client_name("patch").kind, ToolKind::Custom);
        let read = ClientName { namespace: None, name: "Read".into(), kind: ToolKind::Function };
        assert_eq!(offered.names.client_name("Read"), read);
    }

    #[test]
    fn a_choice_is_honoured_or_refused_by_its_field() {
        let choose = |choice: Value, parallel: Option<bool>| {
            let (mut offered, _) = offered(tools());
            let chosen = offered.choose(serde_json::from_value(choice).unwrap(), parallel);
            let names: Vec<&str> = offered.tools.iter().map(|tool| tool.name.as_str()).collect();
            chosen.map(|choice| format!("{} of {}", serde_json::to_string(&choice).unwrap(), names.join(" ")))
        };
        let cases = [
            (json!(null), None),
            (json!(null), Some(false)),
            (json!("required"), Some(true)),
            (json!("sometimes"), None),
            (json!({"type": "custom", "name": "patch"}), None),
            (json!({"type": "function", "namespace": "mcp__files", "name": "list"}), None),
            (json!({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "Read"}]}), Some(false)),
            (json!({"type": "allowed_tools", "tools": [{"type": "web_search"}, {"type": "function", "name": "Write"}]}), None),
            (json!({"type": "web_search_preview"}), None),
            (json!({"type": "function"}), None),
        ];
        let chosen = cases.map(|(choice, parallel)| match choose(choice, parallel) {
            Ok(chosen) => chosen,
            Err(reason) => format!("refused: {reason}"),
        });
        insta::assert_snapshot!(chosen.join("\n"), @r#"
        null of Read patch mcp__files__list
        {"type":"auto","disable_parallel_tool_use":true} of Read patch mcp__files__list
        {"type":"any","disable_parallel_tool_use":false} of Read patch mcp__files__list
        refused: tool_choice: sometimes is none of none, auto and required
        {"type":"tool","name":"patch","disable_parallel_tool_use":false} of Read patch mcp__files__list
        {"type":"tool","name":"mcp__files__list","disable_parallel_tool_use":false} of Read patch mcp__files__list
        {"type":"any","disable_parallel_tool_use":true} of Read
        refused: tool_choice.tools.1.name: there is no tool Write
        refused: tool_choice.type: web_search_preview is a tool that OpenAI's servers run, so this model cannot call it
        refused: tool_choice.name: Field required
        "#);
    }

    #[test]
    fn a_cut_input_is_none() {
        assert_eq!(custom_input(r#"{"input": "*** Begin"}"#).as_deref(), Some("*** Begin"));
        assert_eq!(custom_input(r#"{"input": "*** Beg"#), None);
        assert_eq!(custom_input(""), None);
    }
}
