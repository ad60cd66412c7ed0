//! Answers in channels.

use super::*;

fn start_in_channels(more: Value) -> AnswerDecoder {
    let schema = json!({"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"], "additionalProperties": false});
    let mut body = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": [{"name": "Read", "input_schema": schema}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let decoders = AnswerDecoders::new(TOKENIZER.clone(), ToolFormatName::Harmony.format()).unwrap();
    decoders.start(&serde_json::from_value(body).unwrap(), None).unwrap()
}

/// The pieces of texts, each of which begins with a token of its own.
fn push_all(decoder: &mut AnswerDecoder, texts: &[&str]) -> Vec<Piece> {
    joined(texts.iter().flat_map(|text| push(decoder, text)).collect::<Vec<_>>())
}

#[test]
fn thoughts_texts_and_calls_are_told_apart() {
    let mut decoder = start_in_channels(json!({"thinking": {"type": "adaptive"}}));
    let pieces = push_all(
        &mut decoder,
        &[
            "<|channel|>analysis<|message|>I look to=functions.<|end|>",
            "<|start|>assistant<|channel|>commentary<|message|>Wait.<|end|>",
            "<|start|>assistant<|channel|>commentary to=functions",
            ".Read <|constrain|>json<|message|>",
            "{\"file_path\": \"a<|call|>\"}",
        ],
    );
    let [a, b, c] = call(r#"{"file_path": "a<|call|>"}"#);
    assert_eq!(pieces, [Piece::Thinking("I look to=functions.".into()), Piece::Text("Wait.".into()), a, b, c]);
    assert!(decoder.called_tool());
    let mut silent = start_in_channels(json!({}));
    let answer = ["<|channel|>analysis<|message|>Hm.<|end|>", "<|start|>assistant<|channel|>final<|message|>Yes."];
    assert_eq!(push_all(&mut silent, &answer), [Piece::Text("Yes.".into())]);
}

#[test]
fn only_known_functions_are_called() {
    for opening in ["<|channel|>commentary to=functions", " to=functions", "<|channel|>analysis to=functions"] {
        let mut decoder = start_in_channels(json!({}));
        push(&mut decoder, opening);
        let after = next(&mut decoder);
        assert!(!after.is_empty() && after.iter().all(|text| ".Read".starts_with(text.as_str())), "{opening}: {after:?}");
    }
}

#[test]
fn a_forced_call_names_its_receiver_at_once() {
    let mut decoder = start_in_channels(json!({"tool_choice": {"type": "any"}}));
    let pieces = push_all(&mut decoder, &[" to=functions.Read<|channel|>commentary json<|message|>", "{\"file_path\": \"a\"}"]);
    assert_eq!(pieces, call(r#"{"file_path": "a"}"#));
}

#[test]
fn a_value_of_a_schema_is_in_the_final_channel() {
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    let mut decoder = start_in_channels(format.clone());
    let pieces = push_all(&mut decoder, &["<|channel|>final<|message|>", "{\"ok\": true}"]);
    assert_eq!(pieces, [Piece::Text("{\"ok\": true}".into())]);
    assert!(decoder.is_finished());
    let mut calling = start_in_channels(format);
    let call_text = [" to=functions.Read<|channel|>commentary json<|message|>", "{\"file_path\": \"a\"}"];
    assert_eq!(push_all(&mut calling, &call_text), call(r#"{"file_path": "a"}"#));
}

#[test]
fn a_call_where_none_is_allowed_is_no_text() {
    let mut decoder = start_in_channels(json!({"tool_choice": {"type": "none"}}));
    let call_text =
        ["<|channel|>commentary to=functions", ".Read <|constrain|>json<|message|>", "{\"file_path\": \"a\"}", "<|call|>"];
    assert_eq!(push_all(&mut decoder, &call_text), []);
}
