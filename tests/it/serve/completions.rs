//! `POST /v1/completions`: a text is continued as it is.

use serde_json::{Value, json};

use crate::support::http::post;
use crate::support::scripted::{Scripted, answer};

#[cfg(feature = "mlx")]
#[test]
fn the_model_is_given_the_text_and_nothing_else() {
    let server = crate::support::serving::Serving::start(crate::support::MODEL, &[]);
    let report = crate::support::clients::sdk("completions.py", &server.url);
    // The text is the rendered prompt of this request, so both have the same tokens and the same answer.
    let hello = json!({"model": "m", "max_tokens": 40, "temperature": 0, "messages": [{"role": "user", "content": "Hello"}]});
    let message = post(&format!("{}/v1/messages", server.url), &hello).succeeds().json();
    let count = |field: &str| message["usage"][field].as_u64().unwrap_or(0);
    let prompt = count("input_tokens") + count("cache_read_input_tokens") + count("cache_creation_input_tokens");
    for way in ["whole", "streamed"] {
        let completion = &report[way];
        assert_eq!(completion["text"], message["content"][0]["text"], "{report}");
        assert!(!completion["text"].as_str().unwrap().is_empty(), "{report}");
        let reason = if message["stop_reason"] == "max_tokens" { "length" } else { "stop" };
        assert_eq!(completion["reason"], reason, "{report}");
        let usage = &completion["usage"];
        assert_eq!(usage["prompt_tokens"], prompt, "{report}");
        assert_eq!(usage["completion_tokens"], message["usage"]["output_tokens"], "{report}");
    }
    assert_eq!(report["error"], "echo: not supported on /v1/completions");

    let url = format!("{}/v1/completions", server.url);
    let cut = post(&url, &json!({"prompt": "It ", "max_tokens": 3, "temperature": 0})).succeeds().json();
    assert_eq!((&cut["choices"][0]["finish_reason"], &cut["usage"]["completion_tokens"]), (&json!("length"), &json!(3)));
}

#[test]
fn what_cannot_be_done_is_refused_in_openais_words() {
    let server = Scripted::new(|_| Ok(answer(&[]))).serve();
    let refusal = |body: Value| {
        let reply = post(&format!("{}/v1/completions", server.url), &body);
        let error = &reply.json()["error"];
        format!("{} {}: {}\n", reply.status, error["param"], error["message"].as_str().unwrap())
    };
    let refusals = [
        refusal(json!({})),
        refusal(json!({"prompt": 7})),
        refusal(json!({"prompt": ["a", "b"]})),
        refusal(json!({"prompt": "a", "suffix": "b"})),
        refusal(json!({"prompt": "a"})),
        refusal(json!({"prompt": "a", "stream": true})),
    ];
    insta::assert_snapshot!(refusals.concat(), @r#"
    400 "prompt": prompt: Field required
    400 "prompt": prompt: Input should be a valid string
    400 "prompt": prompt: one text is expected; several texts and tokens are not supported
    400 "suffix": suffix: not supported on /v1/completions
    400 null: scripted answers conversations only: use /v1/chat/completions
    400 null: scripted answers conversations only: use /v1/chat/completions
    "#);
    assert!(server.backend.requests.all().is_empty());
}
