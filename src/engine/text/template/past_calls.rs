//! What a template makes of calls: the text in which a model finds its own past calls, and should write the next.

use serde_json::{Value, json};

use crate::engine::text::call_ids;
use crate::engine::text::messages::{Call, ChatMessage, ToolResult, Turn};

/// A turn with calls as a template writes it, and what follows it. See [`PastCall`] for the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCalls {
    /// With the first call.
    pub one: String,
    /// With both, where they can stand in one turn.
    pub two: Option<String>,
}

/// A call that is tried out. Neither its name nor its arguments are in any template.
pub struct PastCall {
    pub id: String,
    pub name: &'static str,
    pub arguments: Value,
}

/// The calls that are tried out.
pub fn calls() -> [PastCall; 2] {
    let call = |number: usize, name: &'static str, tree: &str| PastCall {
        id: call_ids::of_number(number),
        name,
        arguments: json!({"tree": tree, "age": 30 + number}),
    };
    [call(1, "fell_tree", "oak-tree"), call(2, "plant_tree", "fir-tree")]
}

/// The user's words before them.
const ASKED: &str = "Which trees are oaks?";

impl PastCalls {
    /// `render` renders a conversation, or refuses it.
    pub fn of(render: impl Fn(Vec<ChatMessage>) -> Option<String>) -> Option<Self> {
        let after_asking = |calls: &[PastCall]| {
            let prompt = render(conversation(calls))?;
            // Some templates repeat the question further on.
            let (_, turn) = prompt.split_once(ASKED)?;
            Some(turn.to_owned())
        };
        let calls = calls();
        Some(Self { one: after_asking(&calls[..1])?, two: after_asking(&calls) })
    }
}

fn conversation(calls: &[PastCall]) -> Vec<ChatMessage> {
    let call = |call: &PastCall| Call { id: call.id.clone(), name: call.name.into(), input: call.arguments.clone() };
    let result = |call: &PastCall| {
        let result = ToolResult { call_id: call.id.clone(), name: Some(call.name.into()), text: "Done.".into() };
        ChatMessage::Result(result)
    };
    let turn = Turn { calls: calls.iter().map(call).collect(), ..Turn::default() };
    let messages = [ChatMessage::User(ASKED.into()), ChatMessage::Assistant(turn)];
    messages.into_iter().chain(calls.iter().map(result)).collect()
}
