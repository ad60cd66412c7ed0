//! How a template writes past calls: the text that a model reads its own calls in, and should write the next call in.

use serde_json::{Value, json};

use crate::engine::text::call_ids;
use crate::engine::text::messages::{Call, TemplateMessage, ToolResult, Turn};

/// What a template writes for a turn with the trial calls, from after the user's question to the end of the
/// prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCalls {
    /// The turn with the first trial call only.
    pub one: String,
    /// The turn with both; `None` if the template refuses two calls in one turn.
    pub two: Option<String>,
    /// Length of the common beginning of `one` and a turn of plain text, whitespace aside, in bytes. `None` if the template
    /// allows no such turn.
    pub opening: Option<usize>,
}

/// A call for trial. Its name and arguments occur in no template.
pub(crate) struct PastCall {
    pub id: String,
    pub name: &'static str,
    pub arguments: Value,
}

/// The trial calls.
pub(crate) fn calls() -> [PastCall; 2] {
    let call = |number: usize, name: &'static str, tree: &str| PastCall {
        id: call_ids::of_number(number),
        name,
        arguments: json!({"tree": tree, "age": 30 + number}),
    };
    [call(1, "fell_tree", "oak-tree"), call(2, "plant_tree", "fir-tree")]
}

/// The user's message before the trial calls.
const ASKED: &str = "Which trees are oaks?";

impl PastCalls {
    /// Renders the trials. `render` returns `None` if the template refuses a conversation; so does this if it
    /// refuses even one call.
    pub fn of(render: impl Fn(Vec<TemplateMessage>) -> Option<String>) -> Option<Self> {
        let after_asking = |messages: Vec<TemplateMessage>| {
            let prompt = render([vec![TemplateMessage::User(ASKED.into())], messages].concat())?;
            // Split at the first occurrence, as some templates repeat the question.
            prompt.split_once(ASKED).map(|(_, turn)| turn.to_owned())
        };
        let calls = calls();
        let one = after_asking(turn_and_results(&calls[..1]))?;
        let plain = Turn { text: "Most.".into(), ..Turn::default() };
        let plain = after_asking(vec![TemplateMessage::Assistant(plain), TemplateMessage::User("Thanks.".into())]);
        Some(Self {
            opening: plain.map(|plain| same_but_for_whitespace(&one, &plain)),
            two: after_asking(turn_and_results(&calls)),
            one,
        })
    }
}

/// How many bytes at the start of `text` also begin `other`, ignoring whitespace in both.
fn same_but_for_whitespace(text: &str, other: &str) -> usize {
    let mut other = other.chars().filter(|c| !c.is_whitespace());
    let mut letters = text.char_indices().filter(|(_, c)| !c.is_whitespace());
    letters.find(|(_, c)| other.next() != Some(*c)).map_or(text.len(), |(at, _)| at)
}

/// An assistant turn with these calls, and their results.
fn turn_and_results(calls: &[PastCall]) -> Vec<TemplateMessage> {
    let call = |call: &PastCall| Call { id: call.id.clone(), name: call.name.into(), input: call.arguments.clone() };
    let result = |call: &PastCall| {
        let result = ToolResult { call_id: call.id.clone(), name: Some(call.name.into()), text: "Done.".into() };
        TemplateMessage::Result(result)
    };
    let turn = Turn { calls: calls.iter().map(call).collect(), ..Turn::default() };
    [TemplateMessage::Assistant(turn)].into_iter().chain(calls.iter().map(result)).collect()
}

#[cfg(test)]
mod tests {
    use super::same_but_for_whitespace;

    #[test]
    fn turns_begin_alike_whatever_whitespace_is_between() {
        let cases =
            [("<a>\n\n{x", "\n<a>Most", 5), ("<a>x", "<a>xy", 4), ("<a>{", "<b>Most", 1), ("é {", "é\nM", 3), ("", "x", 0)];
        for (text, other, same) in cases {
            assert_eq!(same_but_for_whitespace(text, other), same, "{text:?} {other:?}");
        }
    }
}
