//! What the events of protocols other than Anthropic's spell, for people to read. A trace has no body made of them.

use super::RecordedEvent;
use super::pieces::{PieceHolder, PieceId, pieces_in};

/// A text that events spell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpelledText {
    /// What it is, such as `content` or `call 0 arguments`.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Whether it should be JSON.
    pub is_json: bool,
}

/// The texts in the order in which they begin.
pub fn spelled_texts(events: &[RecordedEvent]) -> Vec<SpelledText> {
    let mut texts: Vec<(PieceId, String)> = Vec::new();
    for event in events {
        let mut data = event.data.clone();
        for piece in pieces_in(&mut data) {
            match texts.iter_mut().find(|(id, _)| *id == piece.id) {
                Some((_, text)) => text.push_str(piece.text),
                None => texts.push((piece.id, piece.text.clone())),
            }
        }
    }
    texts.retain(|(_, text)| !text.is_empty());
    texts.into_iter().map(|(id, text)| SpelledText { name: name_of(&id), is_json: is_json(&id), text }).collect()
}

fn name_of(PieceId { holder, field }: &PieceId) -> String {
    let field = field.trim_start_matches('/');
    let of_choice = |choice: u64| if choice == 0 { String::new() } else { format!("alternative {choice} ") };
    match holder {
        PieceHolder::Block(index) => format!("block {index} {field}"),
        PieceHolder::Choice(choice) => format!("{}{field}", of_choice(*choice)),
        PieceHolder::Call { choice, call } => format!("{}call {call} {field}", of_choice(*choice)),
        PieceHolder::Reasoning { choice, part } => format!("{}reasoning {part} {field}", of_choice(*choice)),
        PieceHolder::Item { output, .. } => {
            let field = field.trim_start_matches("response.").trim_end_matches(".delta");
            format!("item {output} {field}")
        }
        PieceHolder::Other => field.to_owned(),
    }
}

/// Whether a text is the arguments of a function.
fn is_json(id: &PieceId) -> bool {
    match id.holder {
        PieceHolder::Call { .. } | PieceHolder::Choice(_) => id.field == "arguments",
        PieceHolder::Item { .. } => id.field == "response.function_call_arguments.delta",
        PieceHolder::Block(_) => id.field == "partial_json",
        PieceHolder::Reasoning { .. } | PieceHolder::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spelled(data: &[Value]) -> String {
        let events: Vec<_> =
            data.iter().map(|data| RecordedEvent { at_us: 1, event: "message".into(), data: data.clone() }).collect();
        let line = |text: SpelledText| format!("{}: {}{}", text.name, text.text, if text.is_json { " (JSON)" } else { "" });
        spelled_texts(&events).into_iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn texts_are_joined_and_named() {
        let choice = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
        let call =
            |arguments: &str| choice(json!({"tool_calls": [{"index": 0, "function": {"name": "Read", "arguments": arguments}}]}));
        insta::assert_snapshot!(spelled(&[choice(json!({"role": "assistant", "content": ""})), choice(json!({"content": "Hi"})), call("{\"a"), choice(json!({"content": "!"})),
            json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\": 1}"}}]}}]}), json!("[DONE]")]), @r#"
        content: Hi!
        call 0 name: Read
        call 0 arguments: {"a": 1} (JSON)
        "#);
        let item = |kind: &str, piece: &str| json!({"type": format!("response.{kind}.delta"), "output_index": 1, "delta": piece});
        insta::assert_snapshot!(spelled(&[item("output_text", "a"), item("function_call_arguments", "{}"), item("output_text", "b")]), @r"
        item 1 output_text: ab
        item 1 function_call_arguments: {} (JSON)
        ");
    }
}
