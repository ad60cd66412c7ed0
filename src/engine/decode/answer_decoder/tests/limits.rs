//! Grammars that are too much: for one answer, or for one request.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::decode::limits::Limits;

fn decoders(change: impl FnOnce(&mut Limits)) -> AnswerDecoders {
    let mut limits = Limits::default();
    change(&mut limits);
    AnswerDecoders::with_limits(TOKENIZER.clone(), ToolFormatName::Hermes.format(), limits).unwrap()
}

/// An object whose property needs another state of the automaton for almost every text.
fn growing() -> Value {
    json!({"type": "object", "properties": {"p": {"type": "string", "pattern": "^[ab]*a[ab]{16}c$"}}, "required": ["p"]})
}

fn constant(number: usize) -> Value {
    json!({"type": "object", "properties": {"a": {"const": number}}})
}

fn request(tools: &[Value], more: Value) -> MessagesRequest {
    let mut body = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": tools});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(body).unwrap()
}

fn tool(name: &str, schema: Value, strict: bool) -> Value {
    json!({"name": name, "input_schema": schema, "strict": strict})
}

/// Generates letters of the property's value until its grammar has outgrown its limits; the error, if there is one.
fn outgrow(decoder: &mut AnswerDecoder) -> Result<(), EngineError> {
    let mut random = StdRng::seed_from_u64(0);
    while !decoder.mask()?.unwrap().allows(token("x")) {
        decoder.push(token(if random.random() { "a" } else { "b" }))?;
    }
    Ok(())
}

fn token(letter: &str) -> u32 {
    TOKENIZER.encode(letter).unwrap()[0]
}

const UP_TO_VALUE: &str = "<tool_call>\n{\"name\": \"T\", \"arguments\": {\"p\": \"";

#[test]
fn an_answer_that_outgrows_its_grammar_leaves_it_sound_for_the_next() {
    let decoders = decoders(|limits| limits.parser.max_lexer_states = 500);
    let request = request(&[tool("T", growing(), false)], json!({}));
    let start = || {
        let mut decoder = decoders.start(&request, None).unwrap();
        push(&mut decoder, UP_TO_VALUE);
        decoder
    };
    let (mut first, mut beside) = (start(), start());
    outgrow(&mut first).unwrap();
    for decoder in [&mut beside, &mut start()] {
        assert!(!decoder.mask().unwrap().unwrap().allows(token("x")));
    }
    let rest = push(&mut first, "xyz\", \"q\": [1]}}\n</tool_call>");
    assert!(rest.ends_with(&[Piece::ToolEnd]), "{rest:?}");
}

#[test]
fn a_strict_tool_is_not_loosened_in_the_middle_of_an_answer() {
    let decoders = decoders(|limits| limits.parser.max_lexer_states = 500);
    let mut decoder = decoders.start(&request(&[tool("T", growing(), true)], json!({})), None).unwrap();
    push(&mut decoder, UP_TO_VALUE);
    let error = outgrow(&mut decoder).unwrap_err();
    assert!(matches!(error, EngineError::Grammar(_)), "{error:?}");
    assert!(error.to_string().contains("too many states"), "{error}");
}

#[test]
fn an_answer_that_outgrows_its_output_format_leaves_it_sound_for_the_next() {
    let decoders = decoders(|limits| limits.parser.max_lexer_states = 500);
    let format = json!({"output_config": {"format": {"type": "json_schema", "schema": growing()}}});
    let request = request(&[], format);
    let mut first = decoders.start(&request, None).unwrap();
    push(&mut first, "{\"p\": \"");
    assert!(matches!(outgrow(&mut first), Err(EngineError::Grammar(_))));
    let mut second = decoders.start(&request, None).unwrap();
    push(&mut second, "{\"p\": \"");
    assert!(second.mask().unwrap().unwrap().allows(token("a")));
}

#[test]
fn nothing_is_compiled_once_an_answer_has_begun_even_if_the_cache_keeps_nothing() {
    let decoders = decoders(|limits| limits.kept_bytes = 0);
    let schema = json!({"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]});
    let tools: Vec<Value> = ["Read", "Write"].map(|name| tool(name, schema.clone(), false)).into();
    for more in [json!({}), json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}})] {
        let mut decoder = decoders.start(&request(&tools, more), None).unwrap();
        let before = decoders.compilations();
        push(&mut decoder, CALL);
        push(&mut decoder, &CALL.replace("Read", "Write"));
        assert_eq!(decoders.compilations(), before);
    }
}

#[test]
fn equal_schemas_are_compiled_once() {
    let decoders = decoders(|_| {});
    let tools = |names: &[&str]| names.iter().map(|name| tool(name, growing(), false)).collect::<Vec<_>>();
    let compiled = |names: &[&str]| {
        let before = decoders.compilations();
        decoders.prepare(&request(&tools(names), json!({})), &CancellationToken::new()).unwrap();
        decoders.compilations() - before
    };
    let first = compiled(&["a"]);
    assert_eq!(compiled(&["a"]), 0);
    // Only that of the names.
    assert_eq!((compiled(&["a", "b", "c"]), first > 1), (1, true));
}

#[test]
fn nothing_is_compiled_for_a_client_who_has_left() {
    let decoders = decoders(|_| {});
    let tools: Vec<Value> = (0..50).map(|at| tool(&format!("t{at}"), constant(at), true)).collect();
    let request = request(&tools, json!({}));
    let (before, left) = (decoders.compilations(), CancellationToken::new());
    left.cancel();
    assert_eq!(decoders.prepare(&request, &left).err().unwrap().to_string(), "the client has left");
    assert_eq!(decoders.check(&request, &left).unwrap_err().to_string(), "the client has left");
    assert_eq!(decoders.compilations(), before);
    // What was given up is no refusal.
    decoders.prepare(&request, &CancellationToken::new()).unwrap();
}

#[test]
fn tools_beyond_the_budget_of_a_request_may_be_called_with_any_arguments_unless_they_are_strict() {
    let decoders = decoders(|limits| limits.kilobytes = 6);
    let tools: Vec<Value> = (0..9).map(|at| tool(&format!("t{at}"), constant(at), false)).collect();
    let request = |tools: &[Value]| request(tools, json!({}));
    let loosened = || decoders.prepare(&request(&tools), &CancellationToken::new()).unwrap().loosened();
    let first = loosened();
    assert!((1..9).contains(&first.len()), "{first:?}");
    assert!(first[0].ends_with(": its schema: the schemas of this request take too long to make grammars of"), "{first:?}");
    // Each request gets further.
    assert!(loosened().len() < first.len());
    let strict: Vec<Value> = (20..29).map(|at| tool(&format!("t{at}"), constant(at), true)).collect();
    let refused = decoders.prepare(&request(&strict), &CancellationToken::new()).err().unwrap();
    assert_eq!(refused.to_string(), "the schemas of this request take too long to make grammars of");
}
