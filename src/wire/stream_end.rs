//! How the streams of each protocol end.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Endpoint;

/// The data of the event that ends a stream of chat completions.
pub const DONE: &str = "[DONE]";

/// What an event means for its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamSign {
    /// More comes.
    GoesOn,
    /// The answer is whole, and its stream may end with another event or without one: some servers leave out `[DONE]`.
    MayEnd,
    /// The answer is whole.
    Ends,
    /// The server failed in the middle of the answer.
    Fails,
}

impl StreamSign {
    /// What an event of an answer at this endpoint means, by its name and its data as text.
    pub fn of_event(endpoint: Endpoint, name: &str, data: &str) -> Self {
        match (endpoint, name) {
            (_, "error") => Self::Fails,
            (Endpoint::Messages, "message_stop") => Self::Ends,
            (Endpoint::Responses, "response.completed" | "response.incomplete") => Self::Ends,
            (Endpoint::Responses, "response.failed") => Self::Fails,
            (Endpoint::ChatCompletions | Endpoint::Completions, _) if data.trim() == DONE => Self::Ends,
            (Endpoint::ChatCompletions | Endpoint::Completions, _) => Self::of_chunk(data),
            _ => Self::GoesOn,
        }
    }

    /// What a chunk means, of a chat completion or a continued text.
    fn of_chunk(data: &str) -> Self {
        // Little is kept of it: the data may be far heavier as values than as text.
        #[derive(Deserialize)]
        struct ChunkOutline {
            error: Option<IgnoredAny>,
            choices: Option<Vec<ChoiceEnd>>,
        }
        #[derive(Deserialize)]
        struct ChoiceEnd {
            finish_reason: Option<IgnoredAny>,
        }
        match serde_json::from_str(data) {
            Ok(ChunkOutline { error: Some(_), .. }) => Self::Fails,
            Ok(ChunkOutline { choices: Some(choices), .. }) if choices.iter().any(|choice| choice.finish_reason.is_some()) => {
                Self::MayEnd
            }
            _ => Self::GoesOn,
        }
    }
}

impl Endpoint {
    /// Whether its streams say that they are whole.
    pub fn ends_its_streams(self) -> bool {
        match self {
            Self::Messages | Self::ChatCompletions | Self::Responses | Self::Completions => true,
            Self::CountTokens | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StreamSign::{Ends, Fails, GoesOn, MayEnd};

    #[test]
    fn each_protocol_ends_its_streams_in_its_own_way() {
        for (endpoint, name, data, sign) in [
            (Endpoint::Messages, "message_stop", "{}", Ends),
            (Endpoint::Messages, "error", "{}", Fails),
            (Endpoint::Messages, "message", "[DONE]", GoesOn),
            (Endpoint::ChatCompletions, "message", "[DONE]", Ends),
            (Endpoint::Completions, "message", " [DONE]", Ends),
            (Endpoint::ChatCompletions, "message", "{\"error\": {\"code\": 502}}", Fails),
            (Endpoint::ChatCompletions, "message", "{\"error\": null, \"choices\": []}", GoesOn),
            (Endpoint::ChatCompletions, "message", "{\"choices\": [{\"delta\": {\"content\": \"\\\"error\\\"\"}}]}", GoesOn),
            (Endpoint::ChatCompletions, "message", "{\"choices\": [{\"finish_reason\": \"stop\"}]}", MayEnd),
            (Endpoint::Completions, "message", "{\"choices\": [{\"text\": \"a\", \"finish_reason\": null}]}", GoesOn),
            (Endpoint::Responses, "response.completed", "{}", Ends),
            (Endpoint::Responses, "response.incomplete", "{}", Ends),
            (Endpoint::Responses, "response.failed", "{}", Fails),
            (Endpoint::Responses, "response.output_text.done", "{}", GoesOn),
            (Endpoint::Other, "message", "[DONE]", GoesOn),
        ] {
            assert_eq!(StreamSign::of_event(endpoint, name, data), sign, "{endpoint:?} {name} {data}");
        }
    }
}
