//! What is recorded can be read again, however deep its JSON is nested and wherever that stands.

use std::ops::RangeInclusive;

use anyclaude::trace::{self, ExchangeOutcome, Recovered};
use serde_json::json;

use super::wait_for_text;
use crate::support::recorder::Recorder;
use crate::support::upstream::{Client, REQUEST, Upstream, frames};

/// Around all limits: a place in a trace is a few levels deep itself.
const DEPTHS: RangeInclusive<usize> = 119..=129;

/// An object that is nested so deep.
fn nested(depth: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
}

/// Posts a request that asks for this kind of answer.
fn post(recorder: &Recorder, kind: &str, depth: usize, body: &str) {
    let headers = [format!("x-kind: {kind}"), format!("x-depth: {depth}")];
    let answer = Client::send(&recorder.address, "POST", "/v1/messages", &headers.each_ref().map(String::as_str), body).answer();
    assert!(answer.whole && answer.status() == 200, "{kind} {depth}");
}

#[test]
fn nesting_at_the_limit_is_json_or_text_in_every_part_of_a_trace() {
    let upstream = Upstream::start(|request, answer| {
        let deep = nested(request.header("x-depth").unwrap().parse().unwrap());
        match request.header("x-kind") {
            Some("body") => return answer.whole(200, &["content-type: application/json"], deep),
            Some("event") => {
                answer.stream()?;
                answer.chunk(frames()[..6].concat())?;
                answer.chunk(format!("event: future\ndata: {deep}\n\n"))?;
            }
            Some("arguments") => {
                answer.stream()?;
                answer.chunk(frames()[..7].concat())?;
                let delta = json!({"type": "input_json_delta", "partial_json": deep});
                let data = json!({"type": "content_block_delta", "index": 1, "delta": delta});
                answer.chunk(format!("event: content_block_delta\ndata: {data}\n\n"))?;
                answer.chunk(&frames()[9])?;
            }
            _ => return answer.whole(200, &[], "{}"),
        }
        answer.chunk(frames()[10..].concat())?;
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    for depth in DEPTHS {
        post(&recorder, "request", depth, &nested(depth));
        for kind in ["body", "event", "arguments"] {
            post(&recorder, kind, depth, REQUEST);
        }
    }
    let paths = trace::find(&[recorder.sandbox.path("traces")]).unwrap();
    let read: Vec<_> = paths.iter().map(|path| trace::read(path).unwrap()).collect();
    assert_eq!(read.len(), 4 * DEPTHS.count());
    assert!(read.iter().all(|trace| trace.outcome == ExchangeOutcome::Complete));
    // As JSON where it fits, else as text; that of arguments is in the events.
    let (first, last) = (&read[..4], &read[read.len() - 4..]);
    assert!(first[0].request.body.is_object() && last[0].request.body == nested(129));
    assert!(first[1].response.body.is_object() && last[1].response.body == nested(129));
    assert!(first[2].response.events[6].data.is_object() && last[2].response.events[6].data == nested(129));
    assert_eq!(first[3].response.body["content"][1]["input"].to_string(), nested(119));
    assert_eq!(last[3].response.body["content"][1]["input"], json!({}));
    assert_eq!(last[3].response.events[7].data["delta"]["partial_json"], nested(129));
    // A folder with all of them is of use.
    recorder.sandbox.run(&["trace", "ls", "traces"]).exits(0);
}

#[test]
fn after_a_kill_too_it_is_recovered() {
    let upstream = Upstream::start(|_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..4].concat())?;
        answer.wait_for_close();
        Ok(())
    });
    let recorder = Recorder::start(&upstream.url());
    let _clients: Vec<_> = DEPTHS
        .map(|depth| {
            let mut client = Client::post(&recorder.address, &nested(depth));
            client.head();
            client
        })
        .collect();
    for number in 1..=DEPTHS.count() {
        wait_for_text(&recorder.session(&format!("{number:04}.json.partial")), "Let mé ");
    }
    let sandbox = recorder.kill();
    let recovered = trace::recover(&sandbox.path("traces")).unwrap();
    assert_eq!(recovered.len(), DEPTHS.count());
    for recovered in recovered {
        let Recovered::Trace { path, events: 4 } = recovered.unwrap() else { panic!() };
        assert_eq!(trace::read(&path).unwrap().outcome, ExchangeOutcome::Truncated);
    }
}
