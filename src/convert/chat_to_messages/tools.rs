//! The tools of a chat request, and which of them the model may or must call.

use serde_json::{Map, Value};

use crate::convert::Omitted;
use crate::convert::openai_common::{choice_of_mode, input_schema, refuse_more};
use crate::wire::openai::{AllowedTool, AllowedTools, ChatTool, ChatToolChoice};
use crate::wire::{Tool, ToolChoice};

/// A chat request's tools in the Messages protocol.
#[derive(Debug, Default)]
pub(super) struct OfferedChatTools {
    pub tools: Vec<Tool>,
    /// The index of each of the tools in the chat request. In the order of `tools`.
    pub indices: Vec<usize>,
}

impl OfferedChatTools {
    /// All of the request's tools.
    pub(super) fn of(tools: Vec<ChatTool>, omitted: &mut Omitted) -> Self {
        let tools: Vec<Tool> = tools.into_iter().map(|offered| tool(offered, omitted)).collect();
        Self { indices: (0..tools.len()).collect(), tools }
    }

    /// Whether the model must call a tool, and which. Takes out the tools that it may not call: Anthropic has no list of allowed
    /// tools.
    ///
    /// # Errors
    /// One sentence that names the field: an unknown mode or tool.
    pub(super) fn choose(
        &mut self,
        choice: Option<ChatToolChoice>,
        parallel: Option<bool>,
    ) -> Result<Option<ToolChoice>, String> {
        let disable_parallel_tool_use = parallel == Some(false);
        let of_mode = |mode: &str, field: &str| choice_of_mode(mode, field, disable_parallel_tool_use);
        Ok(match choice {
            None | Some(ChatToolChoice::Other(Value::Null)) if disable_parallel_tool_use => {
                Some(ToolChoice::Auto { disable_parallel_tool_use, extra: Map::new() })
            }
            None | Some(ChatToolChoice::Other(Value::Null)) => None,
            Some(ChatToolChoice::Function { function, extra, .. }) => {
                refuse_more("tool_choice", &extra, &[])?;
                refuse_more("tool_choice.function", &function.extra, &[])?;
                Some(ToolChoice::Tool { name: function.name, disable_parallel_tool_use, extra: Map::new() })
            }
            Some(ChatToolChoice::Mode(mode)) => Some(of_mode(&mode, "tool_choice")?),
            Some(ChatToolChoice::Allowed { allowed_tools: AllowedTools { mode, tools: allowed }, extra, .. }) => {
                refuse_more("tool_choice", &extra, &[])?;
                for (at, AllowedTool { function, .. }) in allowed.iter().enumerate() {
                    if !self.tools.iter().any(|tool| tool.name == function.name) {
                        let field = format!("tool_choice.allowed_tools.tools.{at}.function.name");
                        return Err(format!("{field}: there is no tool {}", function.name));
                    }
                }
                let both = std::mem::take(&mut self.tools).into_iter().zip(std::mem::take(&mut self.indices));
                let is_allowed = |tool: &Tool| allowed.iter().any(|allowed| allowed.function.name == tool.name);
                (self.tools, self.indices) = both.filter(|(tool, _)| is_allowed(tool)).unzip();
                Some(of_mode(&mode, "tool_choice.allowed_tools.mode")?)
            }
            Some(ChatToolChoice::Other(other)) => {
                return Err(format!("tool_choice: {other} is none of none, auto, required, a function and allowed_tools"));
            }
        })
    }
}

fn tool(tool: ChatTool, omitted: &mut Omitted) -> Tool {
    omitted.fields("tools", &tool.extra);
    let mut function = tool.function;
    let strict = function.extra.remove_entry("strict").filter(|(_, value)| *value == true);
    omitted.fields("tools.function", &function.extra);
    Tool {
        name: function.name,
        description: function.description,
        input_schema: input_schema(function.parameters),
        extra: strict.into_iter().collect(),
    }
}
