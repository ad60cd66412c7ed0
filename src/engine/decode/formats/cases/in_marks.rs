//! Formats with strings between marks.

use serde_json::json;

use super::super::ToolFormatName::Gemma;
use super::{Call, Cut, Text, check};

#[test]
fn gemma() {
    let call =
        "<|tool_call>call:Read{all:true,lines:[1,{from:2.5,to:null},[]],path:<|\"|>a \"b\" \\ {é🙂}\n<|\" ,]}<|\"|>}<tool_call|>";
    let input = json!({"path": "a \"b\" \\ {é🙂}\n<|\" ,]}", "lines": [1, {"from": 2.5, "to": null}, []], "all": true});
    check(Gemma, call, &[Call("Read", input.clone())]);
    let two = format!("before\n{call}<|tool_call>call:X{{}}<tool_call|>after").leak();
    check(Gemma, two, &[Text("before\n"), Call("Read", input), Call("X", json!({})), Text("after")]);
    // Spaces, quotes, JSON and Python's words, and a comma too many.
    check(
        Gemma,
        "<|tool_call>call:X{ \"a\" : \"b\\\"}\\n\" , <|\"|>c d<|\"|>:True, e : [ 1 , None , ], f:{\"g\": 1}}<tool_call|>",
        &[Call("X", json!({"a": "b\"}\n", "c d": true, "e": [1, null], "f": {"g": 1}}))],
    );
    check(Gemma, "<|tool_call>call:X{\"a\\\"b:\":1,c d :2}<tool_call|>", &[Call("X", json!({"a\"b:": 1, "c d": 2}))]);
    // A forgotten mark before a word, and a value that is missing.
    check(Gemma, "<|tool_call>call:X{a:oak tree,b:}<tool_call|>", &[Call("X", json!({"a": "oak tree", "b": null}))]);
    // Without its end, and cut.
    check(Gemma, "<|tool_call>call:X{a:1} so", &[Call("X", json!({"a": 1})), Text(" so")]);
    check(Gemma, "<|tool_call>call:Read{path:<|\"|>ab", &[Cut("Read", "{\"path\": \"ab")]);
    for broken in [
        "<|tool_call>",
        "<|tool_call>call:",
        "<|tool_call>call:Read",
        "<|tool_call>call:{}<tool_call|>",
        "<|tool_call>{\"name\": \"X\"}",
        "<|tool_call>call Read{}",
        "call:Read{}",
    ] {
        check(Gemma, broken, &[Text(broken)]);
    }
}
