//! A model that chooses any allowed token at random: whatever it does, tool calls come out whole and valid.

use std::sync::{Arc, LazyLock};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{AnswerDecoder, AnswerDecoders, Piece, ToolFormatName, joined};
use crate::engine::text::{ChatTemplate, Tokenizer, tiny_model};
use crate::wire::MessagesRequest;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Tokenizer::load(&tiny_model()).unwrap());

/// Every form that some format's grammar writes, with the template that asks for it.
const FORMS: [(ToolFormatName, &str); 8] = [
    (ToolFormatName::Hermes, ""),
    (ToolFormatName::Qwen3Coder, ""),
    (ToolFormatName::Llama3, ""),
    (ToolFormatName::Mistral, ""),
    (ToolFormatName::Mistral, "[ARGS]"),
    (ToolFormatName::DeepSeek, "```json"),
    (ToolFormatName::DeepSeek, ""),
    (ToolFormatName::OpenAi, ""),
];

fn decoders((name, template): (ToolFormatName, &str)) -> AnswerDecoders {
    AnswerDecoders::new(TOKENIZER.clone(), name.format(template)).unwrap()
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
        "Broken" | "NoObject" => json!({"type": "object"}),
        _ => schema.clone(),
    }
}

fn request(tools: &[(&str, Value)], tool_choice: Value) -> MessagesRequest {
    let tools: Vec<_> = tools.iter().map(|(name, schema)| json!({"name": name, "input_schema": schema})).collect();
    let body = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": tools, "tool_choice": tool_choice});
    serde_json::from_value(body).unwrap()
}

/// Generates at random until the answer is over; winds down after so many tokens. Gives the pieces and the number of tokens
/// the winding down took.
fn generate(decoder: &mut AnswerDecoder, random: &mut StdRng, patience: usize) -> (Vec<Piece>, usize) {
    let closing = |token: &u32| matches!(TOKENIZER.bytes(*token).first(), Some(b'"' | b'}' | b']' | b','));
    let mut pieces = Vec::new();
    let mut after = 0;
    for step in 0.. {
        if step >= patience {
            if after == 0 && !decoder.wind_down() {
                break;
            }
            after += 1;
            assert!(after < 2_000, "no end: {pieces:?}");
        }
        if decoder.is_finished() {
            break;
        }
        let token = match decoder.mask().unwrap() {
            None => random.random_range(0..TOKENIZER.vocab_size() as u32),
            Some(mask) => {
                let liked = if random.random_bool(0.3) { mask.iter().filter(closing).choose(random) } else { None };
                liked.or_else(|| mask.iter().choose(random)).expect("some token is allowed")
            }
        };
        pieces.extend(decoder.push(token).unwrap());
    }
    pieces.extend(decoder.finish());
    (joined(pieces), after)
}

fn calls(pieces: &[Piece]) -> Vec<(String, Value)> {
    let mut calls = Vec::new();
    for window in pieces.windows(3) {
        if let [Piece::ToolStart { name }, Piece::ToolInput(json), Piece::ToolEnd] = window {
            let parsed = serde_json::from_str(&with_short_exponents(json));
            calls.push((name.clone(), parsed.unwrap_or_else(|error| panic!("{error}: {json}"))));
        }
    }
    assert_eq!(calls.len(), pieces.iter().filter(|piece| matches!(piece, Piece::ToolStart { .. })).count(), "{pieces:?}");
    calls
}

/// JSON's numbers may be of any size, serde_json's may not.
fn with_short_exponents(json: &str) -> String {
    let mut digits = None;
    let kept = json.chars().filter(|c| {
        digits = match (c, digits) {
            ('e' | 'E', _) => Some(0),
            ('+' | '-', Some(0)) => Some(0),
            ('0'..='9', Some(count)) => Some(count + 1),
            _ => None,
        };
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
fn every_forced_call_is_valid_wherever_it_is_cut_short() {
    for form in FORMS {
        forced_calls_are_valid(&decoders(form));
    }
}

fn forced_calls_are_valid(decoders: &AnswerDecoders) {
    for (at, (name, schema)) in schemas().into_iter().enumerate() {
        let mut random = StdRng::seed_from_u64(at as u64);
        let request = request(&[(name, schema)], json!({"type": "tool", "name": name, "disable_parallel_tool_use": true}));
        for _ in 0..6 {
            let patience = random.random_range(1..120);
            let (pieces, _) = generate(&mut decoders.start(&request, false).unwrap(), &mut random, patience);
            let calls = calls(&pieces);
            assert_eq!(calls.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [name]);
            assert_valid(name, &calls[0].1);
        }
    }
}

#[test]
fn any_choice_calls_some_known_tool_first_and_may_go_on() {
    let mut random = StdRng::seed_from_u64(7);
    let request = request(&schemas(), json!({"type": "any"}));
    for form in FORMS {
        let decoders = decoders(form);
        for _ in 0..6 {
            let (pieces, _) = generate(&mut decoders.start(&request, false).unwrap(), &mut random, 60);
            assert!(matches!(pieces[0], Piece::ToolStart { .. }), "{form:?} {pieces:?}");
            calls(&pieces).iter().for_each(|(name, input)| assert_valid(name, input));
        }
    }
}

#[test]
fn a_call_winds_down_in_few_tokens() {
    for form in FORMS {
        let decoders = decoders(form);
        for (name, schema) in schemas() {
            let request = request(&[(name, schema)], json!({"type": "tool", "name": name}));
            let mut decoder = decoders.start(&request, false).unwrap();
            while !decoder.wind_down() {
                let opening = decoder.mask().unwrap().unwrap();
                assert_eq!(decoder.push(opening.iter().next().unwrap()).unwrap(), []);
            }
            let (pieces, tokens) = generate(&mut decoder, &mut StdRng::seed_from_u64(0), 0);
            assert!(tokens < 300, "{form:?} {name}: {tokens} tokens for {pieces:?}");
            assert_valid(name, &calls(&pieces)[0].1);
        }
    }
}

#[test]
fn a_follow_up_prompt_goes_on_from_the_generated_tokens() {
    let template = ChatTemplate::load(&tiny_model(), &TOKENIZER).unwrap();
    let decoders = decoders(FORMS[0]);
    for (name, schema) in schemas() {
        let mut request = request(&[(name, schema)], json!({"type": "any", "disable_parallel_tool_use": true}));
        request.messages = serde_json::from_value(json!([{"role": "user", "content": "Go."}])).unwrap();
        let mut text = template.render(&request).unwrap();
        let mut decoder = decoders.start(&request, false).unwrap();
        let mut pieces = Vec::new();
        while !decoder.is_finished() {
            let token = decoder.mask().unwrap().unwrap().iter().next().unwrap();
            text.push_str(std::str::from_utf8(TOKENIZER.bytes(token)).unwrap());
            pieces.extend(decoder.push(token).unwrap());
            decoder.wind_down();
        }
        let (_, input) = calls(&joined(pieces)).remove(0);
        let turns = json!([
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": name, "input": input}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]}]);
        request.messages.extend(serde_json::from_value::<Vec<_>>(turns).unwrap());
        let follow_up = template.render(&request).unwrap();
        assert!(follow_up.starts_with(&format!("{text}<|im_end|>\n")), "{text}\n---\n{follow_up}");
    }
}
