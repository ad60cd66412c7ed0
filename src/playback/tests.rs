//! Recordings as they answer.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::backend::{Backend, BackendError, EventStream};
use crate::trace::Trace;
use crate::trace::redact::Redactor;
use crate::wire::{Assembler, CountTokensRequest, Message, MessagesRequest};

fn asks(text: &str) -> Value {
    json!({"model": "m", "max_tokens": 100, "stream": true, "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": text}]})
}

fn says(text: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": null,
        "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 9, "output_tokens": 3}})
}

fn trace(seq: u32, request: Value, more: &[(&str, Value)]) -> (PathBuf, Trace) {
    let mut trace = json!({
        "version": 1, "id": "x", "session": "demo", "seq": seq, "client": "c", "mode": "anthropic", "outcome": "complete",
        "recorded_at": "2026-01-01T00:00:00Z", "timing": {"ttft_us": null, "e2e_us": null, "itl_us": null},
        "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": request},
        "response": {"status": 200, "headers": {}, "events": [], "body": says("first")},
    });
    for (pointer, value) in more {
        *trace.pointer_mut(pointer).unwrap() = value.clone();
    }
    (PathBuf::from(format!("traces/demo/{seq:04}.json")), serde_json::from_value(trace).unwrap())
}

fn playback(traces: Vec<(PathBuf, Trace)>, speed: Speed) -> Playback {
    Playback::of(traces, Redactor::default(), speed).unwrap()
}

fn request(body: Value) -> MessagesRequest {
    serde_json::from_value(body).unwrap()
}

async fn message(playback: &Playback, body: Value) -> Result<Message, BackendError> {
    let mut events = playback.messages(request(body)).await?;
    let mut assembler = Assembler::default();
    while let Some(event) = events.next().await {
        assembler.push(&event?).unwrap();
    }
    Ok(assembler.finish().unwrap())
}

/// An answer of which only the whole is recorded comes as events that make it again.
#[tokio::test]
async fn an_answer_without_events_is_whole_again() {
    let content = json!([
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "Reading."},
        {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "a", "limit": 2}},
        {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "q"}},
    ]);
    let mut body = says("");
    (body["content"], body["stop_reason"]) = (content, json!("tool_use"));
    let playback = playback(vec![trace(1, asks("hi"), &[("/response/body", body.clone())])], Speed::Max);
    let answered = message(&playback, asks("hi")).await.unwrap();
    assert_eq!(answered, serde_json::from_value(body).unwrap());
}

#[tokio::test]
async fn several_answers_to_one_request_come_in_their_order() {
    let traces = ["first", "second"].iter().zip(1..);
    let traces = traces.map(|(text, seq)| trace(seq, asks("hi"), &[("/response/body", says(text))])).collect();
    let playback = playback(traces, Speed::Max);
    for expected in ["first", "second", "second"] {
        assert_eq!(serde_json::to_value(message(&playback, asks("hi")).await.unwrap()).unwrap(), says(expected));
    }
    assert_eq!((playback.answered(), playback.misses().total()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn events_come_when_they_came() {
    let event = |at_us: u64, data: Value| json!({"at_us": at_us, "event": data["type"], "data": data});
    let start = json!({"type": "message_start", "message": says("")});
    let events = json!([
        event(2_000_000, start),
        event(5_000_000, json!({"type": "ping"})),
        event(20_000_000, json!({"type": "message_stop"}))
    ]);
    for (speed, expected) in [("1", [2, 5, 20]), ("0.5", [4, 10, 40]), ("max", [0, 0, 0])] {
        let playback = playback(vec![trace(1, asks("hi"), &[("/response/events", events.clone())])], speed.parse().unwrap());
        let asked = Instant::now();
        let mut events = playback.messages(request(asks("hi"))).await.unwrap();
        for second in expected {
            events.next().await.unwrap().unwrap();
            // Tokio's clock goes by milliseconds.
            assert_eq!((asked.elapsed() + Duration::from_millis(1)).as_secs(), second, "{speed}");
        }
    }
    for wrong in ["", "0", "inf", "-1", "fast"] {
        assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_recorded_error_is_the_answer() {
    let body = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let failed = [("/response/status", json!(529)), ("/response/body", body), ("/response/headers", json!({"retry-after": "7"}))];
    let playback = playback(vec![trace(1, asks("hi"), &failed)], Speed::Max);
    let error = message(&playback, asks("hi")).await.unwrap_err();
    let BackendError::Answered { status, body, retry_after } = error else { panic!("{error}") };
    assert_eq!((status, body.error.message.as_str(), retry_after.as_deref()), (529, "busy", Some("7")));
    assert_eq!(playback.misses().total(), 0);
}

#[tokio::test]
async fn a_miss_names_the_nearest_recording_and_where_it_differs() {
    let mut long = asks("Please read the file hello.txt");
    long["system"] = json!("Be brief.");
    let other = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a title, please"}]});
    let playback = playback(vec![trace(1, other, &[]), trace(2, long.clone(), &[])], Speed::Max);
    let mut asked = long.clone();
    asked["messages"][0]["content"] = json!("Please read the file hallo.txt");
    let mut more_tools = long.clone();
    more_tools["tools"].as_array_mut().unwrap().push(json!({"name": "Bash", "input_schema": {"type": "object"}}));
    let mut told = String::new();
    for body in [asked, more_tools] {
        let error = message(&playback, body).await.unwrap_err();
        let BackendError::Answered { status: 410, body, .. } = error else { panic!("{error}") };
        told += &format!("{}: {}\n", body.error.kind, body.error.message);
    }
    insta::assert_snapshot!(told, @r#"
    not_found_error: no recording has this request; demo/0002 comes nearest and differs first at messages[0].content[0].text, character 23: …"ease read the file hello.txt" is recorded, …"ease read the file hallo.txt" came
    not_found_error: no recording has this request; demo/0002 comes nearest and differs first at tools[1]: nothing is recorded, {"name":"Bash","input_schema":{"type":"object"}} came
    "#);
    assert_eq!(playback.misses().total(), 2);
}

#[tokio::test]
async fn what_was_not_recorded_is_asked_elsewhere() {
    let elsewhere = playback(vec![trace(1, asks("new"), &[("/response/body", says("from elsewhere"))])], Speed::Max);
    let playback = playback(vec![trace(1, asks("hi"), &[])], Speed::Max).asking(Arc::new(elsewhere));
    for (text, expected) in [("hi", "first"), ("new", "from elsewhere")] {
        assert_eq!(serde_json::to_value(message(&playback, asks(text)).await.unwrap()).unwrap(), says(expected));
    }
    assert_eq!((playback.answered(), playback.answered_elsewhere(), playback.misses().total()), (1, 1, 0));
    // Elsewhere it is not known either.
    message(&playback, asks("newer")).await.unwrap_err();
    playback.count_tokens(request(asks("newer"))).await.unwrap_err();
    assert_eq!((playback.answered(), playback.answered_elsewhere(), playback.misses().total()), (1, 1, 2));
}

/// Asks the playback that asks it.
struct Circle(OnceLock<Weak<Playback>>);

impl Circle {
    fn playback(&self) -> Arc<Playback> {
        self.0.get().unwrap().upgrade().unwrap()
    }
}

impl Backend for Circle {
    fn name(&self) -> String {
        "circle".into()
    }

    fn model(&self) -> String {
        "circle".into()
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async move { self.playback().messages(request).await })
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async move { self.playback().count_tokens(request).await })
    }
}

#[tokio::test]
async fn who_is_asked_by_itself_does_not_ask_again() {
    let circle = Arc::new(Circle(OnceLock::new()));
    let playback = Arc::new(playback(vec![trace(1, asks("hi"), &[])], Speed::Max).asking(circle.clone()));
    circle.0.set(Arc::downgrade(&playback)).unwrap();
    let error = message(&playback, asks("new")).await.unwrap_err();
    insta::assert_snapshot!(error, @"not_found_error: no recording has this request, and the server of --on-miss asks this one: give one of them --on-miss fail");
    playback.count_tokens(request(asks("new"))).await.unwrap_err();
    // Each came twice: from the client, and round the circle.
    assert_eq!((playback.answered_elsewhere(), playback.misses().total()), (0, 4));
}

/// A client that asks again gets what was recorded, as if nothing had happened.
#[tokio::test]
async fn faults_come_with_their_requests() {
    let faults = ["529@1", "cut@3", "cut@9", "error@4"].map(|fault| fault.parse().unwrap());
    let playback = playback(vec![trace(1, asks("hi"), &[])], Speed::Max).with_faults(faults.to_vec());
    let mut came = Vec::new();
    for _ in 0..5 {
        came.push(message(&playback, asks("hi")).await.map(|_| "whole").map_err(|error| error.to_string()));
    }
    insta::assert_debug_snapshot!(came, @r#"
    [
        Err(
            "overloaded_error: planned with --fault",
        ),
        Ok(
            "whole",
        ),
        Err(
            "the answer broke off, as planned with --fault",
        ),
        Err(
            "api_error: planned with --fault",
        ),
        Ok(
            "whole",
        ),
    ]
    "#);
    assert_eq!((playback.answered(), playback.faults_to_come()), (2, (vec!["cut@9".parse().unwrap()], 5)));
    for wrong in ["", "529", "cut@0", "200@1", "cut@x", "teapot@1"] {
        assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_fault_that_has_nothing_to_cut_is_remembered() {
    let recorded_error = [
        ("/response/status", json!(529)),
        ("/response/body", json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})),
    ];
    let traces = vec![trace(1, asks("hi"), &[]), trace(2, asks("busy"), &recorded_error)];
    let faults = ["cut@1", "error@2", "cut@3"].map(|fault| fault.parse().unwrap());
    let playback = playback(traces, Speed::Max).with_faults(faults.to_vec());
    for text in ["something else", "busy", "hi"] {
        message(&playback, asks(text)).await.ok();
    }
    assert_eq!(playback.faults_without_events(), faults[..2]);
}

/// The answer that was cut is the one that comes when the client asks again.
#[tokio::test]
async fn a_fault_does_not_use_up_a_recording() {
    let traces = ["first", "second"].iter().zip(1..);
    let traces = traces.map(|(text, seq)| trace(seq, asks("hi"), &[("/response/body", says(text))])).collect();
    let playback = playback(traces, Speed::Max).with_faults(vec!["cut@1".parse().unwrap()]);
    message(&playback, asks("hi")).await.unwrap_err();
    for expected in ["first", "second"] {
        assert_eq!(serde_json::to_value(message(&playback, asks("hi")).await.unwrap()).unwrap(), says(expected));
    }
}

#[tokio::test]
async fn what_cannot_be_played_is_counted_and_what_was_cut_is_known() {
    let cut = json!([{"at_us": 0, "event": "message_start", "data": {"type": "message_start", "message": says("")}}]);
    let traces = vec![
        trace(1, asks("created"), &[("/response/status", json!(201))]),
        trace(2, asks("cut"), &[("/response/events", cut)]),
        trace(3, asks("unanswered"), &[("/response/status", json!(0))]),
        trace(5, asks("switched"), &[("/response/status", json!(101))]),
        trace(4, json!(null), &[("/request/method", json!("GET")), ("/request/path", json!("/v1/models"))]),
    ];
    let playback = playback(traces, Speed::Max);
    assert_eq!((playback.recordings(), playback.left_out()), (2, 3));
    message(&playback, asks("created")).await.unwrap();
    assert_eq!(playback.messages(request(asks("cut"))).await.unwrap().count().await, 1);
    assert_eq!((playback.answered(), playback.cut()), (2, 1));
}

#[tokio::test]
async fn tokens_are_counted_as_recorded() {
    let count = json!({"model": "m", "messages": [{"role": "user", "content": "count me"}]});
    let counted = [("/request/path", json!("/v1/messages/count_tokens")), ("/response/body", json!({"input_tokens": 1234}))];
    let playback = playback(vec![trace(1, count.clone(), &counted), trace(2, asks("hi"), &[])], Speed::Max);
    let mut answered = asks("hi");
    answered.as_object_mut().unwrap().retain(|name, _| !["stream", "max_tokens"].contains(&name.as_str()));
    for (body, expected) in [(count, Some(1234)), (answered, Some(9)), (json!({"model": "m", "messages": []}), None)] {
        let request = serde_json::from_value::<CountTokensRequest>(body).unwrap();
        assert_eq!(playback.count_tokens(request.into()).await.ok(), expected);
    }
    assert_eq!((playback.recordings(), playback.misses().total()), (1, 1));
}
