//! Formats with all arguments as one JSON object.

use serde_json::{Value, json};

use super::super::ToolFormatName::{DeepSeek, Harmony, Hermes, Llama3, Mistral, OpenAi};
use super::*;

#[test]
fn hermes() {
    let call = |input: &Value| format!("<tool_call>\n{{\"name\": \"Read\", \"arguments\": {input}}}\n</tool_call>");
    check(Hermes, &call(&tricky()), &[Call("Read", tricky())]);
    let answer = format!("before\n{}\nbetween{}after", call(&json!({})), call(&tricky()));
    let all = [Text("before\n"), Call("Read", json!({})), Text("\nbetween"), Call("Read", tricky()), Text("after")];
    check(Hermes, &answer, &all);
    check(Hermes, "<tool_call> {\n\"name\":\"\\u00dc\\n\" ,\"arguments\" : { } } </tool_call>", &[Call("Ü\n", json!({}))]);
    check(
        Hermes,
        "<tool_call>oops <tool_call>{\"name\": \"X\", \"arguments\": {}}</tool_call>",
        &[Text("<tool_call>oops "), Call("X", json!({}))],
    );
    check(Hermes, "<tool_call>{\"name\": \"X\", \"arguments\": {}, \"id\": 1}", &[Call("X", json!({})), Text(", \"id\": 1}")]);
    check(Hermes, "<tool_call>{\"name\": \"X\", \"arguments\": {\"a\": \"b", &[Cut("X", "{\"a\": \"b")]);
    for broken in [
        "<tool_call>",
        "<tool_call>\n{\"name\": \"X\"",
        "<tool_call>not json</tool_call>",
        "<tool_call>{\"name\": 1, \"arguments\": {}}</tool_call>",
        "<tool_call>{\"name\": \"X\", \"arguments\": [1]}</tool_call>",
        "<tool_call>{\"name\": \"\\q\", \"arguments\": {}}</tool_call>",
        "</tool_call> <tool_cal",
    ] {
        check(Hermes, broken, &[Text(broken)]);
    }
}

#[test]
fn llama3() {
    let call = |input: &Value| format!("{{\"name\": \"Read\", \"parameters\": {input}}}");
    let (whole, empty) = (call(&tricky()), call(&json!({})));
    check(Llama3, &whole, &[Call("Read", tricky())]);
    check(Llama3, &format!("\n{whole}; {empty}\n"), &[Call("Read", tricky()), Call("Read", json!({})), Text("\n")]);
    check(Llama3, &format!("I look.<|python_tag|>{whole}"), &[Text("I look."), Call("Read", tricky())]);
    check(Llama3, "{\"name\":\"X\",\"arguments\":{\"a\":1}}", &[Call("X", json!({"a": 1}))]);
    let typed = format!("{{\"type\": \"function\", {}", &whole[1..]);
    check(Llama3, &typed, &[Call("Read", tricky())]);
    check(Llama3, &format!("<|python_tag|>{typed}"), &[Call("Read", tricky())]);
    let spread = "\n\n{\n  \"type\" :\t\"function\",\n  \"name\": \"X\",\n  \"parameters\": {\n    \"a\": 1\n  }\n}";
    check(Llama3, spread, &[Call("X", json!({"a": 1}))]);
    check(
        Llama3,
        "{ \"name\" : \"X\", \"parameters\": {} } ; { \"name\": \"Y\", \"parameters\": {} }",
        &[Call("X", json!({})), Call("Y", json!({}))],
    );
    check(Llama3, "{\"name\": \"X\", \"parameters\": {\"a\": [", &[Cut("X", "{\"a\": [")]);
    for broken in [
        "{\"name\": \"X\"}",
        "{\"age\": 1}",
        "{ \"type\": \"text\", \"name\": \"X\", \"parameters\": {}}",
        "text {\"name\": \"X\", \"parameters\": {}}",
        "<|python_tag|>search.call(query=\"x\")",
        "{\"na",
        " ; ",
    ] {
        check(Llama3, broken, &[Text(broken)]);
    }
}

#[test]
fn mistral() {
    let call = |input: &Value| format!("{{\"name\": \"Read\", \"arguments\": {input}}}");
    check(Mistral, &format!("[TOOL_CALLS][{}]", call(&tricky())), &[Call("Read", tricky())]);
    let answer = format!("before[TOOL_CALLS] [{}, {} ] after", call(&tricky()), call(&json!({})));
    check(Mistral, &answer, &[Text("before"), Call("Read", tricky()), Call("Read", json!({})), Text(" after")]);
    check(Mistral, "[TOOL_CALLS][{\"name\": \"X\", \"arguments\": {}, \"id\": \"abc123def\"}]", &[Call("X", json!({}))]);
    check(Mistral, "[TOOL_CALLS][{\"name\": \"X\", \"arguments\": \"{\\\"a\\\": 1}\"}]", &[Call("X", json!({"a": 1}))]);
    check(
        Mistral,
        &format!("[TOOL_CALLS]Read{}[TOOL_CALLS]X[ARGS]{{}}", tricky()),
        &[Call("Read", tricky()), Call("X", json!({}))],
    );
    check(Mistral, "[TOOL_CALLS]X[CALL_ID]abc[ARGS]{\"a\": 1}", &[Call("X", json!({"a": 1}))]);
    check(Mistral, "[TOOL_CALLS]X[ARGS]{\"a\": 1", &[Cut("X", "{\"a\": 1")]);
    check(Mistral, "[TOOL_CALLS][{\"name\": \"X\", \"arguments\": {}}, oops", &[Call("X", json!({})), Text(" oops")]);
    for broken in
        ["[TOOL_CALLS]", "[TOOL_CALLS][]", "[TOOL_CALLS][{\"name\": 1}]", "[TOOL_CALLS]name\n", "[TOOL_", "[TOOL_CALLS]X[BAD]{}"]
    {
        check(Mistral, broken, &[Text(broken)]);
    }
}

#[test]
fn deepseek() {
    let (open, close) = ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>");
    let v3 = |input: &Value| format!("<｜tool▁call▁begin｜>function<｜tool▁sep｜>Read\n```json\n{input}\n```<｜tool▁call▁end｜>");
    let v31 = |input: &Value| format!("<｜tool▁call▁begin｜>Read<｜tool▁sep｜>{input}<｜tool▁call▁end｜>");
    check(DeepSeek, &format!("{open}{}{close}", v3(&tricky())), &[Call("Read", tricky())]);
    check(DeepSeek, &format!("{open}{}{close}", v31(&tricky())), &[Call("Read", tricky())]);
    let answer = format!("before{open}{}\n{}{close}after", v3(&tricky()), v3(&json!({})));
    check(DeepSeek, &answer, &[Text("before"), Call("Read", tricky()), Call("Read", json!({})), Text("after")]);
    let answer = format!("{open}{}{}{close}", v31(&json!({})), v31(&tricky()));
    check(DeepSeek, &answer, &[Call("Read", json!({})), Call("Read", tricky())]);
    check(DeepSeek, &format!("{open}<｜tool▁call▁begin｜>X<｜tool▁sep｜>{{\"a\": \"b"), &[Cut("X", "{\"a\": \"b")]);
    check(DeepSeek, &format!("{open}{}", v3(&tricky())), &[Call("Read", tricky())]);
    check(DeepSeek, &format!("{open}{}\nDone.", v3(&tricky())), &[Call("Read", tricky()), Text("\nDone.")]);
    for broken in [
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁begin｜>text",
        "<｜tool▁call▁begin｜>X",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>X<｜tool▁sep｜>[1]",
    ] {
        check(DeepSeek, broken, &[Text(broken)]);
    }
}

#[test]
fn harmony() {
    let call = |input: &Value| format!(" to=functions.Read<|channel|>commentary json<|message|>{input}");
    let liked = |input: &Value| format!("<|channel|>commentary to=functions.Read <|constrain|>json<|message|>{input}");
    check(Harmony, &call(&tricky()), &[Call("Read", tricky())]);
    check(Harmony, &liked(&tricky()), &[Call("Read", tricky())]);
    let two = format!("{}{}", liked(&json!({})), call(&tricky()));
    check(Harmony, &two, &[Call("Read", json!({})), Call("Read", tricky())]);
    check(Harmony, "<|channel|>analysis to=functions.X code<|message|> {\"a\": 1}", &[Call("X", json!({"a": 1}))]);
    check(Harmony, "<|channel|>commentary to=functions.X<|message|>{\"a\": \"b", &[Cut("X", "{\"a\": \"b")]);
    for broken in [
        " to=functions",
        " to=functions.<|message|>{}",
        " to=functions.Read {\"a\": 1}",
        " to=functions.Read<|channel|>commentary json<|message|>text",
        "<|channel|>commentary to=functions.Read <|constrain|>json",
        "<|channel|>commentary<|message|>{}",
        " to=python<|message|>{}",
    ] {
        check(Harmony, broken, &[Text(broken)]);
    }
}

#[test]
fn openai() {
    let call = |input: &Value| {
        format!("{{\"id\": \"c1\", \"type\": \"function\", \"function\": {{\"name\": \"Read\", \"arguments\": {input}}}}}")
    };
    let quoted = json!(tricky().to_string());
    check(OpenAi, &format!("{{\"tool_calls\": [{}]}}", call(&quoted)), &[Call("Read", tricky())]);
    let answer = format!("\n{{\"tool_calls\":[{}, {}]}}after", call(&tricky()), call(&json!("{}")));
    check(OpenAi, &answer, &[Call("Read", tricky()), Call("Read", json!({})), Text("after")]);
    check(
        OpenAi,
        "{\"tool_calls\": [{\"function\": {\"name\": \"X\", \"arguments\": {}}, \"id\": \"a\"}]}",
        &[Call("X", json!({}))],
    );
    check(OpenAi, "{\"function_call\": {\"name\": \"X\", \"arguments\": \"{\\\"a\\\": 1}\"}}", &[Call("X", json!({"a": 1}))]);
    check(OpenAi, "{\"function_call\": {\"name\": \"X\", \"arguments\": \"{\\\"a\\\": ", &[Cut("X", "{\"a\": ")]);
    for broken in [
        "{\"tool_calls\": []}",
        "{\"tool_calls\": [{\"name\": \"X\"}]}",
        "text {\"tool_calls\": [",
        "{\"function_call\": {\"name\"",
        "{\"a\": 1}",
    ] {
        check(OpenAi, broken, &[Text(broken)]);
    }
}
