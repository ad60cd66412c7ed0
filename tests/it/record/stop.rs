//! What is told to stop, or killed.

use std::fs;
use std::io::Write;
use std::sync::{Mutex, mpsc};

use anyclaude::trace::ExchangeOutcome;
use serde_json::json;

use super::{event_names, problems_of, wait_for_text};
use crate::support::deadline::receive;
use crate::support::recorder::Recorder;
use crate::support::upstream::{Client, REQUEST, Upstream, frames, gate, text_frame};

/// A recorder with one open exchange, whose client has got `events` events. The gate opens the rest.
fn open_exchange(events: usize) -> (Recorder, Client, mpsc::Sender<()>) {
    let (open, gate) = gate();
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..events].concat())?;
        gate.wait();
        answer.chunk(frames()[events..].concat())?;
        answer.end()
    });
    let recorder = Recorder::start(&upstream.url());
    let mut client = Client::post(&recorder.address, REQUEST);
    client.head();
    client.read_until(&frames()[events - 1]);
    (recorder, client, open)
}

#[test]
fn after_kill_9_recover_makes_a_truncated_trace_of_what_had_come() {
    let (mut recorder, _client, _open) = open_exchange(4);
    let partial = recorder.session("0001.json.partial");
    wait_for_text(&partial, "Let mé ");
    let live = recorder.sandbox.run(&["trace", "recover"]);
    insta::assert_snapshot!(recorder.sandbox.portable(&live.stdout), @"traces/s/0001.json.partial: still being recorded; left alone");

    recorder.signal("KILL");
    recorder.end();
    assert_eq!(recorder.files(), std::slice::from_ref(&partial));
    // A line that the kill tore.
    fs::File::options().append(true).open(&partial).unwrap().write_all(b"{\"event\":{\"at_us\":12").unwrap();
    recorder.sandbox.run(&["trace", "recover"]).exits(0);
    let trace = recorder.trace();
    assert_eq!(trace.outcome, ExchangeOutcome::Truncated);
    assert_eq!(event_names(&trace), ["message_start", "content_block_start", "ping", "content_block_delta"]);
    assert_eq!(trace.response.body["content"], json!([{"type":"text","text":"Let mé "}]));
    assert_eq!(problems_of(&trace), Vec::<String>::new());
}

#[test]
fn whatever_a_client_has_seen_of_an_answer_a_kill_leaves_its_beginning() {
    let upstream = Upstream::start(|_, answer| {
        answer.stream()?;
        answer.wait_for_close();
        Ok(())
    });
    let body = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "some words, ".repeat(17_000)}]});
    for _ in 0..5 {
        let mut recorder = Recorder::start(&upstream.url());
        let mut client = Client::post(&recorder.address, &body.to_string());
        client.head();
        recorder.signal("KILL");
        recorder.end();
        recorder.sandbox.run(&["trace", "recover"]).exits(0);
        let trace = recorder.trace();
        assert_eq!((trace.outcome, trace.response.status), (ExchangeOutcome::Truncated, 200));
        assert_eq!(trace.request.body, body);
    }
}

#[test]
fn when_told_to_stop_open_exchanges_are_recorded_as_truncated() {
    for signal in ["TERM", "INT"] {
        let (mut recorder, client, _open) = open_exchange(4);
        recorder.signal(signal);
        let ran = recorder.end().exits(0);
        assert!(ran.stderr.trim_end().ends_with("(1 truncated)"), "{}", ran.stderr);
        let trace = recorder.trace();
        assert_eq!((trace.outcome, trace.response.events.len()), (ExchangeOutcome::Truncated, 4));
        assert!(!client.rest().ends_with(b"0\r\n\r\n"), "the client must not take it for a whole answer");
    }
}

#[test]
fn a_client_that_does_not_read_cannot_keep_the_recorder_from_stopping() {
    let (flooding, is_flooding) = mpsc::channel();
    let flooding = Mutex::new(flooding);
    let upstream = Upstream::start(move |_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..2].concat())?;
        for round in 0.. {
            answer.chunk(text_frame(&"word ".repeat(20_000)))?;
            if round == 20 {
                flooding.lock().unwrap().send(()).ok();
            }
        }
        Ok(())
    });
    let mut recorder = Recorder::start(&upstream.url());
    let _client = Client::post(&recorder.address, REQUEST);
    receive("the flood", &is_flooding);
    recorder.stop().exits(0);
    assert_eq!(recorder.trace().outcome, ExchangeOutcome::Truncated);
}

#[test]
fn an_exchange_that_ends_in_time_is_complete_although_the_recorder_was_told_to_stop() {
    let (mut recorder, mut client, open) = open_exchange(4);
    open.send(()).unwrap();
    client.read_to_the_end();
    recorder.stop();
    assert_eq!(recorder.trace().outcome, ExchangeOutcome::Complete);
}
