//! How sure a model on a server elsewhere is of its calls: from the log-probabilities of chat completions.

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::support::demo::write_trace;
use crate::support::faulty_backend::{Answer, Asked, start, start_beside};
use crate::support::sandbox::Sandbox;

/// A server whose model prefers `a.txt` to another file by this much.
fn sure_by(margin: f64) -> String {
    let token = |text: &str, margin: f64| {
        let top = json!([{"token": text, "logprob": -0.1}, {"token": "b.txt", "logprob": -0.1 - margin}]);
        json!({"token": text, "logprob": -0.1, "top_logprobs": top})
    };
    let tokens = json!([
        token("{\"name\": \"Read\", \"arguments\": {\"file_path\": \"/project/", 9.0),
        token("a.txt", margin),
        token("\", \"limit\": 5}}", 9.0),
        token("{\"name\": \"Bash\", \"arguments\": {\"command\": \"ls -l\"}}", 8.0),
    ]);
    let call = |name: &str, input: Value| json!({"function": {"name": name, "arguments": input.to_string()}});
    let calls = [call("Read", json!({"file_path": "/project/a.txt", "limit": 5})), call("Bash", json!({"command": "ls -l"}))];
    let completion = json!({"choices": [{"message": {"tool_calls": calls}, "logprobs": {"content": tokens}}]});
    let answer = async move |Json(asked): Json<Value>| {
        assert_eq!((&asked["logprobs"], &asked["stream"]), (&json!(true), &json!(false)), "{asked}");
        Json(completion.clone())
    };
    start_beside(Router::new().route("/v1/chat/completions", post(answer)), |_, _| {})
}

/// One trace whose outcome was accepted.
fn accepted() -> Sandbox {
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    sandbox.run(&["replay", "--backend", &start(|_, _| {}), "--update"]).exits(0);
    sandbox
}

#[test]
fn a_drop_of_a_margin_on_a_chat_server_fails_where_it_is_too_large() {
    let sandbox = accepted();
    let replay = |margin: f64, more: &[&str]| {
        let usual = ["replay", "--check", "--phases", "cold", "--backend"];
        sandbox.run(&[&usual[..], &[&sure_by(margin)], more].concat())
    };
    replay(2.0, &["--margins", "--json", "before.json"]).exits(0);
    let before: Value = serde_json::from_str(&sandbox.read("before.json")).unwrap();
    let least = &before["cases"][0]["margins"]["calls"][0]["least"];
    assert_eq!(
        (&least["argument"], &least["text"], &least["runner_up"]),
        (&json!("file_path"), &json!("a.txt"), &json!("b.txt"))
    );
    let compare = ["--baseline", "before.json", "--max-drop", "0.5"];
    replay(1.8, &compare).exits(0);
    let fallen = replay(0.3, &compare).exits(4);
    assert!(fallen.stdout.contains("less-sure demo/001  Read file_path, token 2"), "{}", fallen.stdout);
}

#[test]
fn where_a_server_has_no_log_probabilities_margins_are_refused() {
    let sandbox = accepted();
    let url = start(|_: Asked, _: &mut Answer| {});
    let refused = sandbox.run(&["replay", "--backend", &url, "--check", "--margins"]);
    insta::assert_snapshot!(refused.refusal(), @"exit 2: error: --margins: this backend gives no log-probabilities; the engine in this process does, and servers that answer chat completions with `logprobs`, given as a plain URL");
}
