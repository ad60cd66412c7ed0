//! How much a model is asked to think, as templates know it.

use crate::wire::MessagesRequest;

/// What a request says about thinking.
#[derive(Default)]
pub(super) struct Reasoning {
    /// Whether the model is to think: `enable_thinking` of Qwen's templates.
    pub enabled: bool,
    /// How much, in the three levels that templates know: `reasoning_effort` of gpt-oss'.
    pub effort: Option<&'static str>,
}

impl Reasoning {
    /// By `thinking` and [`MessagesRequest::effort`]. Anthropic's levels above `high` are `high`.
    pub(super) fn of(request: &MessagesRequest) -> Self {
        let thinking = request.extra.get("thinking").and_then(|thinking| thinking["type"].as_str());
        let effort = match request.effort() {
            Some("low") => Some("low"),
            Some("medium") => Some("medium"),
            Some("high" | "xhigh" | "max") => Some("high"),
            _ => None,
        };
        Self { enabled: matches!(thinking, Some("enabled" | "adaptive")), effort }
    }
}
