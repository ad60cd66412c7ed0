//! What tells the servers that speak the chat protocol apart.

/// A family of OpenAI-compatible servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's own API.
    OpenAi,
    OpenRouter,
    LmStudio,
    /// Any other server: what all of them know.
    Compatible,
}

impl Dialect {
    /// The dialect that a base URL gives away. LM Studio cannot be told from its address: name it.
    pub fn of_url(base_url: &str) -> Self {
        let host = base_url.split("://").last().and_then(|rest| rest.split(['/', ':']).next()).unwrap_or("");
        match host {
            "api.openai.com" => Self::OpenAi,
            "openrouter.ai" => Self::OpenRouter,
            _ => Self::Compatible,
        }
    }

    /// Whether a message may hold files. The others have no place for them.
    pub(super) fn takes_files(self) -> bool {
        matches!(self, Self::OpenAi | Self::OpenRouter)
    }

    /// Whether a system message may stand in mid-conversation. Many chat templates of local models refuse that.
    pub(super) fn takes_late_system(self) -> bool {
        matches!(self, Self::OpenAi | Self::OpenRouter)
    }

    /// Whether `tool_choice` may name a function. LM Studio takes `none`, `auto` and `required` only.
    pub(super) fn takes_named_choice(self) -> bool {
        self != Self::LmStudio
    }

    /// Whether `top_k` is known.
    pub(super) fn takes_top_k(self) -> bool {
        self != Self::OpenAi
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_gives_the_dialect_away() {
        for (url, dialect) in [
            ("https://api.openai.com/v1", Dialect::OpenAi),
            ("https://openrouter.ai/api/v1", Dialect::OpenRouter),
            ("http://localhost:1234/v1", Dialect::Compatible),
            ("http://127.0.0.1:8000", Dialect::Compatible),
            ("https://api.openai.com.example.org/v1", Dialect::Compatible),
        ] {
            assert_eq!(Dialect::of_url(url), dialect, "{url}");
        }
    }
}
