//! `anyclaude load` and `anyclaude report merge` as their users run them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use axum::routing::post;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::support::demo::{session, write_trace};
use crate::support::listen;
use crate::support::process::Ran;
use crate::support::replay_backend::{Flaw, ReplayBackend};
use crate::support::sandbox::{Sandbox, portable};

fn load(sandbox: &Sandbox, server: &ReplayBackend, more: &[&str]) -> Ran {
    sandbox.run(&[&["load", "--backend", &server.url], more].concat())
}

fn report(sandbox: &Sandbox, file: &str) -> Value {
    serde_json::from_str(&sandbox.read(file)).unwrap()
}

#[test]
fn each_copy_of_a_conversation_is_a_new_one() {
    let (sandbox, server) = (session(), ReplayBackend::with_cache_control(Flaw::None));
    let ran = load(&sandbox, &server, &["--concurrency", "4", "--requests", "21", "--json", "load.json"]).exits(0);
    assert!(ran.stdout.contains("Answered    21 of 21 in "), "{}", ran.stdout);
    let report = report(&sandbox, "load.json");
    assert_eq!((&report["requests"], &report["answered"], &report["errors"]), (&json!(21), &json!(21), &json!({})));
    assert_eq!((&report["ttft"]["count"], &report["pattern"]), (&json!(21), &json!({"concurrency": 4})));
    let first_messages: std::collections::HashSet<String> =
        server.requests().iter().map(|request| serde_json::to_string(&request.messages[0]).unwrap()).collect();
    assert_eq!(first_messages.len(), 21);
}

#[test]
fn shards_send_it_all_and_their_reports_merge() {
    let (sandbox, server) = (session(), ReplayBackend::with_cache_control(Flaw::None));
    for shard in ["1/2", "2/2"] {
        let file = format!("{}.json", &shard[..1]);
        let rate = ["--rate", "500", "--arrivals", "constant", "--requests", "41", "--ttft-budget", "60s"];
        load(&sandbox, &server, &[&rate[..], &["--shard", shard, "--json", &file]].concat()).exits(0);
    }
    let ran = sandbox.run(&["report", "merge", "1.json", "2.json", "--json", "all.json"]).exits(0);
    assert!(ran.stdout.contains("Shards      1, 2 of 2\n"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("Answered    41 of 41 in ") && ran.stdout.contains("100.0% within TTFT 1m 00s"),
        "{}",
        ran.stdout
    );
    assert_eq!(report(&sandbox, "all.json")["e2e"]["count"], json!(41));
    sandbox.write("no.json", "{}");
    let (good, version) = (sandbox.read("1.json"), r#""version": 2"#);
    assert!(good.contains(version));
    sandbox.write("old.json", good.replace(version, r#""version": 1"#));
    sandbox.write("odd.json", good.replace(r#""nth": 1"#, r#""nth": 3"#));
    let refusals = [
        &["1.json", "1.json"][..],
        &["all.json", "2.json"],
        &["1.json", "no.json"],
        &["1.json", "old.json"],
        &["odd.json"],
        &["missing.json"],
    ];
    let refusals: String =
        refusals.into_iter().map(|files| sandbox.run(&[&["report", "merge"], files].concat()).refusal()).collect();
    insta::assert_snapshot!(portable(&refusals), @"
    exit 2: error: 1.json: shard 1/2 comes twice: give each report once
    exit 2: error: 2.json: shard 2/2 comes twice: give each report once
    exit 2: error: no.json: not the figures of a load; give what `anyclaude load --json` wrote
    exit 2: error: old.json: figures of version 1, but this anyclaude reads version 2; measure again with it; give what `anyclaude load --json` wrote
    exit 2: error: odd.json: not the figures of a load: no load has such `shards`; give what `anyclaude load --json` wrote
    exit 2: error: missing.json: No such file or directory (os error [number]); give what `anyclaude load --json` wrote
    ");
}

/// One of four load generators broke down. Nobody takes the sum of the others for the whole.
#[test]
fn a_missing_shard_is_said_and_fails() {
    let (sandbox, server) = (session(), ReplayBackend::with_cache_control(Flaw::None));
    for (shard, file) in [("1/4", "1.json"), ("3/4", "3.json")] {
        load(&sandbox, &server, &["--concurrency", "2", "--requests", "8", "--shard", shard, "--json", file]).exits(0);
    }
    let ran = sandbox.run(&["report", "merge", "3.json", "1.json", "--json", "some.json"]).exits(3);
    assert!(ran.stdout.contains("Shards      1, 3 of 4; 2, 4 missing\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("Answered    4 of 4 in "), "{}", ran.stdout);
    assert_eq!(report(&sandbox, "some.json")["requests"], json!(4));
}

#[test]
fn errors_are_counted_and_slow_answers_are_not_good() {
    let sandbox = session();
    let busy = ReplayBackend::without_cache_control(Flaw::Overloaded);
    let ran = load(&sandbox, &busy, &["--as-recorded", "--speed", "100"]).exits(3);
    assert!(ran.stdout.contains("Errors      2 overloaded, such as: overloaded_error: "), "{}", ran.stdout);
    let server = ReplayBackend::without_cache_control(Flaw::None);
    let both = ["--concurrency", "1", "--ttft-budget", "60s", "--tpot-budget", "60s"];
    assert!(load(&sandbox, &server, &both).exits(0).stdout.contains("100.0% within TTFT 1m 00s and TPOT 1m 00s"));
    let ran = load(&sandbox, &server, &["--concurrency", "1", "--ttft-budget", "1us"]).exits(4);
    assert!(ran.stdout.contains("0.0% within TTFT 1 µs"), "{}", ran.stdout);
    let search = ["--find-rate", "2000", "--requests", "2", "--try-for", "1ms", "--ttft-budget"];
    let ran = load(&sandbox, &server, &[&search[..], &["1us"]].concat()).exits(4);
    assert!(ran.stdout.contains("No rate went well, down to 15"), "{}", ran.stdout);
    let ran = load(&sandbox, &busy, &[&search[..], &["60s"]].concat()).exits(3);
    assert!(ran.stdout.contains("overloaded") && ran.stderr.contains("answered nothing"), "{} {}", ran.stdout, ran.stderr);
}

/// A server that answers so many requests and no more.
fn dying(answers: usize) -> String {
    let left = Arc::new(AtomicUsize::new(answers));
    let events = [
        json!({"type": "message_start", "message": {
            "id": "m", "type": "message", "role": "assistant", "model": "mock", "content": [], "stop_reason": null,
            "stop_sequence": null, "usage": {"input_tokens": 100, "output_tokens": 0},
        }}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 1}}),
        json!({"type": "message_stop"}),
    ];
    let frames = events.map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).concat();
    let answer = move || {
        let is_alive = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        let response = Response::builder().header("content-type", "text/event-stream");
        let response =
            if is_alive { response.body(Body::from(frames.clone())) } else { response.status(500).body(Body::empty()) };
        async move { response.unwrap() }
    };
    listen::routes(Router::new().route("/v1/messages", post(answer)))
}

/// The search cannot go on, and what was measured before is not lost.
#[test]
fn a_server_that_dies_in_a_search_leaves_what_was_found_before() {
    // Of three requests nobody can say that answers come later and later.
    let (sandbox, url) = (session(), dying(3));
    let search = ["--find-rate", "1000", "--requests", "3", "--try-for", "1ms", "--ttft-budget", "60s", "--json", "load.json"];
    let ran = sandbox.run(&[&["load", "--backend", &url], &search[..]].concat()).exits(3);
    assert!(ran.stdout.contains("Between 1000 and 2000 requests/s") && ran.stdout.contains("Answered    3 of 3"), "{ran:?}");
    assert!(ran.stderr.contains("answered nothing at this rate"), "{}", ran.stderr);
    assert_eq!(report(&sandbox, "load.json")["answered"], json!(3));
}

#[test]
fn requests_come_in_one_way() {
    let (sandbox, server) = (session(), ReplayBackend::without_cache_control(Flaw::None));
    for wrong in [&[][..], &["--rate", "1", "--as-recorded"], &["--concurrency", "2", "--speed", "2"], &["--find-rate", "1"]] {
        load(&sandbox, &server, wrong).exits(2);
    }
    let missing = load(&sandbox, &server, &[]).exits(2).stderr;
    assert!(missing.contains("--concurrency <N>|--rate <PER_S>|--as-recorded|--find-rate <PER_S>"), "{missing}");
    let two = ["--concurrency", "1", "--backend", "http://127.0.0.1:9"];
    insta::assert_snapshot!(load(&sandbox, &server, &two).refusal(), @"exit 2: error: --backend: several; this command takes one");
}

/// A number that no clock counts to is refused before anything is read or sent.
#[test]
fn numbers_beyond_all_clocks_are_refused() {
    let (sandbox, server) = (session(), ReplayBackend::without_cache_control(Flaw::None));
    let wrong = [
        &["--rate", "1e-20"][..],
        &["--rate", "inf"],
        &["--find-rate", "1e300", "--ttft-budget", "1s"],
        &["--as-recorded", "--speed", "0"],
        &["--rate", "1", "--shard", "1/18446744073709551615"],
        &["--rate", "1", "--requests", "18446744073709551615"],
    ];
    let lines = wrong.map(|wrong| {
        let ran = load(&sandbox, &server, wrong).exits(2);
        ran.stderr.lines().next().unwrap_or_default().to_owned() + "\n"
    });
    insta::assert_snapshot!(lines.concat(), @"
    error: invalid value '1e-20' for '--rate <PER_S>': this is a number from 0.0001 to 1000000, such as 2.5
    error: invalid value 'inf' for '--rate <PER_S>': this is a number from 0.0001 to 1000000, such as 2.5
    error: invalid value '1e300' for '--find-rate <PER_S>': this is a number from 0.0001 to 1000000, such as 2.5
    error: invalid value '0' for '--speed <TIMES>': this is a number from 0.0001 to 1000000, such as 2.5
    error: invalid value '1/18446744073709551615' for '--shard <NTH/OF>': a shard is a number and how many there are, at most 1000, such as 2/4
    error: invalid value '18446744073709551615' for '--requests <N>': 18446744073709551615 is not in 1..=10000000
    ");
}

#[test]
fn what_does_not_come_as_recorded_is_said() {
    let (sandbox, server) = (Sandbox::new(), ReplayBackend::without_cache_control(Flaw::None));
    write_trace(&sandbox, 1, &[("/timing/e2e_us", Value::Null)]);
    write_trace(&sandbox, 2, &[("/recorded_at", json!("2026-01-04T00:00:00Z"))]);
    let ran = load(&sandbox, &server, &["--as-recorded", "--longest-pause", "10ms"]).exits(0);
    insta::assert_snapshot!(ran.stderr, @"
    sending 2 requests of 1 conversation, as recorded
    1 pause cut to 10.0 ms, 71h 59m left out; --longest-pause sets that
    1 answer without a recorded end: the request after each comes as long after the one before as recorded
    ");
}

/// More load generators than conversations: one has nothing to do, which is no failure.
#[test]
fn a_shard_with_nothing_to_send_succeeds_and_says_so() {
    let (sandbox, server) = (session(), ReplayBackend::without_cache_control(Flaw::None));
    let ran =
        load(&sandbox, &server, &["--concurrency", "2", "--shard", "4/4", "--ttft-budget", "1us", "--json", "4.json"]).exits(0);
    assert!(ran.stderr.contains("nothing to send: fewer conversations than shards"), "{}", ran.stderr);
    assert!(server.requests().is_empty());
    assert_eq!(report(&sandbox, "4.json")["requests"], json!(0));
    let ran = load(&sandbox, &server, &["--concurrency", "2", "--shard", "4/4", "--requests", "2"]).exits(0);
    assert!(ran.stderr.contains("nothing to send: fewer --requests than shards"), "{}", ran.stderr);
}

const WORKERS: usize = 64;
const TTFT: Duration = Duration::from_millis(500);
const TPOT: Duration = Duration::from_millis(25);
const TOKENS: u32 = 21;

/// A server of 64 workers, each of which takes [`TTFT`] and then [`TPOT`] for each token.
fn workers() -> String {
    let free = Arc::new(Semaphore::new(WORKERS));
    let answer = move || {
        let free = free.clone();
        async move {
            let worker = free.acquire_owned().await.unwrap();
            let token = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a "}});
            let start = json!({"type": "message_start", "message": {
                "id": "m", "type": "message", "role": "assistant", "model": "mock", "content": [], "stop_reason": null,
                "stop_sequence": null, "usage": {"input_tokens": 100, "output_tokens": 0},
            }});
            let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
            let stop = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                "usage": {"output_tokens": TOKENS}});
            // Each event has a time of its own, so that a timer's delay is not added to all that come after.
            let began = Instant::now();
            let last = began + TTFT + TPOT * (TOKENS - 1);
            let mut events = vec![(began, start), (began, block)];
            events.extend((0..TOKENS).map(|nth| (began + TTFT + TPOT * nth, token.clone())));
            let ends = [json!({"type": "content_block_stop", "index": 0}), stop, json!({"type": "message_stop"})];
            events.extend(ends.map(|event| (last, event)));
            let frames = stream::unfold((events.into_iter(), worker), |(mut events, worker)| async move {
                let (due, event) = events.next()?;
                sleep_until(due).await;
                let frame = format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
                Some((Ok::<_, std::io::Error>(Bytes::from(frame)), (events, worker)))
            });
            Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(frames)).unwrap()
        }
    };
    listen::routes(Router::new().route("/v1/messages", post(answer)))
}

/// In real time, so it needs a machine with nothing else to do.
#[test]
#[ignore = "takes real time, which a busy machine does not give: cargo test --test it -- --ignored load::what_64_workers"]
fn what_64_workers_were_told_to_take_is_reported() {
    let (sandbox, url) = (session(), workers());
    // 50 requests of a second each: below what 64 workers bear.
    let load = ["load", "--backend", &url, "--rate", "50", "--requests", "500", "--json", "load.json"];
    sandbox.run(&load).exits(0);
    let report = report(&sandbox, "load.json");
    for (metric, planted) in [("ttft", TTFT), ("tpot", TPOT), ("e2e", TTFT + TPOT * (TOKENS - 1))] {
        for percentile in ["p50_us", "p99_us"] {
            let (found, planted) = (report[metric][percentile].as_f64().unwrap(), planted.as_micros() as f64);
            println!("{metric} {percentile}: {found} µs of {planted} µs planted");
            assert!((found / planted - 1.0).abs() <= 0.02, "{metric} {percentile}: {found} µs is not {planted} µs");
        }
    }
}
