//! The recorder's page in a browser, while an exchange streams.

use serde_json::json;

use crate::support::browser::seen;
use crate::support::process::{Running, run};
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Client, REQUEST, frames, gated, text_frame};

/// How many frames of the answer come before it waits: up to the beginning of its call.
const BEFORE: usize = 7;

/// A recorder with a page in front of an upstream, its page's address and its own.
fn with_page(sandbox: &Sandbox, upstream: &str) -> (Running, String, String) {
    let arguments = ["record", "--port", "0", "--session", "s", "--upstream", upstream, "--ui"];
    let mut running = Running::start(&mut sandbox.anyclaude(&arguments));
    let page = running.says("watch it at ").split_off("watch it at ".len());
    let address = running.says("recording http://").split(' ').nth(1).unwrap().to_owned();
    (running, page, address)
}

#[test]
fn the_page_follows_an_exchange_as_it_streams() {
    let upstream = gated(move |request, answer, gate| {
        answer.chunk(frames()[..BEFORE].concat())?;
        if request.header("x-wait").is_some() {
            gate.wait();
        }
        answer.chunk(frames()[BEFORE..].concat())
    });
    let (sandbox, url) = (Sandbox::new(), upstream.url());
    let (mut running, page, address) = with_page(&sandbox, &url);
    Client::send(&address, "POST", "/v1/messages", &[], REQUEST).answer();
    let mut open_one = Client::send(&address, "POST", "/v1/messages", &["x-wait: 1"], REQUEST.replace("a.txt", "b.txt"));
    open_one.head();
    open_one.read_until("toolu_1");

    let Some(seen) = seen("recorder.cjs", &[page, format!("{url}/release")]) else { return };
    assert_eq!(seen["console"], json!([]));
    assert_eq!(seen["origins"].as_array().unwrap().len(), 1, "{}", seen["origins"]);
    assert_eq!((&seen["sessions"], &seen["exchanges"]), (&json!(["s"]), &json!(["0002", "0001"])));
    assert_eq!((&seen["under_way"], &seen["finished"]), (&json!("in flight"), &json!("complete")));
    assert_eq!((&seen["calls"], &seen["lanes"]), (&json!(["Call of Read"]), &json!(1)));
    assert!(seen["arguments"].to_string().contains("/w/a.txt"), "{}", seen["arguments"]);
    assert_eq!((&seen["topics"], &seen["ways"]), (&json!(["Hé, read a.txt"]), &json!(["‹ 0001"])));
    assert!(seen["prompt"].as_str().unwrap().contains("up to message 1 (user)"), "{}", seen["prompt"]);
    assert!(seen["diff"].to_string().contains('b'), "{}", seen["diff"]);
    assert_eq!((&seen["faults"], &seen["fits"]), (&json!([]), &json!(true)));
    open_one.read_to_the_end();
    running.signal("TERM");
    running.end().exits(0);
}

/// What comes of the answer's text at once: more than fits into its box.
fn lines(word: &str) -> String {
    text_frame(&(0..300).map(|nth| format!("{word} {nth}\n")).collect::<String>())
}

#[test]
fn what_a_reader_has_in_hand_stays_while_the_answer_streams() {
    let upstream = gated(move |_, answer, gate| {
        answer.chunk(frames()[..2].concat())?;
        for word in ["first", "second", "third", "fourth"] {
            answer.chunk(lines(word))?;
            gate.wait();
        }
        answer.chunk(frames()[5..].concat())
    });
    let (sandbox, url) = (Sandbox::new(), upstream.url());
    let (mut running, page, address) = with_page(&sandbox, &url);
    let mut client = Client::send(&address, "POST", "/v1/messages", &[], REQUEST);
    client.head();
    client.read_until("first 299");

    let Some(seen) = seen("reading.cjs", &[page, format!("{url}/release")]) else { return };
    assert_eq!(seen["console"], json!([]));
    assert_eq!(seen["before"], json!({"scrolled": 500, "is_at_end": false, "is_focused": true, "selected": "first 0"}));
    assert_eq!(seen["after"], seen["before"]);
    assert_eq!(seen["at_end"], json!(true));
    assert_eq!((&seen["last"]["is_focused"], &seen["last"]["selected"]), (&json!(true), &json!("first 0")));
    client.read_to_the_end();
    running.signal("TERM");
    running.end().exits(0);
}

#[test]
fn no_address_is_said_of_a_page_that_will_not_be_served() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let sandbox = Sandbox::new();
    let refused = run(&mut sandbox.anyclaude(&["record", "--ui", "--port", &port, "--upstream", "http://127.0.0.1:9"])).exits(3);
    assert!(!refused.stderr.contains("watch it at"), "{}", refused.stderr);
    let refused = run(&mut sandbox.anyclaude(&["record", &format!("--ui={port}"), "--port", "0"])).exits(3);
    assert!(refused.stderr.contains("--ui alone takes any free port"), "{}", refused.stderr);
}
