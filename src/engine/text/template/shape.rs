//! Shapes a conversation as a template's traits require.

use serde_json::{Value, json};

use crate::engine::text::messages::{TemplateMessage, ToolResult, Turn};
use crate::engine::text::python;
use crate::engine::text::template_traits::{
    ArgumentShape, Calls, LateSystem, Results, SystemPrompt, TemplateTraits, TextBeforeCalls, ThoughtsBeforeCalls, TurnOrder,
};
use crate::wire::reminder;

/// The role of the model's messages.
const ASSISTANT: &str = "assistant";

/// The messages in the shape of these traits, as the JSON that transformers would pass to the template.
pub(crate) fn shaped(mut messages: Vec<TemplateMessage>, traits: &TemplateTraits) -> Vec<Value> {
    if traits.system == SystemPrompt::InFirstUser {
        put_system_into_first_user(&mut messages);
    }
    if traits.late_system == LateSystem::AsUser {
        messages.iter_mut().skip(1).for_each(system_to_user);
    }
    if traits.calls == Calls::OneByOne {
        messages = one_by_one(messages);
    }
    if traits.results == Results::User {
        messages.iter_mut().for_each(result_to_user);
    }
    if traits.turns == TurnOrder::Alternate {
        messages = alternating(messages);
    }
    messages.into_iter().flat_map(|message| as_json(message, traits)).collect()
}

fn put_system_into_first_user(messages: &mut Vec<TemplateMessage>) {
    let Some(TemplateMessage::System(system)) = messages.first() else { return };
    let mut first = system.clone();
    if let Some(TemplateMessage::User(text)) = messages.get(1) {
        first = joined(first, text);
        messages.remove(0);
    }
    messages[0] = TemplateMessage::User(first);
}

/// The template refuses such a message, or does not show it.
fn system_to_user(message: &mut TemplateMessage) {
    if let TemplateMessage::System(text) = message {
        *message = TemplateMessage::User(reminder(text));
    }
}

fn result_to_user(message: &mut TemplateMessage) {
    if let TemplateMessage::Result(result) = message {
        *message = TemplateMessage::User(std::mem::take(&mut result.text));
    }
}

/// Puts each call into a turn of its own, directly followed by its results.
fn one_by_one(messages: Vec<TemplateMessage>) -> Vec<TemplateMessage> {
    let mut out = Vec::new();
    let mut messages = messages.into_iter().peekable();
    while let Some(message) = messages.next() {
        let TemplateMessage::Assistant(mut turn) = message else {
            out.push(message);
            continue;
        };
        let mut results: Vec<ToolResult> = Vec::new();
        while let Some(TemplateMessage::Result(result)) = messages.next_if(|next| matches!(next, TemplateMessage::Result(_))) {
            results.push(result);
        }
        let calls = turn.calls.split_off(turn.calls.len().min(1));
        let rest = calls.into_iter().map(|call| Turn { calls: vec![call], ..Turn::default() });
        for turn in std::iter::once(turn).chain(rest) {
            let (own, others) = results.into_iter().partition(|result| turn.calls.iter().any(|call| call.id == result.call_id));
            results = others;
            out.push(TemplateMessage::Assistant(turn));
            out.extend(Vec::into_iter(own).map(TemplateMessage::Result));
        }
        out.extend(results.into_iter().map(TemplateMessage::Result));
    }
    out
}

/// Joins consecutive messages of one role, see [`TurnOrder::Alternate`].
fn alternating(messages: Vec<TemplateMessage>) -> Vec<TemplateMessage> {
    let mut out: Vec<TemplateMessage> = Vec::new();
    for message in messages {
        match (out.pop(), message) {
            (Some(TemplateMessage::User(text)), TemplateMessage::User(more)) => {
                out.push(TemplateMessage::User(joined(text, &more)))
            }
            (Some(TemplateMessage::Result(result)), TemplateMessage::User(more)) => {
                out.push(TemplateMessage::Result(ToolResult { text: joined(result.text, &more), ..result }));
            }
            // A result must directly follow its call, so user text that came between them is appended to the
            // result.
            (Some(TemplateMessage::User(text)), TemplateMessage::Result(result)) if follows_calls(&out) => {
                out.push(TemplateMessage::Result(ToolResult { text: joined(result.text, &text), ..result }));
            }
            (Some(TemplateMessage::Assistant(turn)), TemplateMessage::Assistant(mut more)) => {
                out.push(TemplateMessage::Assistant(Turn {
                    reasoning: joined(turn.reasoning, &more.reasoning),
                    text: joined(turn.text, &more.text),
                    calls: turn.calls.into_iter().chain(more.calls.drain(..)).collect(),
                }))
            }
            (before, message) => out.extend(before.into_iter().chain([message])),
        }
    }
    out
}

fn follows_calls(before: &[TemplateMessage]) -> bool {
    matches!(before.last(), Some(TemplateMessage::Assistant(turn)) if !turn.calls.is_empty())
}

/// Both texts, with a blank line between them unless one is empty.
fn joined(mut text: String, more: &str) -> String {
    if !text.is_empty() && !more.is_empty() {
        text.push_str("\n\n");
    }
    text + more
}

/// One message, or two for a turn whose text is apart from its calls.
fn as_json(message: TemplateMessage, traits: &TemplateTraits) -> Vec<Value> {
    match message {
        TemplateMessage::System(text) => vec![json!({"role": "system", "content": text})],
        TemplateMessage::User(text) => vec![json!({"role": "user", "content": text})],
        TemplateMessage::Result(ToolResult { call_id, name, text }) => {
            let mut message = json!({"role": "tool", "tool_call_id": call_id, "content": text});
            if let Some(name) = name {
                message["name"] = json!(name);
            }
            vec![message]
        }
        TemplateMessage::Assistant(turn) if turn.text.is_empty() || turn.calls.is_empty() => vec![said(turn, ASSISTANT, traits)],
        TemplateMessage::Assistant(turn) => text_and_calls(turn, traits),
    }
}

/// A turn with text and calls.
fn text_and_calls(turn: Turn, traits: &TemplateTraits) -> Vec<Value> {
    let role = match traits.said {
        TextBeforeCalls::Beside => return vec![said(turn, ASSISTANT, traits)],
        TextBeforeCalls::Apart | TextBeforeCalls::ApartFromNone => ASSISTANT,
        TextBeforeCalls::ApartAsModel => "model",
    };
    let Turn { reasoning, text, calls } = turn;
    let (with_text, with_calls) = match traits.thoughts {
        ThoughtsBeforeCalls::WithText => (reasoning, String::new()),
        ThoughtsBeforeCalls::WithCalls => (String::new(), reasoning),
    };
    let text = Turn { reasoning: with_text, text, calls: vec![] };
    let calls = Turn { reasoning: with_calls, text: String::new(), calls };
    vec![said(text, role, traits), said(calls, ASSISTANT, traits)]
}

fn said(Turn { reasoning, text, calls }: Turn, role: &str, traits: &TemplateTraits) -> Value {
    let none = traits.said == TextBeforeCalls::ApartFromNone && text.is_empty() && !calls.is_empty();
    let mut message = json!({"role": role, "content": if none { Value::Null } else { json!(text) }});
    if !reasoning.is_empty() {
        // Templates use one name or the other.
        message["reasoning_content"] = json!(reasoning);
        message["thinking"] = json!(reasoning);
    }
    if !calls.is_empty() {
        let calls = calls.into_iter().map(|call| {
            let arguments = match traits.arguments {
                ArgumentShape::Mapping => call.input,
                // Cannot fail: it was JSON before.
                ArgumentShape::Json => json!(python::json::one_line(&call.input).unwrap_or_else(|_| call.input.to_string())),
            };
            json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}})
        });
        message["tool_calls"] = calls.collect();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::text::messages::Call;
    use crate::engine::text::template_traits::Descriptions;

    fn user(text: &str) -> TemplateMessage {
        TemplateMessage::User(text.into())
    }

    fn system(text: &str) -> TemplateMessage {
        TemplateMessage::System(text.into())
    }

    fn assistant(text: &str, calls: &[u8]) -> TemplateMessage {
        let call = |number: &u8| Call { id: number.to_string(), name: "X".into(), input: json!({"a": number}) };
        TemplateMessage::Assistant(Turn { text: text.into(), calls: calls.iter().map(call).collect(), ..Turn::default() })
    }

    fn result(number: u8) -> TemplateMessage {
        TemplateMessage::Result(ToolResult { call_id: number.to_string(), name: Some("X".into()), text: format!("r{number}") })
    }

    /// Each message in short.
    fn shape(messages: &[TemplateMessage], traits: TemplateTraits) -> Vec<String> {
        let messages = shaped(messages.to_vec(), &traits);
        let short = messages.iter().map(|message| {
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            let calls: String = calls.map(|call| format!(" call {}", call["function"]["arguments"])).collect();
            let content = message["content"].as_str().map_or("none".into(), |text| text.replace("\n\n", "/"));
            let content = content.replace("<system-reminder>\n", "(").replace("\n</system-reminder>", ")");
            format!("{}: {content}{calls}", message["role"].as_str().unwrap())
        });
        short.collect()
    }

    #[test]
    fn most_templates_get_what_there_is() {
        let messages = [system("s"), user("a"), user("b"), assistant("c", &[1, 2]), result(1), result(2), user("d"), system("e")];
        assert_eq!(
            shape(&messages, TemplateTraits::default()),
            [
                "system: s",
                "user: a",
                "user: b",
                "assistant: c call {\"a\":1} call {\"a\":2}",
                "tool: r1",
                "tool: r2",
                "user: d",
                "system: e"
            ]
        );
    }

    #[test]
    fn roles_alternate_and_results_follow_their_calls() {
        let traits = TemplateTraits { turns: TurnOrder::Alternate, late_system: LateSystem::AsUser, ..TemplateTraits::default() };
        let messages = [
            system("s"),
            user("a"),
            system("b"),
            assistant("c", &[1]),
            assistant("d", &[2]),
            system("e"),
            result(1),
            result(2),
            user("f"),
            system("g"),
            assistant("h", &[]),
            assistant("i", &[]),
            user("j"),
        ];
        assert_eq!(
            shape(&messages, traits),
            [
                "system: s",
                "user: a/(b)",
                "assistant: c/d call {\"a\":1} call {\"a\":2}",
                "tool: r1/(e)",
                "tool: r2/f/(g)",
                "assistant: h/i",
                "user: j"
            ]
        );
    }

    #[test]
    fn the_system_prompt_opens_the_first_message() {
        let traits = TemplateTraits { system: SystemPrompt::InFirstUser, ..TemplateTraits::default() };
        assert_eq!(shape(&[system("s"), user("a"), user("b")], traits), ["user: s/a", "user: b"]);
        assert_eq!(shape(&[system("s"), assistant("a", &[])], traits), ["user: s", "assistant: a"]);
        assert_eq!(shape(&[user("a")], traits), ["user: a"]);
    }

    #[test]
    fn results_are_the_users_where_there_are_no_tools() {
        let traits = TemplateTraits { results: Results::User, turns: TurnOrder::Alternate, ..TemplateTraits::default() };
        let messages = [user("a"), assistant("b", &[1, 2]), result(1), result(2), user("c")];
        let calls = "assistant: b call {\"a\":1} call {\"a\":2}";
        assert_eq!(shape(&messages, traits), ["user: a", calls, "user: r1/r2/c"]);
    }

    #[test]
    fn calls_come_one_by_one_with_their_results() {
        let traits = TemplateTraits { calls: Calls::OneByOne, ..TemplateTraits::default() };
        let messages = [assistant("a", &[1, 2, 3]), result(2), result(1), result(9), user("b"), assistant("c", &[])];
        assert_eq!(
            shape(&messages, traits),
            [
                "assistant: a call {\"a\":1}",
                "tool: r1",
                "assistant:  call {\"a\":2}",
                "tool: r2",
                "assistant:  call {\"a\":3}",
                "tool: r9",
                "user: b",
                "assistant: c"
            ]
        );
    }

    #[test]
    fn text_stands_apart_from_calls_and_arguments_are_text() {
        let messages = [assistant("a", &[1]), assistant("", &[2])];
        let apart = TemplateTraits { said: TextBeforeCalls::Apart, ..TemplateTraits::default() };
        assert_eq!(shape(&messages, apart), ["assistant: a", "assistant:  call {\"a\":1}", "assistant:  call {\"a\":2}"]);
        let none =
            TemplateTraits { said: TextBeforeCalls::ApartFromNone, arguments: ArgumentShape::Json, ..TemplateTraits::default() };
        let calls = [1, 2].map(|number| format!("assistant: none call \"{{\\\"a\\\": {number}}}\""));
        assert_eq!(shape(&messages, none)[1..], calls);
        let as_model = TemplateTraits { said: TextBeforeCalls::ApartAsModel, ..TemplateTraits::default() };
        let messages = [&messages[..], &[assistant("b", &[])]].concat();
        let calls = [1, 2].map(|number| format!("assistant:  call {{\"a\":{number}}}"));
        assert_eq!(shape(&messages, as_model), ["model: a", &calls[0], &calls[1], "assistant: b"]);
    }

    #[test]
    fn thoughts_are_where_the_template_shows_them() {
        let TemplateMessage::Assistant(turn) = assistant("a", &[1]) else { panic!("a turn") };
        let turn = TemplateMessage::Assistant(Turn { reasoning: "hm".into(), ..turn });
        let thoughts = |said, thoughts| {
            let messages = shaped(vec![turn.clone()], &TemplateTraits { said, thoughts, ..TemplateTraits::default() });
            messages.iter().map(|message| message["reasoning_content"].clone()).collect::<Vec<_>>()
        };
        use ThoughtsBeforeCalls::{WithCalls, WithText};
        assert_eq!(thoughts(TextBeforeCalls::Beside, WithText), [json!("hm")]);
        assert_eq!(thoughts(TextBeforeCalls::Apart, WithText), [json!("hm"), Value::Null]);
        assert_eq!(thoughts(TextBeforeCalls::Apart, WithCalls), [Value::Null, json!("hm")]);
    }

    #[test]
    fn what_is_unusual_is_told_in_one_line() {
        assert_eq!(TemplateTraits::default().to_string(), "as most are");
        let traits =
            TemplateTraits { turns: TurnOrder::Alternate, descriptions: Descriptions::Always, ..TemplateTraits::default() };
        assert_eq!(traits.to_string(), "roles alternate, so neighbours are joined; every tool has a description");
    }
}
