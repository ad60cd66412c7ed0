//! The differences between servers that speak the chat protocol.

/// A family of OpenAI-compatible servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's own API.
    OpenAi,
    /// OpenRouter, which forwards to models of many providers.
    OpenRouter,
    /// LM Studio, which runs local models.
    LmStudio,
    /// Any other server. It is sent only what all servers understand.
    Compatible,
}

impl Dialect {
    /// The dialect of the server at a base URL. LM Studio has no address of its own and is never recognised.
    pub fn of_url(base_url: &str) -> Self {
        let host = base_url.split("://").last().and_then(|rest| rest.split(['/', ':']).next()).unwrap_or("");
        match host {
            "api.openai.com" => Self::OpenAi,
            "openrouter.ai" => Self::OpenRouter,
            _ => Self::Compatible,
        }
    }

    /// Whether messages may contain files.
    pub(super) fn takes_files(self) -> bool {
        matches!(self, Self::OpenAi | Self::OpenRouter)
    }

    /// Whether a system message may follow other messages. The chat templates of many local models refuse that.
    pub(super) fn takes_late_system(self) -> bool {
        matches!(self, Self::OpenAi | Self::OpenRouter)
    }

    /// Whether `tool_choice` may name a function. LM Studio accepts only `none`, `auto` and `required`.
    pub(super) fn takes_named_choice(self) -> bool {
        self != Self::LmStudio
    }

    /// Whether this field of sampling is accepted. OpenAI refuses fields that it does not know.
    pub(super) fn takes_sampling(self, field: &str) -> bool {
        self != Self::OpenAi || ["seed", "presence_penalty"].contains(&field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_tells_the_dialect() {
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
