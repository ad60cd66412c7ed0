//! One table of cases for each format: what a model writes, and what is read in it, however it comes.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::ToolFormatName::{self, DeepSeek, Glm, Hermes, Llama3, Mistral, OpenAi, Qwen3Coder};
use crate::engine::decode::logprob_trail::Placed;
use crate::engine::decode::parser::Parser;
use crate::engine::decode::{Piece, joined};
use crate::engine::text::{ChatTemplate, Tokenizer, tiny_model};
use crate::wire::Tool;

const FORMATS: [ToolFormatName; 7] = [Hermes, Qwen3Coder, Llama3, Mistral, DeepSeek, Glm, OpenAi];

/// What is read, in short: a text, a call with its arguments, or arguments that were cut short.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(&'static str),
    Call(&'static str, Value),
    Cut(&'static str, &'static str),
}
use Seen::{Call, Cut, Text};

fn tools() -> Vec<Tool> {
    let properties =
        json!({"path": {"type": "string"}, "text": {"type": "string"}, "lines": {"type": "array"}, "all": {"type": "boolean"}});
    let tool = json!({"name": "Read", "input_schema": {"type": "object", "properties": properties}});
    vec![serde_json::from_value(tool).unwrap()]
}

fn parse(format: ToolFormatName, chunks: &[&str]) -> Vec<Piece> {
    let mut parser = Parser::new(format.format(), tools().into());
    let mut pieces: Vec<Placed> = chunks.iter().flat_map(|chunk| parser.push(chunk)).collect();
    pieces.extend(parser.finish());
    joined(pieces.into_iter().map(|placed| placed.piece))
}

fn check(format: ToolFormatName, answer: &str, expected: &[Seen]) {
    let whole = parse(format, &[answer]);
    let mut pieces = whole.clone().into_iter().peekable();
    let mut seen = Vec::new();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Text(text) => seen.push(Text(text.leak())),
            Piece::ToolStart { name } => {
                let input = pieces.next_if(|piece| matches!(piece, Piece::ToolInput(_)));
                let Some(Piece::ToolInput(input)) = input else { panic!("{format:?} {answer}: no input") };
                let ended = pieces.next_if_eq(&Piece::ToolEnd).is_some();
                seen.push(match ended {
                    true => Call(name.leak(), serde_json::from_str(&input).unwrap_or_else(|e| panic!("{answer}: {e}: {input}"))),
                    false => Cut(name.leak(), input.leak()),
                });
            }
            other => panic!("{format:?} {answer}: {other:?} outside a call"),
        }
    }
    assert_eq!(seen, expected, "{format:?}: {answer}");
    let characters: Vec<String> = answer.chars().map(String::from).collect();
    assert_eq!(parse(format, &characters.iter().map(String::as_str).collect::<Vec<_>>()), whole, "{answer}: one by one");
    for (at, _) in answer.char_indices() {
        assert_eq!(parse(format, &[&answer[..at], &answer[at..]]), whole, "{answer}: split at {at}");
    }
}

/// Arguments with everything that needs care.
fn tricky() -> Value {
    json!({"path": "a \"b\" \\ {é🙂}\n</tool_call>", "lines": [1, {"from": 2.5, "to": null}], "all": true})
}

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
fn qwen3_coder() {
    let call = "<tool_call>\n<function=Read>\n<parameter=path>\na \"b\" \\ {é🙂}\n\n  <x> </para\n</parameter>\n\
                <parameter=lines>\n[1, {\"from\": 2.5}]\n</parameter>\n<parameter=all>\nTrue\n</parameter>\n</function>\n</tool_call>";
    let input = json!({"path": "a \"b\" \\ {é🙂}\n\n  <x> </para", "lines": [1, {"from": 2.5}], "all": true});
    check(Qwen3Coder, call, &[Call("Read", input.clone())]);
    let bare = call.strip_prefix("<tool_call>\n").unwrap();
    let answer = format!("before\n{call}\n{bare}after").leak();
    check(Qwen3Coder, answer, &[Text("before\n"), Call("Read", input.clone()), Text("\n"), Call("Read", input), Text("after")]);
    check(Qwen3Coder, "<function=X></function>", &[Call("X", json!({}))]);
    check(
        Qwen3Coder,
        "<function=X>\n<parameter=a>12</parameter><parameter=b>\nnot json\n</parameter></function> after",
        &[Call("X", json!({"a": 12, "b": "not json"})), Text(" after")],
    );
    check(
        Qwen3Coder,
        "<function=Read><parameter=path>\n12\n</parameter>\n oops",
        &[Call("Read", json!({"path": "12"})), Text("\n oops")],
    );
    check(Qwen3Coder, "<function=Read><parameter=path>\nab", &[Cut("Read", "{\"path\": \"ab")]);
    check(
        Qwen3Coder,
        "<function=Read>\n<parameter=path>\n<parameter=text>\n\n<parameter=lines>\n[1]\n<parameter=all>\ntrue\n</parameter>\n</function>",
        &[Call("Read", json!({"path": "<parameter=text>\n", "lines": [1], "all": true}))],
    );
    check(
        Qwen3Coder,
        "<function=Read>\n<parameter=text>\na <parameter=all>\n<parameter=path>\n<parameter=other>\n</parameter>\n</function>",
        &[Call("Read", json!({"text": "a <parameter=all>\n<parameter=path>\n<parameter=other>"}))],
    );
    for broken in
        ["<tool_call>\n{\"name\": \"X\"}", "<function=a<b>", "<function=>", "<tool_call>\n<function=Re", "<function=a\nb>"]
    {
        check(Qwen3Coder, broken, &[Text(broken)]);
    }
}

#[test]
fn glm() {
    let call = "<tool_call>Read\n<arg_key>path</arg_key>\n<arg_value>a \"b\" \\ {é🙂}\n\n  <x> </arg\n</arg_value>\n\
                <arg_key>lines</arg_key>\n<arg_value>[1, {\"from\": 2.5}]</arg_value>\n\
                <arg_key>all</arg_key>\n<arg_value>true</arg_value>\n</tool_call>";
    let input = json!({"path": "a \"b\" \\ {é🙂}\n\n  <x> </arg\n", "lines": [1, {"from": 2.5}], "all": true});
    check(Glm, call, &[Call("Read", input.clone())]);
    let tight = "<tool_call>Read<arg_key>path</arg_key><arg_value>12</arg_value></tool_call>";
    let two = [Text("before\n"), Call("Read", json!({"path": "12"})), Call("Read", json!({"path": "12"})), Text("after")];
    check(Glm, format!("before\n{tight}{tight}after").leak(), &two);
    check(Glm, "<tool_call>X\n</tool_call>", &[Call("X", json!({}))]);
    // A string of JSON may contain what closes a value.
    check(
        Glm,
        "<tool_call>Read\n<arg_key>lines</arg_key>\n<arg_value>[\"a</arg_value>\\\"\", 1]</arg_value>\n</tool_call>",
        &[Call("Read", json!({"lines": ["a</arg_value>\"", 1]}))],
    );
    // Without the tool's schema what reads as JSON is JSON; a forgotten tag before the value is no matter.
    check(
        Glm,
        "<tool_call>X\n<arg_key>a</arg_key>12</arg_value><arg_key> b </arg_key>\n<arg_value>not json</arg_value>\n</tool_call>",
        &[Call("X", json!({"a": 12, "b": "not json"}))],
    );
    check(Glm, "<tool_call>Read\n<arg_key>path</arg_key>\n<arg_value>ab", &[Cut("Read", "{\"path\": \"ab")]);
    for broken in [
        "<tool_call>\n{\"name\": \"X\"}",
        "<tool_call>Read",
        "<tool_call>I would call it</tool_call>",
        "<tool_call>\n</tool_call>",
    ] {
        check(Glm, broken, &[Text(broken)]);
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

#[test]
fn the_format_is_the_one_in_which_the_template_writes_calls() {
    let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
    let templates = ChatTemplate::fixtures().into_iter().map(|name| (ChatTemplate::fixture(&name, &tokenizer), name));
    let own = (ChatTemplate::load(&tiny_model(), &tokenizer).unwrap(), "the model's own".to_owned());
    let formats = templates.chain([own]).map(|(template, name)| {
        let written = ToolFormatName::written_by(&template, &tokenizer);
        format!("{name}: {}", written.map_or("none", ToolFormatName::name))
    });
    insta::assert_snapshot!(formats.collect::<Vec<_>>().join("\n"), @r"
    calls-as-json: hermes
    calls-in-a-list: mistral
    calls-in-other-tags: none
    calls-in-sections: deepseek
    calls-where-content-is-none: deepseek
    calls-with-a-type: llama3
    calls-with-ids-before-arguments: mistral
    described-tools: hermes
    generation-blocks: hermes
    keys-and-values-in-tags: glm
    names-and-arguments: mistral
    no-system-and-no-tools: none
    one-call-a-turn: llama3
    parameters-in-tags: qwen3-coder
    the model's own: hermes
    ");
}

/// Pieces of answers in all formats, whole and broken.
fn answers() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "<tool_call>",
        "\n",
        "{\"name\":",
        " \"X\", \"arguments\": ",
        " \"X\", \"parameters\": ",
        "{\"a\": \"}\\\"é\", \"b\": [1]}",
        "}",
        "</tool_call>",
        "<tool_",
        "<function=Read>",
        "<parameter=path>",
        "<parameter=all>",
        "\n<parameter=text>",
        "</parameter>",
        "</function>",
        "<tool_call>Read",
        "<arg_key>path</arg_key>",
        "<arg_key>all",
        "<arg_value>",
        "</arg_value>",
        "<|python_tag|>",
        ";",
        "[TOOL_CALLS]",
        "[",
        "]",
        ", ",
        "X",
        "[ARGS]",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "function<｜tool▁sep｜>",
        "```json",
        "```",
        "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁end｜>",
        "{\"tool_calls\":",
        "{\"function\": ",
        "{\"function_call\":",
        "\"{}\"",
        "true",
        "é",
    ]);
    prop::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_pieces_and_nothing_but_markup_is_lost(answer in answers(), cuts in prop::collection::vec(1usize..5, 0..60)) {
        for format in FORMATS {
            let whole = parse(format, &[&answer]);
            let mut rest: Vec<char> = answer.chars().collect();
            let mut chunks: Vec<String> = Vec::new();
            for cut in &cuts {
                let after = rest.split_off((*cut).min(rest.len()));
                chunks.push(rest.into_iter().collect());
                rest = after;
            }
            chunks.push(rest.into_iter().collect());
            prop_assert_eq!(&parse(format, &chunks.iter().map(String::as_str).collect::<Vec<_>>()), &whole, "{:?}", format);
            let given: usize = whole.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
            let has_call = whole.iter().any(|piece| matches!(piece, Piece::ToolStart { .. }));
            prop_assert!(has_call || given == answer.len(), "{:?}: {:?}", format, whole);
        }
    }
}
