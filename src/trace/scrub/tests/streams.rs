//! Streams of every protocol: what they spell in pieces becomes what it would be in one piece.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::Turns::{self, Filler, Kept};
use super::planted::MARKER;
use super::{event, opening, scrub};
use crate::trace::pieces::pieces_in;
use crate::trace::{Draft, ExchangeOutcome, Trace};

fn streamed(path: &str, body: Value, events: impl IntoIterator<Item = Value>) -> Trace {
    let mut draft = Draft::new(opening(path, json!({}), body));
    draft.respond(200, Map::new());
    events.into_iter().for_each(|data| draft.push(event(data)));
    draft.to_trace(ExchangeOutcome::Complete, None)
}

fn pieces(text: &str, size: usize) -> Vec<String> {
    text.chars().collect::<Vec<_>>().chunks(size).map(String::from_iter).collect()
}

/// What an answer says, thinks and calls with.
#[derive(Clone, Debug)]
struct Said {
    text: String,
    reasoning: String,
    arguments: String,
}

/// A chat completion in pieces of `size` characters, and what its pieces add up to once it is scrubbed.
fn chat(said: &Said, size: usize, turns: Turns) -> [String; 3] {
    let chunk = |delta: Value| json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    let call = |piece: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]});
    let texts = pieces(&said.text, size).into_iter().map(|piece| json!({"role": "assistant", "content": piece}));
    let reasoning = pieces(&said.reasoning, size).into_iter().map(|piece| json!({"reasoning_content": piece, "content": null}));
    let name = [json!({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "Read", "arguments": ""}}]})];
    let arguments = pieces(&said.arguments, size).into_iter().map(|piece| call(&piece));
    let deltas: Vec<Value> = reasoning.chain(texts).chain(name).chain(arguments).collect();
    let scrubbed = scrub(streamed("/v1/chat/completions", json!({}), deltas.into_iter().map(chunk)), turns);
    let (mut text, mut thought, mut called) = (String::new(), String::new(), String::new());
    for recorded in &scrubbed.response.events {
        let delta = &recorded.data["choices"][0]["delta"];
        text += delta["content"].as_str().unwrap_or_default();
        thought += delta["reasoning_content"].as_str().unwrap_or_default();
        called += delta["tool_calls"][0]["function"]["arguments"].as_str().unwrap_or_default();
    }
    [text, thought, called]
}

/// The same answer of the Responses API: what its pieces add up to, then what each later event says that the whole was.
fn response(said: &Said, size: usize, turns: Turns) -> Vec<[String; 3]> {
    let spelled = |kind: &str, output: u64, whole: &str| -> Vec<Value> {
        let pieces = pieces(whole, size).into_iter();
        pieces
            .map(
                |piece| json!({"type": format!("response.{kind}.delta"), "item_id": "x", "output_index": output, "delta": piece}),
            )
            .collect()
    };
    let items = json!([
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": said.reasoning}]},
        {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": said.text, "annotations": []}]},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "Read", "arguments": said.arguments},
    ]);
    let mut events = spelled("reasoning_summary_text", 0, &said.reasoning);
    events.extend(spelled("output_text", 1, &said.text));
    events.extend(spelled("function_call_arguments", 2, &said.arguments));
    let wholes = events.len();
    events.extend([
        json!({"type": "response.reasoning_summary_text.done", "output_index": 0, "summary_index": 0, "text": said.reasoning}),
        json!({"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": said.text}),
        json!({"type": "response.function_call_arguments.done", "output_index": 2, "name": "Read", "arguments": said.arguments}),
        json!({"type": "response.content_part.done", "output_index": 1, "part": items[1]["content"][0]}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": items[2]}),
        json!({"type": "response.completed", "response": {"object": "response", "status": "completed", "output": items}}),
    ]);
    let scrubbed = scrub(streamed("/v1/responses", json!({}), events), turns);
    let data: Vec<&Value> = scrubbed.response.events.iter().map(|recorded| &recorded.data).collect();
    let joined = |kind: &str| {
        let pieces = data[..wholes].iter().filter(|data| data["type"] == format!("response.{kind}.delta"));
        pieces.map(|data| data["delta"].as_str().unwrap()).collect::<String>()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let done = &data[wholes..];
    let output = &done[5]["response"]["output"];
    assert_eq!(
        (&done[2]["name"], &done[4]["item"]["name"], &output[2]["name"]),
        (&json!("Read"), &json!("Read"), &json!("Read"))
    );
    vec![
        [joined("output_text"), joined("reasoning_summary_text"), joined("function_call_arguments")],
        [text(&done[1]["text"]), text(&done[0]["text"]), text(&done[2]["arguments"])],
        [text(&done[3]["part"]["text"]), text(&output[0]["summary"][0]["text"]), text(&done[4]["item"]["arguments"])],
        [text(&output[1]["content"][0]["text"]), text(&output[0]["summary"][0]["text"]), text(&output[2]["arguments"])],
    ]
}

#[test]
fn no_word_stays_because_it_was_cut() {
    let said = Said {
        text: "zyqwex is at /home/zyqwex/zyqwex".into(),
        reasoning: "Of zyqwex".into(),
        arguments: "{\"file_path\": \"/home/zyqwex/a.txt\"}".into(),
    };
    for (turns, size) in [Filler, Kept].into_iter().flat_map(|turns| (1..40).map(move |size| (turns, size))) {
        for spelled in response(&said, size, turns).into_iter().chain([chat(&said, size, turns)]) {
            assert!(!spelled.concat().contains(MARKER), "{spelled:?}");
        }
    }
    assert_eq!(chat(&said, 5, Kept)[2], "{\"file_path\":\"/home/user/a.txt\"}", "the arguments stay but for the home folder");
}

#[test]
fn calls_and_alternatives_that_alternate_are_told_apart() {
    let call = |call: u64, piece: &str| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": call, "function": {"arguments": piece}}]}}]});
    let choice = |choice: u64, piece: &str| json!({"choices": [{"index": choice, "delta": {"content": piece}}]});
    let events = [
        call(0, "{\"a\": \"zyq"),
        call(1, "{\"b\": \"ot"),
        call(0, "wex\"}"),
        call(1, "her\"}"),
        choice(0, "zyq"),
        choice(1, "ri"),
        choice(0, "wex"),
        choice(1, "dge"),
    ];
    let scrubbed = scrub(streamed("/v1/chat/completions", json!({}), events), Kept);
    let spelled: Vec<String> =
        scrubbed.response.events.into_iter().map(|mut recorded| pieces_in(&mut recorded.data).remove(0).text.clone()).collect();
    assert_eq!(spelled[..4], ["{\"a\": \"zyq", "{\"b\": \"ot", "wex\"}", "her\"}"]);
    assert_eq!([spelled[4].clone() + &spelled[6], spelled[5].clone() + &spelled[7]], ["honest", "ridge"]);
}

/// What stays of a request to the Responses API.
fn request(input: Value, turns: Turns) -> Value {
    let body = json!({"model": "gpt-x", "instructions": "zyqwex", "input": input, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "zyqwex"});
    let scrubbed = scrub(streamed("/v1/responses", body, []), turns).request.body;
    assert_eq!((&scrubbed["instructions"], &scrubbed["include"]), (&json!("honest"), &json!(["reasoning.encrypted_content"])));
    scrubbed["input"].clone()
}

#[test]
fn the_input_of_a_response_is_what_the_user_says() {
    let text = json!("Read zyqwex at /home/ada, please");
    assert_eq!(request(text.clone(), Kept), "Read zyqwex at /home/user, please");
    assert!(!request(text, Filler).to_string().contains(MARKER));
    let items = json!([
        {"role": "developer", "content": "zyqwex"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "zyqwex"}]},
        {"role": "user", "content": "zyqwex"},
        {"type": "function_call", "call_id": "call_1", "name": "Read", "arguments": "{\"path\":\"zyqwex\"}"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "zyqwex"},
        {"type": "function_call_output", "call_id": "call_1", "output": "zyqwex"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "zyqwex"}]},
        "zyqwex",
    ]);
    let kept = request(items.clone(), Kept);
    let kept: Vec<(u64, bool)> =
        (0..).zip(kept.as_array().unwrap().iter().map(|item| item.to_string().contains(MARKER))).collect();
    assert_eq!(kept, [(0, false), (1, true), (2, true), (3, true), (4, true), (5, false), (6, false), (7, false)]);
    let filled = request(items, Filler);
    assert!(!filled.to_string().contains(MARKER) && filled[3]["name"] == "Read", "{filled}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn pieces_become_what_the_whole_becomes(
        text in "([a-zA-Zé日 .,0-9\n]|/home/al|x@y.org){1,30}", reasoning in "[a-zA-Z ]{1,20}", path in "(/root|/home/al|[a-z\"é/]){0,8}", size in 1usize..9
    ) {
        let said = Said { text, reasoning, arguments: json!({"file_path": path, "n": 1.5}).to_string() };
        for turns in [Filler, Kept] {
            let whole = chat(&said, usize::MAX, turns);
            prop_assert_eq!(&chat(&said, size, turns), &whole);
            for spelled in response(&said, size, turns) {
                prop_assert_eq!(&spelled, &whole);
            }
        }
    }
}

#[test]
fn chat_completions_keep_their_form() {
    let body = json!({
        "model": "gpt-x", "messages": [{"role": "user", "content": [{"type": "text", "text": "zyqwex"}, {"type": "image_url", "image_url": {"url": "zyqwex"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "zyqwex"}],
        "tools": [{"type": "function", "function": {"name": "get", "description": "zyqwex", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}, "user": "zyqwex",
    });
    let mut draft = Draft::new(opening("/v1/chat/completions", json!({}), body));
    draft.respond(200, Map::new());
    for data in [
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-x", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "zyqwex"}}]}),
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "get", "arguments": "{\"zyq"}}]}, "finish_reason": null}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 12345}}),
        json!("[DONE]"),
    ] {
        draft.push(event(data));
    }
    let scrubbed = scrub(draft.to_trace(ExchangeOutcome::Complete, None), Filler);
    let text = serde_json::to_string_pretty(&(
        scrubbed.request.body,
        scrubbed.response.events.iter().map(|e| &e.data).collect::<Vec<_>>(),
    ))
    .unwrap();
    assert!(!text.contains(MARKER));
    insta::assert_snapshot!(text, @r#"
    [
      {
        "model": "gpt-x",
        "messages": [
          {
            "role": "user",
            "content": [
              {
                "type": "text",
                "text": "honest"
              },
              {
                "type": "image_url",
                "image_url": {
                  "url": "honest"
                }
              }
            ]
          },
          {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": "honest"
          }
        ],
        "tools": [
          {
            "type": "function",
            "function": {
              "name": "get",
              "description": "honest",
              "parameters": {
                "type": "object",
                "properties": {
                  "a": {
                    "type": "string"
                  }
                }
              }
            }
          }
        ],
        "response_format": {
          "type": "json_schema",
          "json_schema": {
            "name": "answer",
            "schema": {
              "type": "object"
            }
          }
        },
        "user": "scrubbed-8414677888ac7890"
      },
      [
        {
          "id": "chatcmpl-1",
          "object": "chat.completion.chunk",
          "model": "gpt-x",
          "choices": [
            {
              "index": 0,
              "delta": {
                "role": "assistant",
                "content": "honest"
              }
            }
          ]
        },
        {
          "choices": [
            {
              "index": 0,
              "delta": {
                "tool_calls": [
                  {
                    "index": 0,
                    "id": "call_1",
                    "function": {
                      "name": "get",
                      "arguments": "{\"due"
                    }
                  }
                ]
              },
              "finish_reason": null
            }
          ]
        },
        {
          "choices": [
            {
              "index": 0,
              "delta": {},
              "finish_reason": "tool_calls"
            }
          ],
          "usage": {
            "prompt_tokens": 12345
          }
        },
        "[DONE]"
      ]
    ]
    "#);
}
