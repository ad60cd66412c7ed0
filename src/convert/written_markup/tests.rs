use proptest::prelude::*;
use serde_json::json;

use super::*;

fn tools() -> Vec<Tool> {
    let schema = json!({"type": "object", "properties": {"content": {"type": "string"}}});
    serde_json::from_value(json!([{"name": "Read", "input_schema": schema}, {"name": "Now"}])).unwrap()
}

#[test]
fn a_string_stays_a_string_whatever_it_looks_like() {
    let call = "<tool_call>\n<function=Read>\n<parameter=content>\n{\"a\": 1}\n</parameter>\n<parameter=line>\n3\n</parameter>\n</function>\n</tool_call>";
    assert_eq!(read([call]), json!([["call", ["Read", {"content": "{\"a\": 1}", "line": 3}]]]));
}

/// What is read of a text that arrives in these pieces.
fn read<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Value {
    let mut markup = WrittenMarkup::new(tools());
    let mut all: Vec<Written> = pieces.into_iter().flat_map(|piece| markup.push(piece)).collect();
    all.extend(markup.finish());
    joined(all)
}

/// The parts as JSON; neighbours of one kind are joined, empty ones left out.
fn joined(parts: Vec<Written>) -> Value {
    let mut read: Vec<(&str, Value)> = Vec::new();
    for part in parts {
        let (kind, value) = match part {
            Written::Text(text) | Written::Thinking(text) if text.is_empty() => continue,
            Written::Text(text) => ("text", json!(text)),
            Written::Thinking(text) => ("thinking", json!(text)),
            Written::Call { name, arguments } => ("call", json!([name, arguments])),
        };
        match read.last_mut() {
            Some((last, Value::String(text))) if *last == kind => text.push_str(value.as_str().unwrap()),
            _ => read.push((kind, value)),
        }
    }
    json!(read)
}

/// Texts with what is read of them.
fn cases() -> Vec<(&'static str, Value)> {
    let call = json!(["call", ["Read", {"path": "a"}]]);
    vec![
        ("Just text.", json!([["text", "Just text."]])),
        ("<think>Hm.</think>\n\nYes.", json!([["thinking", "Hm."], ["text", "Yes."]])),
        ("\n<think>\nHm.\n</think>", json!([["thinking", "\nHm.\n"]])),
        ("<think>never ends", json!([["thinking", "never ends"]])),
        ("Say <think>this</think>.", json!([["text", "Say <think>this</think>."]])),
        ("<thinker>", json!([["text", "<thinker>"]])),
        ("<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>", json!([call])),
        (
            "<think>Hm.</think>\nLook:\n<tool_call>{\"name\":\"Read\",\"arguments\":\"{\\\"path\\\":\\\"a\\\"}\"}</tool_call>\n\
             <tool_call>{\"name\":\"Now\"}</tool_call>",
            json!([["thinking", "Hm."], ["text", "Look:\n"], call, ["text", "\n"], ["call", ["Now", {}]]]),
        ),
        ("<tool_call>\n<function=Read>\n<parameter=path>\na\n</parameter>\n</function>\n</tool_call>", json!([call])),
        (
            "<tool_call><function=Read><parameter=lines>[1]</parameter><parameter=as>\"b\"</parameter></function></tool_call>",
            json!([["call", ["Read", {"lines": [1], "as": "\"b\""}]]]),
        ),
        ("<tool_call>{\"name\":\"Read\",\"arguments\":{\"path\":\"a\"}}", json!([call])),
        ("<tool_call>{\"name\":\"Read\",\"argum", json!([["text", "<tool_call>{\"name\":\"Read\",\"argum"]])),
        ("<tool_call>{\"name\":\"Rm\"}</tool_call> no", json!([["text", "<tool_call>{\"name\":\"Rm\"}</tool_call> no"]])),
        ("As in <tool_call>{\"name\":\"Now\"}</tool_call>", json!([["text", "As in <tool_call>{\"name\":\"Now\"}</tool_call>"]])),
        (
            "```xml\n<tool_call>{\"name\":\"Now\"}</tool_call>\n```\n<tool_call>{\"name\":\"Now\"}</tool_call>",
            json!([["text", "```xml\n<tool_call>{\"name\":\"Now\"}</tool_call>\n```\n"], ["call", ["Now", {}]]]),
        ),
        ("a <\n<tool", json!([["text", "a <\n<tool"]])),
        (
            "<tool_call>{\"name\":\"Read\",\"arguments\":{\"content\":\"\\\"<tool_call>x</tool_call>\"}}</tool_call>.",
            json!([["call", ["Read", {"content": "\"<tool_call>x</tool_call>"}]], ["text", "."]]),
        ),
        (
            "<tool_call>{\"name\":\"Read</tool_call>\n<tool_call>{\"name\":\"Now\"}</tool_call>",
            json!([["text", "<tool_call>{\"name\":\"Read</tool_call>\n"], ["call", ["Now", {}]]]),
        ),
        (
            "<tool_call>{\"name\":\"Read</tool_call>\n5\" wide\n<tool_call>{\"name\":\"Now\"}</tool_call>",
            json!([["text", "<tool_call>{\"name\":\"Read</tool_call>\n5\" wide\n"], ["call", ["Now", {}]]]),
        ),
        (
            "<tool_call><function=Read><parameter=content>a</tool_call>b</parameter></function></tool_call>",
            json!([["call", ["Read", {"content": "a</tool_call>b"}]]]),
        ),
    ]
}

#[test]
fn thinking_and_calls_are_found_and_nothing_else() {
    for (text, expected) in cases() {
        assert_eq!(read([text]), expected, "{text}");
    }
}

#[test]
fn pieces_do_not_matter() {
    for (text, expected) in cases() {
        assert_eq!(read(text.split_inclusive(|_| true)), expected, "{text} character by character");
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            assert_eq!(read([&text[..cut], &text[cut..]]), expected, "{text} cut at {cut}");
        }
    }
}

#[test]
fn text_is_passed_on_as_it_comes() {
    let mut markup = WrittenMarkup::new(tools());
    let mut push = |piece: &str| -> String {
        let texts = markup.push(piece).into_iter().map(|part| match part {
            Written::Text(text) => text,
            other => panic!("{other:?}"),
        });
        texts.collect()
    };
    assert_eq!(["Hel", "lo\n", "<to", "ol>", " <tool_call>"].map(&mut push), ["Hel", "lo\n", "", "<tool>", " <tool_call>"]);
}

/// What is read of an answer whose prompt has opened the thoughts.
fn read_in_thoughts<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Value {
    let mut markup = WrittenMarkup::new(tools()).beginning(Begins::Thoughts);
    let mut all: Vec<Written> = pieces.into_iter().flat_map(|piece| markup.push(piece)).collect();
    all.extend(markup.finish());
    all.extend(markup.answer_after_all());
    assert!(!markup.ended_unbegun_thoughts());
    joined(all)
}

#[test]
fn thoughts_that_the_prompt_has_opened_end() {
    let call = json!(["call", ["Now", {}]]);
    for (text, first, later) in [
        ("Hm.</think>Yes.", json!([["text", "Hm.\n\nYes."]]), json!([["thinking", "Hm."], ["text", "Yes."]])),
        (
            "Hm, 1 < 2.\n</think>\n\nYes.</think>",
            json!([["text", "Hm, 1 < 2.\n\n\nYes.</think>"]]),
            json!([["thinking", "Hm, 1 < 2.\n"], ["text", "Yes.</think>"]]),
        ),
        (
            "Hm.\n</think>\n<tool_call>{\"name\":\"Now\"}</tool_call>",
            json!([["text", "Hm.\n\n\n"], call]),
            json!([["thinking", "Hm.\n"], call]),
        ),
        ("Yes.", json!([["text", "Yes."]]), json!([["thinking", "Yes."], ["text", "Yes."]])),
        (
            "<tool_call>{\"name\":\"Now\"}</tool_call>",
            json!([call]),
            json!([["thinking", "<tool_call>{\"name\":\"Now\"}</tool_call>"], call]),
        ),
        (
            "<think>Hm.</think>Yes.",
            json!([["thinking", "Hm."], ["text", "Yes."]]),
            json!([["thinking", "Hm."], ["text", "Yes."]]),
        ),
    ] {
        let pieces: Vec<&str> = text.split_inclusive(|_| true).collect();
        assert_eq!((read([text]), read_in_thoughts([text])), (first.clone(), later.clone()), "{text}");
        assert_eq!((read(pieces.clone()), read_in_thoughts(pieces)), (first, later), "{text} character by character");
    }
}

#[test]
fn a_model_may_speak_of_the_end_of_thoughts() {
    for text in ["Write `</think>` then.", "As in <think>a</think>.", "```\na</think>\n```\n", "\"</think>\" ends it.</think>"] {
        assert_eq!(read([text]), json!([["text", text]]));
        assert_eq!(read(text.split_inclusive(|_| true)), json!([["text", text]]), "{text} character by character");
    }
    let mut markup = WrittenMarkup::new(tools());
    markup.thoughts_are_apart();
    assert_eq!(markup.push("a</think>"), [Written::Text("a</think>".into())]);
}

proptest! {
    #[test]
    fn no_text_is_lost(parts in prop::collection::vec(prop_oneof![
        Just("<tool_call>"), Just("</tool_call>"), Just("```\n"), Just("\n"), Just(" "), Just("<"), Just("x"), Just("{}"),
    ], 0..12)) {
        let text = format!(".{}", parts.concat());
        prop_assert_eq!(read(parts.iter().copied().fold(vec!["."], |mut all, part| { all.push(part); all })), json!([["text", text]]));
    }
}
