//! The paths of the Messages API, and of OpenAI's protocols.

/// Answers a conversation.
pub const MESSAGES_PATH: &str = "/v1/messages";

/// Counts a conversation's prompt tokens without answering it.
pub const COUNT_TOKENS_PATH: &str = "/v1/messages/count_tokens";

/// Answers a conversation in OpenAI's protocol.
pub const CHAT_COMPLETIONS_PATH: &str = "/v1/chat/completions";

/// Answers a conversation in OpenAI's newer protocol.
pub const RESPONSES_PATH: &str = "/v1/responses";

/// Continues a text, in OpenAI's first protocol.
pub const COMPLETIONS_PATH: &str = "/v1/completions";

/// Lists the models, for the clients of every protocol.
pub const MODELS_PATH: &str = "/v1/models";

/// What a request's path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An answer: [`MESSAGES_PATH`].
    Messages,
    /// A token count: [`COUNT_TOKENS_PATH`].
    CountTokens,
    /// An answer in OpenAI's protocol: [`CHAT_COMPLETIONS_PATH`].
    ChatCompletions,
    /// An answer in OpenAI's newer protocol: [`RESPONSES_PATH`].
    Responses,
    /// The continuation of a text: [`COMPLETIONS_PATH`].
    Completions,
    /// Anything else.
    Other,
}

impl Endpoint {
    /// The endpoint at a path. A query after the path does not matter, and neither do slashes too many: base URLs end with one.
    pub fn of_path(path_and_query: &str) -> Self {
        let path = path_and_query.split_once('?').map_or(path_and_query, |(path, _)| path);
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        match format!("/{}", names.join("/")).as_str() {
            MESSAGES_PATH => Self::Messages,
            COUNT_TOKENS_PATH => Self::CountTokens,
            CHAT_COMPLETIONS_PATH => Self::ChatCompletions,
            RESPONSES_PATH => Self::Responses,
            COMPLETIONS_PATH => Self::Completions,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_decides_and_the_query_does_not() {
        for (path, endpoint) in [
            ("/v1/messages", Endpoint::Messages),
            ("/v1/messages?beta=true", Endpoint::Messages),
            ("/v1/messages/count_tokens?beta=true", Endpoint::CountTokens),
            ("//v1//messages/?beta=true", Endpoint::Messages),
            ("/v1/chat/completions", Endpoint::ChatCompletions),
            ("/v1/responses?x=1", Endpoint::Responses),
            ("/v1/completions", Endpoint::Completions),
            ("/v1/messages/batches", Endpoint::Other),
            ("/v1/models?path=/v1/messages", Endpoint::Other),
            ("", Endpoint::Other),
        ] {
            assert_eq!(Endpoint::of_path(path), endpoint, "{path}");
        }
    }
}
