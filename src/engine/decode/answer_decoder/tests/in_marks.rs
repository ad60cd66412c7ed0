//! Answers of Gemma 4, whose thoughts begin with a token that also begins other things.

use super::*;
use crate::engine::decode::formats::ToolFormatName::{Gemma, Harmony};
use crate::engine::text::tiny_tokenizer_with;

const MARKUP: [&str; 7] = ["<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<|\"|>", "<|call|>"];

/// A decoder over a vocabulary with this markup, and the vocabulary.
fn start_with_markup(format: ToolFormatName, more: Value) -> (AnswerDecoder, Arc<Tokenizer>) {
    let tokenizer = tiny_tokenizer_with(&MARKUP);
    let tools = json!([{"name": "Read", "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}}}]);
    let mut body = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": tools});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let decoders = AnswerDecoders::new(tokenizer.clone(), format.format()).unwrap();
    (decoders.start(&serde_json::from_value(body).unwrap(), None).unwrap(), tokenizer)
}

/// Pushes the text's tokens, each of which the mask must allow.
fn push_with(decoder: &mut AnswerDecoder, tokenizer: &Tokenizer, text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for token in tokenizer.encode(text).unwrap() {
        let allowed = decoder.mask().unwrap().is_none_or(|mask| mask.allows(token));
        assert!(allowed, "{:?} after {pieces:?}", String::from_utf8_lossy(tokenizer.bytes(token)));
        pieces.extend(decoder.push(token).unwrap());
    }
    joined(pieces)
}

#[test]
fn an_answer_ends_where_its_format_says_so() {
    for (format, text, end) in [
        (Gemma, "<|tool_call>call:Read{file_path:<|\"|>a<|\"|>}<tool_call|>", "<|tool_response>"),
        (Harmony, " to=functions.Read<|channel|>commentary json<|message|>{\"file_path\": \"a\"}", "<|call|>"),
    ] {
        let (mut decoder, tokenizer) = start_with_markup(format, json!({}));
        let pieces = push_with(&mut decoder, &tokenizer, text);
        assert_eq!(pieces, call(r#"{"file_path": "a"}"#));
        assert!(!decoder.is_finished());
        assert_eq!(push_with(&mut decoder, &tokenizer, end), []);
        assert!(decoder.is_finished(), "{format:?}");
        // The same token as of a format that knows nothing of it.
        let (mut other, tokenizer) = start_with_markup(ToolFormatName::Hermes, json!({}));
        push_with(&mut other, &tokenizer, end);
        assert!(!other.is_finished());
    }
}

#[test]
fn a_value_of_a_schema_comes_after_thoughts() {
    let schema =
        json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": false});
    let mut body = json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}});
    body["thinking"] = json!({"type": "adaptive"});
    let (mut decoder, tokenizer) = start_with_markup(Gemma, body.clone());
    let pieces = push_with(&mut decoder, &tokenizer, "<|channel>thought\nHm.\n<channel|>{\"ok\": true}");
    assert_eq!(pieces, [Piece::Thinking("Hm.".into()), Piece::Text("{\"ok\": true}".into())]);
    assert!(decoder.is_finished());

    // The token that begins thoughts begins nothing else.
    let (mut decoder, tokenizer) = start_with_markup(Gemma, body);
    push_with(&mut decoder, &tokenizer, "<|channel>");
    let mask = decoder.mask().unwrap().unwrap();
    let texts: Vec<_> = mask.iter().map(|token| String::from_utf8_lossy(tokenizer.bytes(token)).into_owned()).collect();
    assert!(!texts.is_empty() && texts.iter().all(|text| "thought".starts_with(text)), "{texts:?}");
    assert!(decoder.push(tokenizer.encode("x").unwrap()[0]).is_err());

    // Who does not want to see thoughts gets none.
    let (mut silent, tokenizer) =
        start_with_markup(Gemma, json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}));
    assert!(!silent.mask().unwrap().unwrap().allows(tokenizer.added_token("<|channel>").unwrap()));
}
