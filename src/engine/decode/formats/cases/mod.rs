//! One table of cases for each format: what a model writes, and what is read in it, however it comes.

mod in_json;
mod in_marks;
mod in_tags;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::ToolFormatName;
use crate::engine::decode::logprob_trail::Placed;
use crate::engine::decode::parser::Parser;
use crate::engine::decode::{Piece, joined};
use crate::engine::text::{ChatTemplate, Tokenizer, tiny_model};
use crate::wire::Tool;

const FORMATS: [ToolFormatName; 10] = ToolFormatName::ALL;

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
    calls-in-marks: gemma
    calls-in-marks-in-one-turn: gemma
    calls-in-other-tags: none
    calls-in-sections: deepseek
    calls-where-content-is-none: deepseek
    calls-with-a-type: llama3
    calls-with-ids-before-arguments: mistral
    described-tools: hermes
    generation-blocks: hermes
    invocations-in-tags: minimax
    keys-and-values-in-tags: glm
    messages-in-channels: harmony
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
        "<|tool_call>call:Read{",
        "path:<|\"|>",
        "<|\"|>",
        ",all:",
        "}<tool_call|>",
        "<minimax:tool_call>",
        "<invoke name=\"Read\">",
        "<parameter name=\"path\">",
        "</invoke>",
        "</minimax:tool_call>",
        " to=functions",
        "<|channel|>commentary",
        ".Read<|message|>",
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
