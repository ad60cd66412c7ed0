//! Forms of calls as the templates of `fixtures` write them.

use serde_json::json;

use super::super::ToolFormatName;
use super::*;
use crate::engine::decode::{AnswerDecoder, AnswerDecoders};
use crate::engine::text::{ChatTemplate, tiny_model};

/// A decoder that has to call, of a conversation without calls.
fn forced(format: Arc<dyn ToolFormat>, tokenizer: &Arc<Tokenizer>) -> AnswerDecoder {
    let schema = json!({"type": "object", "properties": {"tree": {"type": "string"}, "age": {"type": "integer"}},
                        "required": ["tree", "age"], "additionalProperties": false});
    let tools = past_calls().map(|call| json!({"name": call.name, "input_schema": schema}));
    let body = json!({"model": "m", "max_tokens": 1, "messages": [], "tools": tools, "tool_choice": {"type": "any"}});
    let decoders = AnswerDecoders::new(tokenizer.clone(), format).unwrap();
    decoders.start(&serde_json::from_value(body).unwrap(), None).unwrap()
}

/// The text in tokens of one byte, and in those that are markup.
fn bytes(text: &str, tokenizer: &Tokenizer) -> Vec<u32> {
    let single = |byte: u8| (0..tokenizer.vocab_size() as u32).find(|token| tokenizer.bytes(*token) == [byte]).unwrap();
    let tokens = tokenizer.encode(text).unwrap().into_iter().flat_map(|token| match tokenizer.kind(token) {
        TokenKind::Text => tokenizer.bytes(token).iter().map(|byte| single(*byte)).collect(),
        _ => vec![token],
    });
    tokens.collect()
}

#[test]
fn the_grammar_accepts_what_the_template_writes_for_past_calls() {
    let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
    let mut written = Vec::new();
    for name in ChatTemplate::fixtures() {
        let template = ChatTemplate::fixture(&name, &tokenizer);
        let Some(format) = ToolFormatName::written_by(&template, &tokenizer) else { continue };
        let format = format.as_written_by(&template, &tokenizer);
        let (all, texts) = (past_calls(), template.past_calls().unwrap());
        let of = [(Some(&texts.one), &all[..1]), (texts.two.as_ref(), &all[..])];
        for (text, calls) in of {
            // Where calls come one by one, two do not stand in one turn.
            let calls: Vec<_> = calls.iter().collect();
            let Some(found) = text.and_then(|text| RenderedCalls::read(&format, text, &calls)) else { continue };
            let mut decoder = forced(format.clone(), &tokenizer);
            let mut so_far = Vec::new();
            for token in bytes(found.text, &tokenizer) {
                let allowed = decoder.mask().unwrap().is_none_or(|mask| mask.allows(token));
                assert!(allowed, "{name}: {:?} of {:?}", String::from_utf8_lossy(&so_far), found.text);
                decoder.push(token).unwrap();
                so_far.extend_from_slice(tokenizer.bytes(token));
            }
            assert!(decoder.called_tool(), "{name}: {}", found.text);
            written.push(format!("{name}: {}", found.text));
        }
    }
    insta::assert_snapshot!(written.join("\n"), @r#"
    calls-as-json: <tool_call>
    {"name": "fell_tree", "arguments": {"tree": "oak-tree", "age": 31}}
    </tool_call>
    calls-in-a-list: [TOOL_CALLS][{"name": "fell_tree", "arguments": {"tree": "oak-tree", "age": 31}, "id": "call00001"}]
    calls-in-a-list: [TOOL_CALLS][{"name": "fell_tree", "arguments": {"tree": "oak-tree", "age": 31}, "id": "call00001"}, {"name": "plant_tree", "arguments": {"tree": "fir-tree", "age": 32}, "id": "call00002"}]
    calls-in-marks: <|tool_call>call:fell_tree{age:31,tree:<|"|>oak-tree<|"|>}<tool_call|>
    calls-in-marks: <|tool_call>call:fell_tree{age:31,tree:<|"|>oak-tree<|"|>}<tool_call|><|tool_call>call:plant_tree{age:32,tree:<|"|>fir-tree<|"|>}<tool_call|>
    calls-in-marks-in-one-turn: <|tool_call>call:fell_tree{age:31,tree:<|"|>oak-tree<|"|>}<tool_call|>
    calls-in-marks-in-one-turn: <|tool_call>call:fell_tree{age:31,tree:<|"|>oak-tree<|"|>}<tool_call|><|tool_call>call:plant_tree{age:32,tree:<|"|>fir-tree<|"|>}<tool_call|>
    calls-in-sections: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>fell_tree<｜tool▁sep｜>{"tree": "oak-tree", "age": 31}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
    calls-in-sections: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>fell_tree<｜tool▁sep｜>{"tree": "oak-tree", "age": 31}<｜tool▁call▁end｜><｜tool▁call▁begin｜>plant_tree<｜tool▁sep｜>{"tree": "fir-tree", "age": 32}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
    calls-where-content-is-none: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>fell_tree
    ```json
    {"tree": "oak-tree", "age": 31}
    ```<｜tool▁call▁end｜>
    calls-where-content-is-none: <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>fell_tree
    ```json
    {"tree": "oak-tree", "age": 31}
    ```<｜tool▁call▁end｜>
    <｜tool▁call▁begin｜>function<｜tool▁sep｜>plant_tree
    ```json
    {"tree": "fir-tree", "age": 32}
    ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>
    calls-with-a-type: {"type": "function", "name": "fell_tree", "parameters": {"tree": "oak-tree", "age": 31}}
    calls-with-a-type: {"type": "function", "name": "fell_tree", "parameters": {"tree": "oak-tree", "age": 31}}; {"type": "function", "name": "plant_tree", "parameters": {"tree": "fir-tree", "age": 32}}
    calls-with-ids-before-arguments: [TOOL_CALLS]fell_tree[CALL_ID]call00001[ARGS]{"tree": "oak-tree", "age": 31}
    calls-with-ids-before-arguments: [TOOL_CALLS]fell_tree[CALL_ID]call00001[ARGS]{"tree": "oak-tree", "age": 31}[TOOL_CALLS]plant_tree[CALL_ID]call00002[ARGS]{"tree": "fir-tree", "age": 32}
    described-tools: <tool_call>
    {"name": "fell_tree", "arguments": {"tree": "oak-tree", "age": 31}}
    </tool_call>
    generation-blocks: <tool_call>
    {"name": "fell_tree", "arguments": {"tree": "oak-tree", "age": 31}}
    </tool_call>
    invocations-in-tags: <minimax:tool_call>
    <invoke name="fell_tree">
    <parameter name="tree">oak-tree</parameter>
    <parameter name="age">31</parameter>
    </invoke>
    </minimax:tool_call>
    invocations-in-tags: <minimax:tool_call>
    <invoke name="fell_tree">
    <parameter name="tree">oak-tree</parameter>
    <parameter name="age">31</parameter>
    </invoke>
    <invoke name="plant_tree">
    <parameter name="tree">fir-tree</parameter>
    <parameter name="age">32</parameter>
    </invoke>
    </minimax:tool_call>
    keys-and-values-in-tags: <tool_call>fell_tree
    <arg_key>tree</arg_key>
    <arg_value>oak-tree</arg_value>
    <arg_key>age</arg_key>
    <arg_value>31</arg_value>
    </tool_call>
    keys-and-values-in-tags: <tool_call>fell_tree
    <arg_key>tree</arg_key>
    <arg_value>oak-tree</arg_value>
    <arg_key>age</arg_key>
    <arg_value>31</arg_value>
    </tool_call><tool_call>plant_tree
    <arg_key>tree</arg_key>
    <arg_value>fir-tree</arg_value>
    <arg_key>age</arg_key>
    <arg_value>32</arg_value>
    </tool_call>
    messages-in-channels:  to=functions.fell_tree<|channel|>commentary json<|message|>{"tree": "oak-tree", "age": 31}
    names-and-arguments: [TOOL_CALLS]fell_tree[ARGS]{"tree": "oak-tree", "age": 31}
    names-and-arguments: [TOOL_CALLS]fell_tree[ARGS]{"tree": "oak-tree", "age": 31}[TOOL_CALLS]plant_tree[ARGS]{"tree": "fir-tree", "age": 32}
    one-call-a-turn: {"name": "fell_tree", "parameters": {"tree": "oak-tree", "age": 31}}
    parameters-in-tags: <tool_call>
    <function=fell_tree>
    <parameter=tree>
    oak-tree
    </parameter>
    <parameter=age>
    31
    </parameter>
    </function>
    </tool_call>
    "#);
}

#[test]
fn a_name_that_nothing_ends_gets_the_end_of_the_default_form() {
    let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
    let lined = ChatTemplate::fixture("keys-and-values-in-tags", &tokenizer);
    let tight = lined.source().replace("call.name ~ '\\n'", "call.name");
    let template = ChatTemplate::from_source(tight, &tokenizer).unwrap();
    let form = ToolFormatName::Glm.as_written_by(&template, &tokenizer).form(0);
    assert_eq!(form.after_name, [Part::Text("\n".into())]);
}

#[test]
fn a_list_of_calls_is_taken_apart_at_what_differs() {
    let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
    let template = ChatTemplate::fixture("calls-in-a-list", &tokenizer);
    let form = ToolFormatName::Mistral.as_written_by(&template, &tokenizer).form(0);
    let text = |text: &str| Part::Text(text.into());
    let list = ListForm {
        between: vec![Part::Id, text("\"}, {\"name\": "), Part::Name { quoted: true }],
        end: vec![Part::Id, text("\"}]")],
    };
    assert_eq!((form.after, form.list), (vec![text(", \"id\": \"")], Some(list)));
}
