//! A model that chooses any allowed token at random: whatever it does, a finished tool call is valid, a cut one stays open.

use std::sync::{Arc, LazyLock};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{AnswerDecoder, AnswerDecoders, Piece, TokenMask, ToolFormatName, joined};
use crate::engine::text::{ChatTemplate, TokenKind, Tokenizer, tiny_model};
use crate::wire::MessagesRequest;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Tokenizer::load(&tiny_model()).unwrap());

/// Every form that some format's grammar writes: its own, or that of one of our templates.
pub(super) const FORMS: [(ToolFormatName, Option<&str>); 22] = [
    (ToolFormatName::Hermes, None),
    (ToolFormatName::Qwen3Coder, None),
    (ToolFormatName::Llama3, None),
    (ToolFormatName::Mistral, None),
    (ToolFormatName::DeepSeek, None),
    (ToolFormatName::Glm, None),
    (ToolFormatName::MiniMax, None),
    (ToolFormatName::Harmony, None),
    (ToolFormatName::Gemma, None),
    (ToolFormatName::OpenAi, None),
    (ToolFormatName::Llama3, Some("calls-with-a-type")),
    (ToolFormatName::Mistral, Some("calls-in-a-list")),
    (ToolFormatName::Mistral, Some("calls-with-ids-before-arguments")),
    (ToolFormatName::Mistral, Some("names-and-arguments")),
    (ToolFormatName::DeepSeek, Some("calls-where-content-is-none")),
    (ToolFormatName::DeepSeek, Some("calls-in-sections")),
    (ToolFormatName::Qwen3Coder, Some("parameters-in-tags")),
    (ToolFormatName::Glm, Some("keys-and-values-in-tags")),
    (ToolFormatName::MiniMax, Some("invocations-in-tags")),
    (ToolFormatName::Harmony, Some("messages-in-channels")),
    (ToolFormatName::Gemma, Some("calls-in-marks")),
    (ToolFormatName::Gemma, Some("calls-in-marks-in-one-turn")),
];

pub(super) fn decoders((name, template): (ToolFormatName, Option<&str>)) -> AnswerDecoders {
    let format = match template {
        None => name.format(),
        Some(template) => name.as_written_by(&ChatTemplate::fixture(template, &TOKENIZER), &TOKENIZER),
    };
    AnswerDecoders::new(TOKENIZER.clone(), format).unwrap()
}

fn schemas() -> Vec<(&'static str, Value)> {
    let string = json!({"type": "string"});
    vec![
        (
            "Read",
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "properties": {"file_path": string, "offset": {"type": "integer", "minimum": 0, "maximum": 9007199254740991i64},
                "limit": {"type": "integer", "exclusiveMinimum": 0}, "pages": string},
            "required": ["file_path"], "additionalProperties": false}),
        ),
        (
            "Edit",
            json!({"type": "object", "properties": {"file_path": string, "old_string": string, "new_string": string,
                "replace_all": {"type": "boolean", "default": false}},
            "required": ["file_path", "old_string", "new_string"], "additionalProperties": false}),
        ),
        ("Empty", json!({"type": "object", "properties": {}, "additionalProperties": false})),
        ("Open", json!({"type": "object"})),
        ("None", json!({})),
        (
            "Grep",
            json!({"type": "object", "properties": {"pattern": string, "output_mode": {"type": "string",
                "enum": ["content", "files_with_matches", "count"]}, "-A": {"type": "number"}, "head_limit": {"type": "number", "minimum": 1}},
            "required": ["pattern", "output_mode"], "additionalProperties": false}),
        ),
        (
            "Ask",
            json!({"type": "object", "properties": {"questions": {"type": "array", "minItems": 1, "maxItems": 4, "items": {"type": "object",
                "properties": {"question": string, "header": {"type": "string", "maxLength": 12}, "multi": {"type": "boolean"},
                    "options": {"type": "array", "minItems": 2, "maxItems": 4, "items": {"type": "object",
                        "properties": {"label": string, "description": string}, "required": ["label", "description"], "additionalProperties": false}}},
                "required": ["question", "header", "options", "multi"], "additionalProperties": false}}},
            "required": ["questions"], "additionalProperties": false}),
        ),
        (
            "Monitor",
            json!({"type": "object", "properties": {"timeout_ms": {"type": "number", "minimum": 1000, "maximum": 3600000},
                "ws": {"type": "object", "properties": {"url": {"type": "string", "format": "uri"}, "protocols": {"type": "array",
                    "items": {"type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"}}}, "required": ["url", "protocols"], "additionalProperties": false}},
            "required": ["timeout_ms", "ws"], "additionalProperties": false}),
        ),
        (
            "Union",
            json!({"type": "object", "properties": {"target": {"anyOf": [string, {"type": "integer", "minimum": -5, "maximum": 300},
                {"type": "object", "properties": {"id": {"const": "x"}}, "required": ["id"], "additionalProperties": false}, {"type": "null"}]}},
            "required": ["target"], "additionalProperties": false}),
        ),
        (
            "Tree",
            json!({"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "required": ["root"], "additionalProperties": false,
            "$defs": {"node": {"anyOf": [
                {"type": "object", "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}},
                    "required": ["left", "right"], "additionalProperties": false},
                {"type": "object", "properties": {"leaf": {"type": "number"}}, "required": ["leaf"], "additionalProperties": false}]}}}),
        ),
        (
            "Patterns",
            json!({"type": "object", "properties": {"email": {"type": "string", "pattern": "^[a-z0-9]+@[a-z]+\\.[a-z]{2,6}$"},
                "date": {"type": "string", "format": "date-time"}, "code": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
                "name": {"type": "string", "minLength": 3, "maxLength": 8}},
            "required": ["email", "date", "code", "name"], "additionalProperties": false}),
        ),
        (
            "Send",
            json!({"type": "object", "properties": {"to": {"type": "string", "allOf": [{"pattern": "^[^\\n\\r]*$"}, {"pattern": "^[\\s\\S]{0,300}$"}]},
                "long": {"type": "string", "maxLength": 524288}, "notify": {"type": ["boolean", "null"]}},
            "required": ["to", "long"], "additionalProperties": false}),
        ),
        (
            "Extra",
            json!({"type": "object", "properties": {"n": {"type": "integer", "multipleOf": 5}}, "required": ["n"],
            "additionalProperties": {"type": "array", "items": {"type": "boolean"}}}),
        ),
        (
            "Flow",
            json!({"type": "object", "properties": {"args": {"description": "Anything."}, "list": {"type": "array"}}, "required": ["args", "list"],
            "additionalProperties": false}),
        ),
        (
            "TopRef",
            json!({"$ref": "#/$defs/input", "$defs": {"input": {"type": "object", "properties": {"at": {"type": "integer"}},
                "required": ["at"], "additionalProperties": false}}}),
        ),
        (
            "TopUnion",
            json!({"anyOf": [{"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": false},
                {"type": "object", "properties": {"name": string}, "required": ["name"]}, {"type": "string"}]}),
        ),
        ("Broken", json!({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}, "required": ["a"]})),
        ("NoObject", json!({"type": "string", "maxLength": 3})),
        (
            "Look",
            json!({"type": "object", "properties": {"q": {"type": "string", "pattern": "^(?=a)b"}, "tags": {"type": "array", "items": string, "uniqueItems": true}},
            "required": ["q"], "additionalProperties": false}),
        ),
    ]
}

/// The schema less what llguidance cannot enforce, for checking.
fn enforced(name: &str, schema: &Value) -> Value {
    match name {
        "Look" => {
            json!({"type": "object", "properties": {"q": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
            "required": ["q"], "additionalProperties": false})
        }
        "Broken" => json!({"type": "object"}),
        "Open" | "None" | "NoObject" => json!({"type": "object", "additionalProperties": false}),
        _ => schema.clone(),
    }
}

fn request(tools: &[(&str, Value)], tool_choice: Value) -> MessagesRequest {
    let tools: Vec<_> = tools.iter().map(|(name, schema)| json!({"name": name, "input_schema": schema})).collect();
    let body = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": tools, "tool_choice": tool_choice});
    serde_json::from_value(body).unwrap()
}

/// Generates at random until the answer is over or has this many tokens; says whether it is over.
pub(super) fn generate(decoder: &mut AnswerDecoder, random: &mut StdRng, max_tokens: usize) -> (Vec<Piece>, bool) {
    let mut pieces = Vec::new();
    for step in 0..max_tokens {
        if decoder.is_finished() {
            break;
        }
        let token = match decoder.mask().unwrap() {
            None => random.random_range(0..TOKENIZER.vocab_size() as u32),
            Some(mask) if random.random_bool(if step > max_tokens / 4 { 0.9 } else { 0.2 }) => soonest_end(&mask, random),
            Some(mask) => mask.iter().choose(random).expect("some token is allowed"),
        };
        pieces.extend(decoder.push(token).unwrap());
    }
    let over = decoder.is_finished();
    pieces.extend(decoder.finish());
    (joined(pieces), over)
}

/// The calls of an answer in which all are finished.
fn calls(pieces: &[Piece]) -> Vec<(String, Value)> {
    let calls = finished_calls(pieces);
    assert_eq!(calls.len(), pieces.iter().filter(|piece| matches!(piece, Piece::ToolStart { .. })).count(), "{pieces:?}");
    calls
}

fn finished_calls(pieces: &[Piece]) -> Vec<(String, Value)> {
    let mut calls = Vec::new();
    for window in pieces.windows(3) {
        if let [Piece::ToolStart { name }, Piece::ToolInput(json), Piece::ToolEnd] = window {
            let parsed = serde_json::from_str(&with_short_exponents(json));
            calls.push((name.clone(), parsed.unwrap_or_else(|error| panic!("{error}: {json}"))));
        }
    }
    calls
}

/// JSON's numbers may be of any size, serde_json's may not.
pub(super) fn with_short_exponents(json: &str) -> String {
    let (mut digits, mut before) = (None, ' ');
    let kept = json.chars().filter(|c| {
        digits = match (c, digits) {
            ('e' | 'E', _) if before.is_ascii_digit() => Some(0),
            ('+' | '-', Some(0)) => Some(0),
            ('0'..='9', Some(count)) => Some(count + 1),
            _ => None,
        };
        before = *c;
        digits.is_none_or(|count| count <= 2)
    });
    kept.collect()
}

fn assert_valid(name: &str, input: &Value) {
    let schemas = schemas();
    let (_, schema) = schemas.iter().find(|(known, _)| *known == name).expect("the name is known");
    let validator = jsonschema::validator_for(&enforced(name, schema)).unwrap();
    if let Err(error) = validator.validate(input) {
        panic!("{name} {input}: {error}");
    }
}

#[test]
fn every_finished_call_is_valid() {
    for form in FORMS {
        let decoders = decoders(form);
        let mut finished = 0;
        for (at, (name, schema)) in schemas().into_iter().enumerate() {
            let mut random = StdRng::seed_from_u64(at as u64);
            let request = request(&[(name, schema)], json!({"type": "tool", "name": name, "disable_parallel_tool_use": true}));
            for _ in 0..6 {
                let (pieces, over) = generate(&mut decoders.start(&request, None).unwrap(), &mut random, 160);
                if over {
                    let calls = calls(&pieces);
                    assert_eq!(calls.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [name]);
                    assert_valid(name, &calls[0].1);
                    finished += 1;
                }
            }
        }
        // Recursive schemas and long patterns may lead far: these answers are cut.
        assert!(finished > 50, "{form:?}: only {finished} of 120 calls were finished");
    }
}

#[test]
fn a_call_cut_anywhere_says_what_was_said_and_nothing_more() {
    for form in FORMS {
        let decoders = decoders(form);
        for (at, (name, schema)) in schemas().into_iter().enumerate() {
            let request = request(&[(name, schema)], json!({"type": "tool", "name": name, "disable_parallel_tool_use": true}));
            let mut whole = decoders.start(&request, None).unwrap();
            let mut random = StdRng::seed_from_u64(at as u64);
            let (mut tokens, mut said) = (Vec::new(), Vec::new());
            while !whole.is_finished() && tokens.len() < 45 {
                let token = whole.mask().unwrap().unwrap().iter().choose(&mut random).unwrap();
                tokens.push(token);
                said.extend(whole.push(token).unwrap());
            }
            said.extend(whole.finish());
            let said = arguments(&said);
            for cut in (at % 3..tokens.len()).step_by(3) {
                let mut decoder = decoders.start(&request, None).unwrap();
                let mut pieces: Vec<Piece> = tokens[..cut].iter().flat_map(|token| decoder.push(*token).unwrap()).collect();
                pieces.extend(decoder.finish());
                let shown = arguments(&pieces);
                assert!(said.starts_with(&shown), "{form:?}: {shown:?} is not how {said:?} begins");
                let texts = pieces.iter().filter(|piece| matches!(piece, Piece::Text(_))).count();
                assert_eq!(texts, 0, "{form:?}: markup was given as text: {pieces:?}");
                let complete = serde_json::from_str::<Value>(&with_short_exponents(&shown)).is_ok_and(|input| input.is_object());
                assert_eq!(pieces.contains(&Piece::ToolEnd), complete, "{form:?}: {pieces:?}");
                let started = pieces.iter().any(|piece| matches!(piece, Piece::ToolStart { .. }));
                assert_eq!(started, !shown.is_empty(), "{form:?}: {pieces:?}");
            }
        }
    }
}

fn arguments(pieces: &[Piece]) -> String {
    pieces.iter().filter_map(|piece| if let Piece::ToolInput(json) = piece { Some(json.as_str()) } else { None }).collect()
}

#[test]
fn any_choice_calls_some_known_tool_first_and_may_go_on() {
    let mut random = StdRng::seed_from_u64(7);
    let request = request(&schemas(), json!({"type": "any"}));
    for form in FORMS {
        let decoders = decoders(form);
        for _ in 0..6 {
            let (pieces, _) = generate(&mut decoders.start(&request, None).unwrap(), &mut random, 300);
            // An answer that is cut early may show nothing.
            assert!(matches!(pieces.first(), Some(Piece::ToolStart { .. }) | None), "{form:?} {pieces:?}");
            finished_calls(&pieces).iter().for_each(|(name, input)| assert_valid(name, input));
        }
    }
}

/// An allowed token that leads to the end of the call: one that closes something, else one with a first byte chosen at random, so
/// that the one sign that a pattern waits for comes up among hundreds of letters.
fn soonest_end(allowed: &TokenMask, random: &mut StdRng) -> u32 {
    let markup = allowed.iter().find(|token| TOKENIZER.kind(*token) != TokenKind::Text);
    let closing =
        markup.or_else(|| b"\"}],@:.-".iter().find_map(|sign| allowed.iter().find(|token| TOKENIZER.bytes(*token) == [*sign])));
    closing.unwrap_or_else(|| {
        let first = |token: u32| TOKENIZER.bytes(token).first().copied();
        let firsts: std::collections::BTreeSet<_> = allowed.iter().map(first).collect();
        let chosen = firsts.into_iter().choose(random).expect("some token is allowed");
        allowed.iter().filter(|token| first(*token) == chosen).choose(random).expect("a token begins so")
    })
}

/// The text and the pieces of an answer of one call, where it ends within 200 tokens.
fn short_call(mut decoder: AnswerDecoder, seed: u64) -> Option<(String, Vec<Piece>)> {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut text, mut pieces) = (String::new(), Vec::new());
    for _ in 0..200 {
        let token = soonest_end(&decoder.mask().unwrap().unwrap(), &mut random);
        text.push_str(std::str::from_utf8(TOKENIZER.bytes(token)).unwrap());
        pieces.extend(decoder.push(token).unwrap());
        if decoder.is_finished() {
            return Some((text, joined(pieces)));
        }
    }
    None
}

#[test]
fn a_follow_up_prompt_goes_on_from_the_generated_tokens() {
    let template = ChatTemplate::load(&tiny_model(), &TOKENIZER).unwrap();
    let decoders = decoders(FORMS[0]);
    let mut found = 0;
    for (name, schema) in schemas() {
        let mut request = request(&[(name, schema)], json!({"type": "any", "disable_parallel_tool_use": true}));
        request.messages = serde_json::from_value(json!([{"role": "user", "content": "Go."}])).unwrap();
        let prompt = template.render(&request).unwrap();
        let mut tries = (0..10).map(|seed| short_call(decoders.start(&request, None).unwrap(), seed));
        // Recursive schemas and long patterns may lead far.
        let Some((text, pieces)) = tries.find_map(|call| call) else { continue };
        found += 1;
        let text = prompt + &text;
        let (_, input) = calls(&pieces).remove(0);
        let turns = json!([
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": name, "input": input}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]}]);
        request.messages.extend(serde_json::from_value::<Vec<_>>(turns).unwrap());
        let follow_up = template.render(&request).unwrap();
        assert!(follow_up.starts_with(&format!("{text}<|im_end|>\n")), "{text}\n---\n{follow_up}");
    }
    assert!(found > 14, "only {found} of 20 schemas gave a call");
}
