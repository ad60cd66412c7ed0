use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::trace::outline::tests::trace;
use crate::trace::{Trace, outlines};

/// The keys of these bodies, each by its items.
fn keys_by_items(bodies: &[&Value]) -> Vec<Digest> {
    let folder = tempfile::tempdir().unwrap();
    let write = |(nth, body): (usize, &&Value)| {
        let path = folder.path().join(format!("{nth:04}.json"));
        let trace: Trace = serde_json::from_value(trace(Value::clone(body))).unwrap();
        crate::trace::write(&path, &trace).unwrap();
        path
    };
    let files: Vec<_> = bodies.iter().enumerate().map(write).collect();
    let item = |list: &str, _: usize, json: &[u8]| ItemKey::read(list, json);
    outlines(&files, item, |_, outline| outline.unwrap().request_key())
}

/// Whether two requests ask the same, which all ways of telling agree on.
fn same(one: &Value, other: &Value) -> bool {
    let canonical = [one, other].map(|body| CanonicalRequest::of(body.clone()));
    let same = canonical[0].key() == canonical[1].key();
    let by_items = keys_by_items(&[one, other]);
    assert_eq!(by_items[0] == by_items[1], same, "{one}\n{other}");
    same
}

fn cached() -> Value {
    json!({"type": "ephemeral"})
}

/// A conversation with two calls, whose ids these are, and their results in this order.
fn calls(ids: [&str; 2], results: [&str; 2]) -> Value {
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "Read", "input": {"a": 1, "id": "x"}});
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "same"});
    json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ids.map(call)},
        {"role": "user", "content": results.map(result)}]})
}

#[test]
fn what_has_no_meaning_for_the_answer_does_not_count() {
    let plain = json!({"model": "m", "system": "Help.", "top_k": 1, "messages": [{"role": "user", "content": "Hi"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "It."}]},
        {"role": "system", "content": "Go on."}]});
    let header = "x-anthropic-billing-header: cc_version=1; cch=2;";
    let same_words = json!({"stream": true, "metadata": {"user_id": "u"}, "tools": [], "thinking": null, "max_tokens": 9, "top_k": 1,
        "messages": [{"content": [{"cache_control": cached(), "type": "text", "text": "Hi"}], "role": "user"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u", "is_error": false, "cache_control": cached(),
                "content": [{"type": "text", "text": "It.", "cache_control": cached()}]}]},
            {"role": "system", "content": [{"type": "text", "text": header}, {"type": "text", "text": "Go on."}]}],
        "system": [{"type": "text", "text": header}, {"type": "text", "text": "Help.", "cache_control": cached()}], "model": "m"});
    assert!(same(&plain, &same_words));
    let others = [
        ("/model", json!("n")),
        ("/system", json!("Help!")),
        ("/messages/0/content", json!("Ho")),
        ("/top_k", json!(2)),
        ("/messages/1/content/0/content", json!("That.")),
        ("/messages/2/role", json!("user")),
    ];
    for (place, value) in others {
        let mut other = plain.clone();
        *other.pointer_mut(place).unwrap() = value;
        assert!(!same(&plain, &other), "{place}");
    }
}

/// A conversation of chat completions with two calls, whose ids these are, and their results in this order.
fn chat_calls(ids: [&str; 2], results: [&str; 2]) -> Value {
    let call = |id: &str| json!({"type": "function", "id": id, "function": {"name": "Read", "arguments": "{\"id\": 1}"}});
    let results = results.map(|id| json!({"role": "tool", "content": "same", "tool_call_id": id}));
    let asked = [json!({"role": "user", "content": "Hi"}), json!({"role": "assistant", "tool_calls": ids.map(call)})];
    let messages = [&asked[..], &results].concat();
    json!({"model": "m", "messages": messages})
}

/// The same of Responses, whose calls have ids of their own beside those that results name.
fn responses_calls(ids: [&str; 2], results: [&str; 2]) -> Value {
    let call =
        |id: &str| json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "Read", "arguments": "{}"});
    let result = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "same"});
    let asked = [json!({"role": "user", "content": "Hi"})];
    let input = [&asked[..], &ids.map(call), &results.map(result)].concat();
    json!({"model": "m", "input": input})
}

#[test]
fn the_order_of_a_calls_two_ids_does_not_count() {
    let calls = |ids: [(&str, &str); 2]| {
        let call = json!({"type": "function_call", ids[0].0: ids[0].1, ids[1].0: ids[1].1, "name": "Read"});
        json!({"input": [call, {"type": "function_call_output", "call_id": "b"}]})
    };
    assert!(same(&calls([("id", "a"), ("call_id", "b")]), &calls([("call_id", "b"), ("id", "a")])));
}

#[test]
fn ids_are_names_that_tell_which_result_is_of_which_call() {
    for calls in [calls, chat_calls, responses_calls] {
        assert!(same(&calls(["a", "b"], ["a", "b"]), &calls(["c", "d"], ["c", "d"])));
        assert!(!same(&calls(["a", "b"], ["a", "b"]), &calls(["a", "b"], ["b", "a"])));
    }
}

/// Arguments and schemas may have the names of what does not count elsewhere.
#[test]
fn what_a_tool_says_counts_as_it_is() {
    let call = |input: Value| json!({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": input}]}]});
    let tool = |schema: Value| json!({"tools": [{"name": "Read", "input_schema": schema}]});
    let values = [
        json!({}),
        json!({"id": 1}),
        json!({"id": 2}),
        json!({"cache_control": 1}),
        json!({"content": "a"}),
        json!({"content": [{"type": "text", "text": "a"}]}),
        json!({"is_error": false}),
        json!({"a": null}),
    ];
    for make in [call as fn(Value) -> Value, tool] {
        let bodies: Vec<Value> = values.iter().cloned().map(make).collect();
        let keys = bodies.iter().map(|body| CanonicalRequest::of(body.clone()).key()).collect::<HashSet<_>>();
        let by_items = keys_by_items(&bodies.iter().collect::<Vec<_>>()).into_iter().collect::<HashSet<_>>();
        assert_eq!((keys.len(), by_items.len()), (values.len(), values.len()));
    }
}

#[test]
fn how_it_is_answered_does_not_count_for_a_prompt() {
    let settings = [json!({}), json!({"top_k": 8}), json!({"temperature": 1.0})].map(CanonicalRequest::of);
    let keys: HashSet<_> = settings.iter().map(CanonicalRequest::key).collect();
    let prompts: HashSet<_> = settings.iter().map(CanonicalRequest::prompt_key).collect();
    assert_eq!((keys.len(), prompts.len()), (3, 1));
}

#[test]
fn of_a_body_that_is_no_object_all_counts() {
    let bodies = [json!("text"), json!("other"), json!(""), json!(1), json!([]), json!(["text"]), json!({}), Value::Null];
    for (at, one) in bodies.iter().enumerate() {
        for (nth, other) in bodies.iter().enumerate() {
            assert_eq!(same(one, other), at == nth, "{one} {other}");
        }
    }
}

/// A request out of so few that two of them are often the same.
fn body() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["a", "x-anthropic-billing-header: cc_version=1;"]).prop_map(Value::from);
    let block = (text(), any::<bool>()).prop_map(|(text, is_marked)| match is_marked {
        true => json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}),
        false => json!({"text": text, "type": "text"}),
    });
    let id = || prop::sample::select(vec!["1", "2"]);
    let call = id().prop_map(|id| json!({"type": "tool_use", "id": id, "name": "t", "input": {"id": 1}}));
    let result = (id(), text(), prop::option::of(any::<bool>())).prop_map(
        |(id, text, is_error)| json!({"type": "tool_result", "tool_use_id": id, "content": text, "is_error": is_error}),
    );
    let blocks = prop::collection::vec(prop_oneof![block, call, result], 0..3).prop_map(Value::from);
    let content = prop_oneof![1 => text(), 3 => blocks].boxed();
    let message = (prop::sample::select(vec!["user", "system"]), content.clone())
        .prop_map(|(role, content)| json!({"role": role, "content": content}));
    let messages = prop::collection::vec(message, 0..3);
    (prop::option::of(content), messages, prop::option::of(0..2u8), any::<bool>()).prop_map(
        |(system, messages, top_k, stream)| json!({"system": system, "messages": messages, "top_k": top_k, "stream": stream}),
    )
}

proptest! {
    /// That the ways of telling agree is what [`same`] asserts.
    #[test]
    fn a_request_by_its_items_is_the_same_as_by_the_whole(one in body(), other in body()) {
        prop_assert!(same(&one, &one));
        same(&one, &other);
    }
}
