mod channels;
mod in_marks;
mod limits;
mod logprobs;
mod output;

use super::*;
use crate::engine::decode::thinking::THINKING_TAGS;
use crate::engine::decode::{ToolFormatName, joined};
use crate::engine::text::{Tokenizer, tiny_model};
use crate::wire::MessagesRequest;
use serde_json::{Value, json};
use std::sync::LazyLock;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Tokenizer::load(&tiny_model()).unwrap());
static DECODERS: LazyLock<AnswerDecoders> =
    LazyLock::new(|| AnswerDecoders::new(TOKENIZER.clone(), ToolFormatName::Hermes.format()).unwrap());

const OPEN: &str = "<tool_call>";
const CALL: &str = "<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"file_path\": \"a\"}}\n</tool_call>";

fn start(more: Value) -> Result<AnswerDecoder, EngineError> {
    let schema = json!({"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"], "additionalProperties": false});
    let mut body = json!({"model": "m", "max_tokens": 1, "messages": [],
        "tools": [{"name": "Read", "input_schema": schema}, {"name": "ReadAll", "input_schema": schema}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    DECODERS.start(&serde_json::from_value(body).unwrap(), None)
}

/// Pushes the text's tokens, each checked against the mask.
fn push(decoder: &mut AnswerDecoder, text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for token in TOKENIZER.encode(text).unwrap() {
        let allowed = decoder.mask().unwrap().is_none_or(|mask| mask.allows(token));
        assert!(allowed, "{:?} after {pieces:?}", String::from_utf8_lossy(TOKENIZER.bytes(token)));
        pieces.extend(decoder.push(token).unwrap());
    }
    joined(pieces)
}

/// What may come next, as texts; empty when anything may.
fn next(decoder: &mut AnswerDecoder) -> Vec<String> {
    let mask = decoder.mask().unwrap();
    mask.iter().flat_map(TokenMask::iter).map(|token| String::from_utf8_lossy(TOKENIZER.bytes(token)).into_owned()).collect()
}

fn call(input: &str) -> [Piece; 3] {
    [Piece::ToolStart { name: "Read".into() }, Piece::ToolInput(input.into()), Piece::ToolEnd]
}

#[test]
fn decoders_go_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<(AnswerDecoders, Tokenizer, crate::engine::text::ChatTemplate)>();
    sent::<(AnswerDecoder, TokenMask)>();
}

#[test]
fn text_and_calls_come_in_order() {
    let mut decoder = start(json!({})).unwrap();
    let pieces = push(&mut decoder, &format!("Let me look.\n{CALL}\n{CALL}\nDone."));
    let [a, b, c] = call(r#"{"file_path": "a"}"#);
    let all = [Piece::Text("Let me look.".into()), a.clone(), b.clone(), c.clone(), a, b, c, Piece::Text("Done.".into())];
    assert_eq!(pieces, all);
    assert!(decoder.called_tool() && !decoder.is_finished());
    assert_eq!(decoder.push(TOKENIZER.eos_tokens()[0]).unwrap(), []);
    assert!(decoder.is_finished());
}

#[test]
fn a_call_spelled_out_in_text_is_held_to_the_grammar_too() {
    let mut decoder = start(json!({})).unwrap();
    let spelled: Vec<u32> = ["<", "tool", "_", "call"].iter().flat_map(|text| TOKENIZER.encode(text).unwrap()).collect();
    for token in spelled {
        assert_eq!(decoder.push(token).unwrap(), []);
    }
    let past = TOKENIZER.encode(">\n").unwrap();
    assert!(past.len() == 1 && !decoder.mask().unwrap().unwrap().allows(past[0]), "the token goes past the tag");
    assert_eq!(push(&mut decoder, ">"), []);
    assert_eq!(next(&mut decoder), ["\n", "\n{"].map(str::to_owned)[..next(&mut decoder).len()].to_vec());
    let [a, b, c] = call(r#"{"file_path": "a"}"#);
    assert_eq!(push(&mut decoder, CALL.strip_prefix(OPEN).unwrap()), [a, b, c]);
}

#[test]
fn only_known_names_and_valid_arguments_can_follow_and_no_end_inside_a_call() {
    let mut decoder = start(json!({})).unwrap();
    push(&mut decoder, "<tool_call>\n{\"name\": \"Read");
    let after_name = next(&mut decoder);
    assert!(after_name.iter().all(|text| text.starts_with('"') || text.starts_with('A')), "{after_name:?}");
    push(&mut decoder, "\", \"arguments\": {\"");
    let keys = next(&mut decoder);
    assert!(keys.iter().all(|text| "file_path".starts_with(text.as_str()) || text.starts_with("file_path")), "{keys:?}");
    push(&mut decoder, "file_path\": \"x");
    let mask = decoder.mask().unwrap().unwrap();
    assert!(!TOKENIZER.eos_tokens().iter().any(|token| mask.allows(*token)));
    assert!(!mask.allows(u32::MAX));
}

#[test]
fn a_forced_choice_opens_a_call_at_once() {
    for choice in [json!({"type": "any"}), json!({"type": "tool", "name": "ReadAll"})] {
        let mut decoder = start(json!({"tool_choice": choice})).unwrap();
        assert_eq!(next(&mut decoder), ["<tool_call>"]);
    }
    let mut decoder = start(json!({"tool_choice": {"type": "tool", "name": "ReadAll"}})).unwrap();
    push(&mut decoder, "<tool_call>\n{\"name\": \"");
    let names = next(&mut decoder);
    assert!(names.iter().all(|text| "ReadAll\",".starts_with(text.as_str())), "{names:?}");
}

#[test]
fn choice_none_forbids_calls_however_they_are_written() {
    let mut decoder = start(json!({"tool_choice": {"type": "none"}})).unwrap();
    let open = TOKENIZER.added_token(OPEN).unwrap();
    assert!(!decoder.mask().unwrap().unwrap().allows(open));
    assert!(decoder.push(open).is_err());
    let spelled: Vec<u32> =
        ["<", "tool", "_", "call", ">", "\n{"].iter().flat_map(|text| TOKENIZER.encode(text).unwrap()).collect();
    let pieces: Vec<Piece> = spelled.into_iter().flat_map(|token| decoder.push(token).unwrap()).collect();
    assert_eq!(joined(pieces), [Piece::Text("<tool_call>\n{".into())]);
}

#[test]
fn without_parallel_calls_one_call_finishes_the_answer() {
    let mut decoder = start(json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}})).unwrap();
    push(&mut decoder, CALL);
    assert!(decoder.is_finished() && decoder.called_tool());
    assert_eq!(next(&mut decoder), ["<|endoftext|>", "<|im_end|>"]);
}

#[test]
fn a_tool_choice_that_cannot_be_met_is_refused() {
    let refusal = |more| start(more).err().unwrap().to_string();
    assert_eq!(
        refusal(json!({"tool_choice": {"type": "tool", "name": "Write"}})),
        "tool_choice: Tool 'Write' not found in provided tools"
    );
    let deferred = json!([{"name": "Write", "defer_loading": true}]);
    assert_eq!(
        refusal(json!({"tool_choice": {"type": "tool", "name": "Write"}, "tools": deferred})),
        "tool_choice: Tool 'Write' not found in provided tools"
    );
    assert_eq!(
        refusal(json!({"tool_choice": {"type": "any"}, "tools": []})),
        "tool_choice: asks for a tool call, but the request has no tools"
    );
}

#[test]
fn a_call_that_is_cut_stays_open_and_nothing_is_added_to_it() {
    let cut = |text: &str| {
        let mut decoder = start(json!({})).unwrap();
        let mut pieces = push(&mut decoder, text);
        pieces.extend(decoder.finish());
        joined(pieces)
    };
    let opened = |input: &str| vec![Piece::ToolStart { name: "Read".into() }, Piece::ToolInput(input.into())];
    let head = "<tool_call>\n{\"name\": \"Read\", \"arguments\": ";
    assert_eq!(cut(&format!("{head}{{\"file_path\": \"src/ma")), opened("{\"file_path\": \"src/ma"));
    assert_eq!(cut(&format!("{head}{{\"file_path\": \"src\"")), opened("{\"file_path\": \"src\""));
    // Their last brace comes with the call's end.
    assert_eq!(cut(&format!("{head}{{\"file_path\": \"a\"}}")), opened("{\"file_path\": \"a\""));
    assert_eq!(cut(&format!("{head}{{\"file_path\": \"a\"}}}}\n")), opened("{\"file_path\": \"a\""));
    assert_eq!(cut(&format!("{head}{{\"file_path\": \"a\"}}}}\n</tool_call>")), call(r#"{"file_path": "a"}"#));
    // A call without any argument yet would look finished to clients.
    for before_arguments in ["<tool_call>", "<tool_call>\n{\"name\": \"Re", head] {
        assert_eq!(cut(&format!("Look.\n{before_arguments}")), [Piece::Text("Look.".into())]);
    }
    assert_eq!(cut("text <tool"), [Piece::Text("text <tool".into())]);
}

#[test]
fn thoughts_are_shown_where_they_are_asked_for_and_hold_no_calls() {
    let answer = format!("<think>\nA call would be {CALL}.\n</think>\n\nLook.\n{CALL}");
    let [a, b, c] = call(r#"{"file_path": "a"}"#);
    let rest = [Piece::Text("Look.".into()), a, b, c];
    for (thinking, shown) in [
        (json!({}), false),
        (json!({"type": "disabled"}), false),
        (json!({"type": "adaptive", "display": "omitted"}), false),
        (json!({"type": "adaptive"}), true),
        (json!({"type": "enabled", "budget_tokens": 1024, "display": "summarized"}), true),
    ] {
        let mut decoder = start(json!({"thinking": thinking})).unwrap();
        let pieces = push(&mut decoder, &answer);
        let thought = shown.then(|| Piece::Thinking(format!("A call would be {CALL}.")));
        assert_eq!(pieces, thought.into_iter().chain(rest.clone()).collect::<Vec<_>>(), "{thinking}");
    }
}

#[test]
fn thoughts_that_the_prompt_opened_end_at_their_tag_or_with_the_answer() {
    let request = json!({"model": "m", "max_tokens": 1, "messages": [], "thinking": {"type": "adaptive"}});
    let request = serde_json::from_value(request).unwrap();
    let mut decoder = DECODERS.start(&request, Some(&THINKING_TAGS[0])).unwrap();
    let pieces = push(&mut decoder, "hm <tool_call>\n</think>\n\nHi.");
    assert_eq!(pieces, [Piece::Thinking("hm <tool_call>".into()), Piece::Text("Hi.".into())]);
    let mut decoder = DECODERS.start(&request, Some(&THINKING_TAGS[0])).unwrap();
    let mut pieces = push(&mut decoder, "hm </thi");
    pieces.extend(decoder.finish());
    assert_eq!(joined(pieces), [Piece::Thinking("hm </thi".into())]);
}

#[test]
fn in_the_continuation_of_a_text_thoughts_are_text_and_white_space_stays() {
    let settings = json!({"model": "m", "max_tokens": 1, "messages": []});
    let mut decoder = DECODERS.start_plain(&serde_json::from_value(settings).unwrap()).unwrap();
    let text = "\n <think>\nhm\n</think>\n\nHi <tool_call>{}</tool_call>. ";
    let mut pieces = push(&mut decoder, text);
    pieces.extend(decoder.finish());
    assert_eq!(joined(pieces), [Piece::Text(text.into())]);
}

#[test]
fn a_stop_sequence_finishes_the_answer() {
    let mut decoder = start(json!({"stop_sequences": ["\n\nHuman:"]})).unwrap();
    assert_eq!(push(&mut decoder, "Hi.\n\nHuman:"), [Piece::Text("Hi.".into())]);
    assert_eq!((decoder.is_finished(), decoder.stop_sequence()), (true, Some("\n\nHuman:")));
    assert_eq!((decoder.push(TOKENIZER.encode("x").unwrap()[0]).unwrap(), decoder.finish()), (vec![], vec![]));
}

#[test]
fn half_a_character_and_half_a_tag_are_given_at_the_end() {
    let mut decoder = start(json!({})).unwrap();
    let mut pieces = push(&mut decoder, "é <tool");
    pieces.extend(decoder.push(TOKENIZER.encode("é").unwrap()[0]).unwrap());
    pieces.extend(decoder.finish());
    let text = joined(pieces);
    assert!(matches!(&text[..], [Piece::Text(text)] if text.starts_with("é <tool")), "{text:?}");
}

#[test]
fn a_call_in_mistrals_thoughts_is_none() {
    let decoders = AnswerDecoders::new(TOKENIZER.clone(), ToolFormatName::Mistral.format()).unwrap();
    let request = json!({"model": "m", "max_tokens": 1, "messages": [], "thinking": {"type": "adaptive"},
                         "tools": [{"name": "Read", "input_schema": {"type": "object", "additionalProperties": false}}]});
    let mut decoder = decoders.start(&serde_json::from_value(request).unwrap(), None).unwrap();
    let thought = "I could write [TOOL_CALLS]Read[ARGS]{}.";
    let pieces = push(&mut decoder, &format!("[THINK]{thought}[/THINK]Hm."));
    assert_eq!(pieces, [Piece::Thinking(thought.into()), Piece::Text("Hm.".into())]);
    assert!(!decoder.called_tool());
}
