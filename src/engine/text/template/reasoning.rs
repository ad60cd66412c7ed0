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
    /// By `thinking` and `output_config.effort`. Anthropic's levels above `high` are `high`.
    pub(super) fn of(request: &MessagesRequest) -> Self {
        let text = |owner: &str, field: &str| request.extra.get(owner).and_then(|owner| owner[field].as_str());
        let effort = match text("output_config", "effort") {
            Some("low") => Some("low"),
            Some("medium") => Some("medium"),
            Some("high" | "xhigh" | "max") => Some("high"),
            _ => None,
        };
        Self { enabled: matches!(text("thinking", "type"), Some("enabled" | "adaptive")), effort }
    }
}
