//! Answers whose text follows a schema.

use super::*;

fn format(schema: Value) -> Value {
    json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}})
}

fn answer_schema() -> Value {
    json!({"type": "object", "properties": {"ok": {"type": "boolean"}, "why": {"type": "string"}}, "required": ["ok"]})
}

#[test]
fn text_is_held_to_the_schema_and_ends_with_it() {
    let mut decoder = start(format(answer_schema())).unwrap();
    let text = r#"{"ok": true, "why": "a b"}"#;
    assert_eq!(push(&mut decoder, text), [Piece::Text(text.into())]);
    assert!(decoder.is_finished() && !decoder.called_tool());
    let mut cut = start(format(answer_schema())).unwrap();
    let mut pieces = push(&mut cut, r#"{"ok": tr"#);
    pieces.extend(cut.finish());
    assert_eq!(joined(pieces), [Piece::Text(r#"{"ok": tr"#.into())]);
    for prose in ["Sure", "[1]", "{\"other"] {
        let mut decoder = start(format(answer_schema())).unwrap();
        let allowed = TOKENIZER.encode(prose).unwrap().into_iter().all(|token| {
            let allowed = decoder.mask().unwrap().is_none_or(|mask| mask.allows(token));
            allowed && decoder.push(token).is_ok()
        });
        assert!(!allowed, "{prose}");
    }
}

#[test]
fn a_call_may_come_instead_of_the_json() {
    let mut decoder = start(format(answer_schema())).unwrap();
    assert_eq!(push(&mut decoder, CALL), call(r#"{"file_path": "a"}"#));
    assert!(decoder.called_tool() && !decoder.is_finished());
    assert!(decoder.mask().unwrap().unwrap().allows(TOKENIZER.eos_tokens()[0]));
    decoder.push(TOKENIZER.eos_tokens()[0]).unwrap();
    assert!(decoder.is_finished());
    let mut none = format(answer_schema());
    none["tool_choice"] = json!({"type": "none"});
    assert!(!next(&mut start(none).unwrap()).contains(&OPEN.to_owned()));
    let mut forced = format(answer_schema());
    forced["tool_choice"] = json!({"type": "any"});
    assert_eq!(next(&mut start(forced).unwrap()), [OPEN]);
}

#[test]
fn a_cut_value_that_begins_as_a_call_does_is_kept() {
    let decoders = AnswerDecoders::new(TOKENIZER.clone(), ToolFormatName::Llama3.format()).unwrap();
    let schema =
        json!({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]});
    let mut body = format(schema);
    body.as_object_mut().unwrap().extend(
        json!({"model": "m", "max_tokens": 1, "messages": [],
        "tools": [{"name": "Read", "input_schema": {"type": "object"}}]})
        .as_object()
        .unwrap()
        .clone(),
    );
    let request = serde_json::from_value(body).unwrap();
    for written in [r#"{"name""#, r#"{"name": "Re"#] {
        let mut decoder = decoders.start(&request, None).unwrap();
        let mut pieces = push(&mut decoder, written);
        pieces.extend(decoder.finish());
        assert_eq!(joined(pieces), [Piece::Text(written.into())], "{written}");
    }
}

#[test]
fn the_schema_holds_after_thoughts() {
    let mut body = json!({"model": "m", "max_tokens": 1, "messages": [], "thinking": {"type": "enabled"}});
    body["output_config"] = format(answer_schema())["output_config"].clone();
    let mut decoder = DECODERS.start(&serde_json::from_value(body).unwrap(), Some(&THINKING_TAGS[0])).unwrap();
    let end = TOKENIZER.eos_tokens()[0];
    assert!(!decoder.mask().unwrap().unwrap().allows(end) && decoder.push(end).is_err(), "the text is still to come");
    assert_eq!(push(&mut decoder, "Hm, {}.</think>"), [Piece::Thinking("Hm, {}.".into())]);
    assert_eq!(push(&mut decoder, r#"{"ok": true}"#), [Piece::Text(r#"{"ok": true}"#.into())]);
    assert!(decoder.is_finished());
}

#[test]
fn a_root_of_any_type_works() {
    for (schema, text) in [
        (json!({"type": "array", "items": {"type": "integer"}}), "[1, 2]"),
        (json!({"enum": ["red", "blue"]}), "\"blue\""),
        (json!({"type": "integer"}), "12"),
        (json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": ["string", "null"]}}}), "null"),
    ] {
        let mut decoder = start(format(schema.clone())).unwrap();
        let mut pieces = push(&mut decoder, text);
        decoder.push(TOKENIZER.eos_tokens()[0]).unwrap();
        pieces.extend(decoder.finish());
        assert_eq!((decoder.is_finished(), joined(pieces)), (true, vec![Piece::Text(text.into())]), "{schema}");
    }
}

#[test]
fn an_unusable_schema_is_an_error_that_names_the_field() {
    let lookahead = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)y"}}});
    let mut loose = format(lookahead.clone());
    loose["output_config"]["format"]["strict"] = json!(false);
    let tool = json!({"tools": [{"name": "T", "strict": true, "input_schema": lookahead.clone()}]});
    for (body, expected) in [
        (format(json!({"$ref": "#/$defs/gone"})), "output_config.format.schema.$ref: "),
        (format(json!({"type": "colour"})), "output_config.format.schema: "),
        (format(lookahead), "output_config.format.schema.properties.a: cannot be enforced: pattern"),
        (tool, "tools.T.input_schema.properties.a: cannot be enforced: pattern"),
    ] {
        let error = start(body).err().unwrap().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    start(loose).unwrap();
}
