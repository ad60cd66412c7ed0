//! How sure a model is of the calls in an answer.

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BackendError;
use crate::wire::MessagesRequest;

/// A backend that can tell how sure its model is of an answer.
pub trait JudgeAnswers: Send + Sync {
    /// Answers the request greedily. `answer`: tokens that are taken as the answer whatever the model would say (teacher
    /// forcing); without them, it answers itself.
    ///
    /// # Errors
    /// The request is invalid, the backend fails, or the grammar does not allow the given answer.
    fn judge(&self, request: MessagesRequest, answer: Option<Vec<u32>>) -> BoxFuture<'_, Result<JudgedAnswer, BackendError>>;
}

/// An answer, and how sure the model was of its calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgedAnswer {
    /// The answer's tokens, with which it can be judged again.
    pub tokens: Vec<u32>,
    /// Its calls, in order.
    pub calls: Vec<CallMargin>,
}

/// How sure the model was of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallMargin {
    /// The tool that was called.
    pub tool: String,
    /// The arguments, as JSON text.
    pub input: String,
    /// The call's tokens for which the grammar left a choice.
    pub free_tokens: usize,
    /// Those that it prescribed.
    pub forced_tokens: usize,
    /// The mean log-probability of the free tokens, among the tokens that the grammar allowed.
    pub mean_logprob: f64,
    /// The free token of which the model was least sure; `None` if there is none.
    pub least: Option<LeastMargin>,
}

/// The token of a call of which the model was least sure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LeastMargin {
    /// How far it was ahead of the best other token that the grammar allowed, in log-probability; below 0 if it was behind.
    pub margin: f64,
    /// The argument that it is a part of; `None` in the tool's name and between arguments.
    pub argument: Option<String>,
    /// Its number in the answer, from 1 on.
    pub token: usize,
    /// Its text.
    pub text: String,
    /// The text of the other token.
    pub runner_up: String,
}
