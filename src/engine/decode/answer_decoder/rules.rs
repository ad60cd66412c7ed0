//! What a request says about tool calls and about showing thoughts.

use std::sync::Arc;

use crate::engine::EngineError;
use crate::engine::decode::grammar::Fill;
use crate::engine::text::{call_ids, callable};
use crate::wire::{MessagesRequest, Tool, ToolChoice};

/// What the request allows the answer to contain.
pub(super) struct Rules {
    /// The tools that may be called; empty if calls are forbidden.
    pub tools: Arc<[Tool]>,
    /// Whether the answer must be a tool call.
    pub must_call: bool,
    /// Whether the answer may have more than one call.
    pub several: bool,
    /// Whether thoughts are part of the answer or dropped.
    pub shows_thinking: bool,
}

impl Rules {
    /// Reads `tools`, `tool_choice` and `thinking` of the request.
    ///
    /// # Errors
    /// `tool_choice` asks for a tool that the request does not have.
    pub(super) fn of(request: &MessagesRequest) -> Result<Self, EngineError> {
        let bad = |reason: String| Err(EngineError::Request(reason));
        let shows_thinking = shows_thinking(request);
        let (must_call, one_only) = match &request.tool_choice {
            None => (false, false),
            Some(ToolChoice::None) => return Ok(Self { tools: Arc::new([]), must_call: false, several: false, shows_thinking }),
            Some(ToolChoice::Auto { disable_parallel_tool_use, .. }) => (false, *disable_parallel_tool_use),
            Some(ToolChoice::Any { disable_parallel_tool_use, .. } | ToolChoice::Tool { disable_parallel_tool_use, .. }) => {
                (true, *disable_parallel_tool_use)
            }
        };
        let mut tools = callable(request);
        if let Some(ToolChoice::Tool { name, .. }) = &request.tool_choice {
            tools.retain(|tool| tool.name == *name);
            if tools.is_empty() {
                return bad(format!("tool_choice: Tool '{name}' not found in provided tools"));
            }
        }
        if must_call && tools.is_empty() {
            return bad("tool_choice: asks for a tool call, but the request has no tools".into());
        }
        Ok(Self { tools: tools.into(), must_call, several: !one_only, shows_thinking })
    }

    /// Calls `of` with what grammars need to know of the conversation's call of this number, from 1 on.
    pub(super) fn fill<T>(&self, number: usize, of: impl FnOnce(&Fill) -> T) -> T {
        let names: Vec<&str> = self.tools.iter().map(|tool| tool.name.as_str()).collect();
        let [this, next] = [number, number + 1].map(call_ids::of_number);
        of(&Fill { names: &names, ids: [&this, &next] })
    }
}

/// Whether the client wants to see thoughts.
fn shows_thinking(request: &MessagesRequest) -> bool {
    let thinking = request.extra.get("thinking");
    let field = |name: &str| thinking.and_then(|thinking| thinking[name].as_str());
    matches!(field("type"), Some("enabled" | "adaptive")) && field("display") != Some("omitted")
}
