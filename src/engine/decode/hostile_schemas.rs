//! Schemas that are small and legal, and would take a grammar minutes and gigabytes: calls are held to as much of each as is
//! bounded. A schema that is not bounded any more makes these tests run into their deadline.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::Piece;
use super::fuzz::{decoders, generate, with_short_exponents};
use crate::engine::decode::ToolFormatName;
use crate::wire::MessagesRequest;

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn patterns(count: usize) -> Vec<Value> {
    (0..count).map(|at| json!({"type": "string", "pattern": format!(".*x{at}.*")})).collect()
}

/// Patterns behind references that are written in another way than usual.
fn hidden_patterns(count: usize) -> Value {
    let definitions: Map<String, Value> =
        patterns(count).into_iter().enumerate().map(|(at, one)| (format!("p{at}"), one)).collect();
    let all: Vec<Value> = (0..count).map(|at| json!({"$ref": format!("#/%24defs/p{at}")})).collect();
    json!({"type": "object", "properties": {"p": {"allOf": all}}, "required": ["p"], "$defs": definitions})
}

/// Patterns behind references to names.
fn named_patterns(count: usize) -> Value {
    let named = |(at, mut one): (usize, Value)| {
        one[if at % 2 == 0 { "$anchor" } else { "$id" }] = json!(format!("p{at}"));
        (format!("d{at}"), one)
    };
    let definitions: Map<String, Value> = patterns(count).into_iter().enumerate().map(named).collect();
    let all: Vec<Value> = (0..count).map(|at| json!({"$ref": format!("{}p{at}", if at % 2 == 0 { "#" } else { "" })})).collect();
    json!({"type": "object", "properties": {"p": {"allOf": all}}, "required": ["p"], "$defs": definitions})
}

/// Each definition applies the next twice.
fn doubling(length: usize) -> Value {
    let next = |at: usize| json!({"$ref": format!("#/$defs/d{at}")});
    let mut definitions: Map<String, Value> =
        (0..length).map(|at| (format!("d{at}"), json!({"allOf": [next(at + 1), next(at + 1)]}))).collect();
    definitions.insert(format!("d{length}"), json!({"type": "string"}));
    json!({"type": "object", "properties": {"p": next(0)}, "required": ["p"], "$defs": definitions})
}

/// Each definition refers to the next.
fn chain(length: usize) -> Value {
    let next = |at: usize| json!({"$ref": format!("#/$defs/d{at}")});
    let definitions: Map<String, Value> = (0..length).map(|at| (format!("d{at}"), next(at + 1))).collect();
    json!({"type": "object", "properties": {"p": next(0)}, "$defs": definitions})
}

/// A node that requires the next one.
fn endless() -> Value {
    json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]})
}

fn many_optional(count: usize) -> Value {
    let properties: Map<String, Value> = (0..count).map(|at| (format!("key{at}"), json!({"type": "integer"}))).collect();
    object(json!(properties), &[])
}

/// At least one of so many properties.
fn limited(count: usize) -> Value {
    let mut schema = many_optional(count);
    schema["minProperties"] = json!(1);
    schema
}

/// Each schema, and what the calls are still held to.
fn schemas() -> Vec<(&'static str, Value, Value)> {
    let string = || json!({"type": "string"});
    let merged: Vec<Value> = patterns(14).into_iter().map(|pattern| json!({"properties": {"q": pattern}})).collect();
    let merged = json!({"type": "object", "required": ["q"], "allOf": merged});
    let alternatives = |count: usize| -> Value {
        let one = |at: usize| object(json!({format!("key{at}"): {"type": "boolean"}}), &[&format!("key{at}")]);
        let all: Vec<Value> = (0..count).map(one).collect();
        object(json!({"p": {"anyOf": all}}), &["p"])
    };
    let tagged = |count: usize| -> Value {
        let all: Vec<Value> = (0..count).map(|at| object(json!({"kind": {"const": format!("k{at}")}}), &["kind"])).collect();
        object(json!({"p": {"anyOf": all}}), &["p"])
    };
    vec![
        ("patterns", object(json!({"p": {"allOf": patterns(26)}}), &["p"]), object(json!({"p": string()}), &["p"])),
        ("merged", object(json!({"p": merged}), &["p"]), object(json!({"p": object(json!({"q": string()}), &["q"])}), &["p"])),
        ("doubling", doubling(40), json!({"type": "object"})),
        ("chain", chain(5_000), json!({"type": "object"})),
        ("endless", endless(), json!({"type": "object", "required": ["next"]})),
        ("too many optional", many_optional(3_000), json!({"type": "object"})),
        ("optional", many_optional(550), many_optional(550)),
        ("alternatives", alternatives(150), alternatives(150)),
        ("too many alternatives", alternatives(2_000), json!({"type": "object"})),
        ("tagged alternatives", tagged(2_000), tagged(2_000)),
        ("hidden patterns", hidden_patterns(26), object(json!({"p": string()}), &["p"])),
        ("named patterns", named_patterns(26), object(json!({"p": string()}), &["p"])),
        (
            "combinations",
            object(json!({"p": {"allOf": vec![json!({"anyOf": patterns(8)}); 5]}}), &["p"]),
            json!({"type": "object"}),
        ),
        (
            "multiples",
            object(json!({"p": {"type": "integer", "multipleOf": 4_294_967_291u32}}), &["p"]),
            object(json!({"p": {"type": "integer"}}), &["p"]),
        ),
        (
            "multiples together",
            object(json!({"p": {"type": "integer", "allOf": [{"multipleOf": 9_973}, {"multipleOf": 9_967}]}}), &["p"]),
            object(json!({"p": {"type": "integer"}}), &["p"]),
        ),
        (
            "names",
            json!({"type": "object", "patternProperties": {"^((a{1000}){1000}){1000}$": {"type": "integer"}}}),
            json!({"type": "object"}),
        ),
        ("limits", limited(400), many_optional(400)),
        (
            "many objects",
            object(json!((0..40).map(|at| (at.to_string(), many_optional(1_000))).collect::<Map<_, _>>()), &[]),
            json!({"type": "object"}),
        ),
    ]
}

fn request(schema: &Value) -> MessagesRequest {
    let body = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": [{"name": "T", "input_schema": schema}],
        "tool_choice": {"type": "tool", "name": "T", "disable_parallel_tool_use": true}});
    serde_json::from_value(body).unwrap()
}

#[test]
fn calls_are_held_to_as_much_of_a_schema_as_is_bounded() {
    for format in [ToolFormatName::Hermes, ToolFormatName::Qwen3Coder] {
        let decoders = decoders((format, None));
        for (name, schema, held_to) in schemas() {
            let request = request(&schema);
            let validator = jsonschema::validator_for(&held_to).unwrap();
            let mut finished = 0;
            for seed in 0..2 {
                let mut decoder = decoders.start(&request, None).unwrap();
                let (pieces, over) = generate(&mut decoder, &mut StdRng::seed_from_u64(seed), 120);
                if let (true, [.., Piece::ToolInput(json), Piece::ToolEnd]) = (over, &pieces[..]) {
                    let input = serde_json::from_str(&with_short_exponents(json)).unwrap();
                    assert!(validator.is_valid(&input), "{format:?} {name}: {input}");
                    finished += 1;
                }
            }
            assert!(finished > 0, "{format:?} {name}: no call was finished");
        }
    }
}
