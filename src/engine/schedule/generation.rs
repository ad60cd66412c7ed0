//! What the engine is asked for and what it tells: plain data between the caller and the thread that owns the device.

use std::time::Duration;

use crate::engine::EngineError;
use crate::engine::decode::Sampler;
use crate::engine::decode::{AnswerDecoder, Piece};

/// One answer to generate.
pub struct Generation {
    /// The whole prompt.
    pub prompt: Vec<u32>,
    /// Most tokens to generate. A tool call that is open then stays open.
    pub max_tokens: usize,
    /// Turns tokens into content and says which may come next.
    pub decoder: AnswerDecoder,
    /// Chooses tokens.
    pub sampler: Sampler,
}

/// What happens to a generation, in this order: `Started`, any number of `Piece`, `Finished`; an error ends it anywhere.
#[derive(Debug)]
pub enum EngineEvent {
    /// Its turn has come; the prompt is being computed, of which the first `cached_tokens` were known.
    Started { prompt_tokens: usize, cached_tokens: usize },
    /// The answer grew.
    Piece(Piece),
    /// The answer is complete.
    Finished(Finished),
}

/// How an answer ended.
#[derive(Debug)]
pub struct Finished {
    pub stop: Stop,
    /// Whether the answer calls a tool.
    pub called_tool: bool,
    /// Tokens generated, the end token among them.
    pub output_tokens: usize,
    /// Time to compute the prompt, up to the first token's logits.
    pub prefill: Duration,
    /// Time to generate the answer after that.
    pub decode: Duration,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model ended it.
    End,
    /// `max_tokens` or the model's context was used up.
    MaxTokens,
    /// A stop sequence came up.
    Sequence(String),
}

/// Where a generation's events go. The receiver's end being dropped means: nobody wants the answer any more.
pub type EventSender = tokio::sync::mpsc::UnboundedSender<Result<EngineEvent, EngineError>>;

/// Where a generation's events come from.
pub type EventReceiver = tokio::sync::mpsc::UnboundedReceiver<Result<EngineEvent, EngineError>>;
