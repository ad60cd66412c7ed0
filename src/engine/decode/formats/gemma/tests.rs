//! What the grammar of Gemma's notation lets a model write, byte by byte.

use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use crate::engine::decode::{AnswerDecoders, Piece, ToolFormatName, joined};
use crate::engine::text::{Tokenizer, tiny_model};

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| Tokenizer::load(&tiny_model()).unwrap());
static DECODERS: LazyLock<AnswerDecoders> =
    LazyLock::new(|| AnswerDecoders::new(TOKENIZER.clone(), ToolFormatName::Gemma.format()).unwrap());

/// The arguments that a call of these members has; how much of them was accepted, if not all.
fn arguments(schema: &Value, members: &str) -> Result<Value, String> {
    let request = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": [{"name": "X", "input_schema": schema}],
                         "tool_choice": {"type": "any", "disable_parallel_tool_use": true}});
    let mut decoder = DECODERS.start(&serde_json::from_value(request).unwrap(), None).unwrap();
    let mut pieces = Vec::new();
    let mut so_far = String::new();
    for byte in format!("<|tool_call>call:X{{{members}}}<tool_call|>").bytes() {
        let token = (0..TOKENIZER.vocab_size() as u32).find(|token| TOKENIZER.bytes(*token) == [byte]).unwrap();
        if !decoder.mask().unwrap().unwrap().allows(token) {
            return Err(so_far);
        }
        so_far.push(byte as char);
        pieces.extend(decoder.push(token).unwrap());
    }
    assert!(decoder.is_finished() && decoder.called_tool());
    let [_, Piece::ToolInput(input), _] = &joined(pieces)[..] else { panic!("no call of {members}") };
    Ok(serde_json::from_str(input).unwrap())
}

fn of_string(keywords: Value) -> Value {
    let mut string = json!({"type": "string"});
    string.as_object_mut().unwrap().extend(keywords.as_object().unwrap().clone());
    json!({"type": "object", "properties": {"a": string}, "required": ["a"], "additionalProperties": false})
}

#[test]
fn strings_of_a_format_stand_between_marks() {
    let cases = [
        ("uri", "https://u:p@example.org:80/a%20b/?q=1&r#top", "https://a b"),
        ("uri", "mailto:a@example.org", "nothing"),
        ("uri", "file:///etc/hosts", "file"),
        ("uri", "http://[::1]:8080/", "http://[::1"),
        ("email", "first.last@example.org", "first@"),
        ("hostname", "a-1.example.org", "-a"),
        ("ipv4", "192.168.0.255", "192.168.0.256"),
        ("ipv6", "2001:db8::ff00:42", "2001:db8:::1"),
        ("ipv6", "1:2:3:4:5:6:7:8", "1:2:3"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        ("date", "2026-02-28", "2026-02-30"),
        ("date-time", "2026-11-30T01:59:59Z", "2026-11-30"),
        ("duration", "P1Y2M3DT4H", "P"),
        ("regex", "^a$", ""),
    ];
    for (format, valid, invalid) in cases {
        let schema = of_string(json!({"format": format}));
        assert_eq!(arguments(&schema, &format!("a:<|\"|>{valid}<|\"|>")), Ok(json!({"a": valid})), "{format}");
        assert!(invalid.is_empty() || arguments(&schema, &format!("a:<|\"|>{invalid}<|\"|>")).is_err(), "{format}: {invalid}");
        assert_eq!(arguments(&schema, &format!("a:\"{valid}\"")), Err("<|tool_call>call:X{a:".into()), "{format}");
    }
}

#[test]
fn strings_that_several_keywords_narrow_stand_between_marks() {
    let cases = [
        (json!({"pattern": "^a$|^b+$"}), "bb", "ab"),
        (json!({"allOf": [{"pattern": "^a"}, {"type": "string", "maxLength": 2}]}), "ab", "abc"),
        (json!({"format": "date", "pattern": "^2026"}), "2026-01-31", "2025-01-31"),
    ];
    for (keywords, valid, invalid) in cases {
        let schema = of_string(keywords);
        assert_eq!(arguments(&schema, &format!("a:<|\"|>{valid}<|\"|>")), Ok(json!({"a": valid})));
        assert!(arguments(&schema, &format!("a:<|\"|>{invalid}<|\"|>")).is_err(), "{schema}: {invalid}");
    }
}

#[test]
fn any_key_can_be_written() {
    let open = json!({"type": "object", "additionalProperties": {"type": "integer"}});
    let keys = "Content-Type:1,@scope/pkg:2,a b.c:3,9:4,<|\"|>C:\\x, {\"y\"}<|\"|>:5,<|\"|><|\"|>:6";
    let expected = json!({"Content-Type": 1, "@scope/pkg": 2, "a b.c": 3, "9": 4, "C:\\x, {\"y\"}": 5, "": 6});
    assert_eq!(arguments(&open, keys), Ok(expected));
    for broken in [":1", " a:1", "a\"b:1", "a{:1"] {
        assert!(arguments(&open, broken).is_err(), "{broken}");
    }
}

#[test]
fn declared_keys_stand_bare_where_they_are_read_so() {
    let names = ["a b", "a:b", "-A", "\"q", "x{y"];
    let properties: Value =
        names.iter().map(|name| ((*name).to_owned(), json!({"type": "integer"}))).collect::<serde_json::Map<_, _>>().into();
    let schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let written = "<|\"|>\"q<|\"|>:1,-A:2,a b:3,<|\"|>a:b<|\"|>:4,x{y:5";
    assert_eq!(arguments(&schema, written), Ok(json!({"\"q": 1, "-A": 2, "a b": 3, "a:b": 4, "x{y": 5})));
}
