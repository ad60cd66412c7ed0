use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A trace whose request has this body.
pub(in crate::trace) fn trace(body: Value) -> Value {
    json!({"version": 1, "id": "i", "session": "s", "seq": 1, "recorded_at": "2026-01-02T03:04:05Z", "client": "c", "mode": "m",
        "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": body},
        "response": {"status": 200, "headers": {}, "events": [], "body": {"messages": [1]}},
        "timing": {"ttft_us": null, "e2e_us": null, "itl_us": null}, "outcome": "complete"})
}

/// The body that is left, and the items of each list.
type Parts = (Value, Vec<(&'static str, Vec<Value>)>);

/// The outlines of these texts, each a file.
fn outlined(texts: &[String]) -> Vec<Result<Parts, String>> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(nth, text): (usize, &String)| {
        let path = folder.path().join(format!("{nth:04}.json"));
        fs::write(&path, text).unwrap();
        path
    };
    let files: Vec<PathBuf> = texts.iter().enumerate().map(write).collect();
    let parse = |_: &'static str, _: usize, json: &[u8]| serde_json::from_slice::<Value>(json);
    outlines(&files, parse, |_, outline| {
        let outline = outline.map_err(|error| error.to_string())?;
        let items = |list: &List<Value>| (list.name, list.items.iter().map(|item| Value::clone(item)).collect());
        Ok((outline.trace.request.body.clone(), outline.lists.iter().map(items).collect()))
    })
}

/// The same from the whole trace.
fn expected(trace: &Value) -> Parts {
    let mut body = trace["request"]["body"].clone();
    let mut lists = Vec::new();
    for (name, value) in body.as_object_mut().into_iter().flatten() {
        if let (Some(name), Value::Array(items)) = (LISTS.into_iter().find(|list| list == name), value) {
            lists.push((name, std::mem::take(items)));
        }
    }
    (body, lists)
}

pub(in crate::trace) fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c\"\\\\\\[\\]{},:\n é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-c\"\\\\]{0,2}", inner), 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

pub(in crate::trace) fn body() -> impl Strategy<Value = Value> {
    let items = || prop::collection::vec(json_value(), 0..4).prop_map(Value::from);
    let list = (prop::sample::select(LISTS.to_vec()), prop_oneof![items(), json_value()]);
    let other = ("[a-c]{1,2}", json_value()).prop_map(|(name, value)| (name, value));
    let field = prop_oneof![list.prop_map(|(name, value)| (name.to_owned(), value)), other];
    prop::collection::vec(field, 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #[test]
    fn an_outline_is_what_the_whole_trace_says(
        bodies in prop::collection::vec(prop_oneof![4 => body(), 1 => json_value()], 1..4), repeated in 0usize..4, pretty: bool
    ) {
        let mut traces: Vec<Value> = bodies.into_iter().map(trace).collect();
        // The same again, so that items are known.
        traces.extend(traces.clone().into_iter().take(repeated));
        let texts: Vec<String> =
            traces.iter().map(|trace| if pretty { format!("{trace:#}") } else { trace.to_string() }).collect();
        for (found, trace) in outlined(&texts).into_iter().zip(&traces) {
            prop_assert_eq!(found, Ok(expected(trace)));
        }
    }
}

#[test]
fn what_begins_like_a_known_item_is_another_item() {
    let texts = [json!([1, "a", {"b": 1}]), json!([12, "ab", {"b": 1}, 3]), json!([1, "a\"", {"b": 1, "c": 2}])];
    let traces = texts.map(|messages| trace(json!({"messages": messages})));
    let found = outlined(&traces.each_ref().map(Value::to_string));
    for (found, trace) in found.into_iter().zip(&traces) {
        assert_eq!(found, Ok(expected(trace)));
    }
}

#[test]
fn a_field_that_comes_twice_counts_as_it_does_in_the_whole_trace() {
    let twice = trace(json!({"messages": [1], "x": 5})).to_string().replace("\"x\":5", "\"messages\":[2,3]");
    let last = trace(json!({"messages": [2, 3]}));
    assert_eq!(outlined(&[twice]), [Ok(expected(&last))]);
}

#[test]
fn what_is_no_trace_is_the_error_that_reading_it_gives() {
    let good = trace(json!({"messages": [{"a": 1}]})).to_string();
    let cut = good[..good.len() - 9].to_owned();
    let version = good.replace("\"version\":1", "\"version\":2");
    let item = good.replace("{\"a\":1}", "{\"a\":}");
    let found = outlined(&[good, cut, version, item]);
    assert!(found[0].is_ok());
    let errors: Vec<_> = found[1..].iter().map(|found| found.as_ref().unwrap_err().split_once(".json").unwrap().1).collect();
    insta::assert_snapshot!(errors.join("\n"), @"
    :1:339: not a whole trace: EOF while parsing a string; it was cut short or edited, record it again or delete it
    : trace version 2, but this anyclaude reads version 1; record it again, or use the anyclaude that wrote it
    :1:193: not a whole trace: expected value; it was cut short or edited, record it again or delete it
    ");
}
