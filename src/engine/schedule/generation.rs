//! The data that crosses the border between callers and the device's thread: the request for an answer, and its events.

use std::time::Duration;

use crate::engine::EngineError;
use crate::engine::decode::{AnswerDecoder, Piece, Sampler, TokenChoice};

/// A request for one answer.
pub struct Generation {
    /// The whole prompt, in tokens.
    pub prompt: Vec<u32>,
    /// Most tokens to generate. A tool call that is open then stays open.
    pub max_tokens: usize,
    /// Turns tokens into content and restricts which may come next.
    pub decoder: AnswerDecoder,
    /// Chooses each token.
    pub sampler: Sampler,
}

/// What happens to an answer, in this order: `Started`, any number of `Piece`, `Finished`. An error ends it at any point.
#[derive(Debug)]
pub enum EngineEvent {
    /// It became active. The first `cached_tokens` of the prompt came from the prefix cache; the rest is being computed.
    Started {
        /// All tokens of the prompt.
        prompt_tokens: usize,
        /// How many of these were found in the cache.
        cached_tokens: usize,
    },
    /// More of its content.
    Piece(Piece),
    /// It is complete.
    Finished(Finished),
}

/// A complete answer's figures.
#[derive(Debug)]
pub struct Finished {
    /// What ended it.
    pub reason: EndReason,
    /// Whether it calls a tool.
    pub called_tool: bool,
    /// Tokens generated, the end token included.
    pub output_tokens: usize,
    /// Time spent on computing the prompt, up to the first token's logits.
    pub prefill: Duration,
    /// Time spent on all further tokens.
    pub decode: Duration,
    /// The answer's tokens, and how sure the model was of those in calls, if the decoder watched them.
    pub choices: Option<(Vec<u32>, Vec<TokenChoice>)>,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The model ended it.
    EndToken,
    /// `max_tokens` or the model's context is used up.
    MaxTokens,
    /// It is as long as the engine lets any answer become.
    OutputLimit,
    /// It only repeats itself.
    Repetition {
        /// How many tokens come again and again.
        period: usize,
    },
    /// The answer reached this stop sequence.
    StopSequence(String),
}

/// The worker's end of an answer's events. If the receiver is dropped, nobody wants the answer any more.
pub(crate) type EventSender = tokio::sync::mpsc::UnboundedSender<Result<EngineEvent, EngineError>>;

/// The caller's end of an answer's events. Dropping it cancels the answer.
pub type EventReceiver = tokio::sync::mpsc::UnboundedReceiver<Result<EngineEvent, EngineError>>;
