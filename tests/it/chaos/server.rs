//! The local model's server: signals while answers are in flight.

use serde_json::json;

use super::line::Line;
use super::run::seen;
use crate::support::MODEL;
use crate::support::deadline::until;
use crate::support::http::get;
use crate::support::serving::Serving;
use crate::support::upstream::Client;

/// How many answers are in flight.
const ANSWERS: usize = 4;

pub(super) fn all() -> Vec<Line> {
    vec![in_flight(), second_signal()]
}

/// Short answers, once each has begun.
fn begun(server: &Serving) -> Vec<Client> {
    let body = json!({"model": "m", "max_tokens": 30, "stream": true, "messages": [{"role": "user", "content": "Say hello."}]});
    let ask = |_| Client::send(&server.url, "POST", "/v1/messages", &["content-type: application/json"], body.to_string());
    let mut clients: Vec<Client> = (0..ANSWERS).map(ask).collect();
    for client in &mut clients {
        client.head();
        client.read_until("message_start");
    }
    clients
}

fn in_flight() -> Line {
    let mut line = Line::new("serve: SIGTERM with answers in flight");
    let server = Serving::start(MODEL, &[]);
    let clients = begun(&server);
    server.signal("TERM");
    for client in clients {
        line.requests += 1;
        let rest = client.rest();
        let whole = String::from_utf8_lossy(&rest).contains("message_stop") && rest.ends_with(b"0\r\n\r\n");
        line.client.add(if whole { "the end" } else { "broken off" });
    }
    server.end().exits(0);
    next(line).expect(&[("the end", ANSWERS)], &[])
}

fn second_signal() -> Line {
    let mut line = Line::new("serve: SIGTERM twice");
    let mut server = Serving::start(MODEL, &[]);
    // Prompts that are being computed for seconds.
    let body =
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Go on with the file. ".repeat(4000)}]});
    let ask = |_| Client::send(&server.url, "POST", "/v1/messages", &["content-type: application/json"], body.to_string());
    let clients: Vec<Client> = (0..ANSWERS).map(ask).collect();
    let in_flight = format!("anyclaude_requests_in_flight {ANSWERS}\n");
    until("the work", || get(&format!("{}/metrics", server.url)).text.contains(&in_flight).then_some(()));
    server.signal("TERM");
    server.says("stopping: ");
    server.signal("TERM");
    let code = server.end().code;
    if code != Some(130) {
        line.fault(format!("it did not end at once, with 130, but with {code:?}"));
    }
    for client in clients {
        line.requests += 1;
        line.client.add(if client.rest().is_empty() { "no answer" } else { "an answer" });
    }
    next(line).expect(&[("no answer", ANSWERS)], &[])
}

/// Asks a server that is started after the other.
fn next(mut line: Line) -> Line {
    let server = Serving::start(MODEL, &[]);
    let body = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Say hello."}]});
    let answer =
        Client::send(&server.url, "POST", "/v1/messages", &["content-type: application/json"], body.to_string()).answer();
    line.next = seen(&answer) == "whole";
    line
}
