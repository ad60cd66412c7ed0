//! Tools whose schemas would take a grammar minutes, forced on a server that answers others meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::line::Line;
use super::run::seen;
use super::scale::Scale;
use crate::support::MODEL;
use crate::support::serving::Serving;
use crate::support::upstream::{Client, Message};

/// How many patterns one string must match.
const PATTERNS: std::ops::RangeInclusive<usize> = 17..=26;

/// The longest time between two tokens of another client, with harmless schemas and with hostile ones. How long that is depends on
/// the machine; how much longer it is with hostile ones must not.
pub(super) fn beside_a_stream(scale: &Scale) -> Line {
    let mut line = Line::new("serve: hostile schemas beside a stream");
    let server = Serving::start(MODEL, &[]);
    let harmless = longest_gap(&server.url, |count| drop(force(&server.url, count, "x")));
    let mut answers = Vec::new();
    let hostile = longest_gap(&server.url, |count| answers.push(force(&server.url, count, ".*x.*")));
    println!(
        "{}: longest gap between two tokens {harmless:.0?} with harmless schemas, {hostile:.0?} with hostile ones",
        line.case
    );
    if scale.most_delay.is_some_and(|most| hostile > harmless + most) {
        line.fault(format!("a token of another client came {:.0?} later than with harmless schemas", hostile - harmless));
    }
    for answer in answers {
        line.requests += 1;
        let loosened = answer.header("x-anyclaude-loosened").map_or("", |_| ", loosened");
        line.client.add(format!("{}{loosened}", seen(&answer)));
    }
    line.next = seen(&force(&server.url, 1, ".*x.*")) == "whole";
    line.expect(&[("whole, loosened", PATTERNS.count())], &[])
}

/// The longest time between two pieces of a client's answers while the others ask.
fn longest_gap(url: &str, mut ask: impl FnMut(usize)) -> Duration {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Acquire) {
                longest = longest.max(longest_in_an_answer(url));
            }
            longest
        });
        PATTERNS.for_each(&mut ask);
        is_over.store(true, Ordering::Release);
        client.join().unwrap()
    })
}

fn longest_in_an_answer(url: &str) -> Duration {
    let body = json!({"model": "m", "max_tokens": 200, "stream": true, "temperature": 1,
        "messages": [{"role": "user", "content": "Tell me all that you know."}]});
    let mut client = send(url, &body);
    client.head();
    let (mut longest, mut last) = (Duration::ZERO, None::<Instant>);
    while let Some(chunk) = client.next_chunk() {
        if String::from_utf8_lossy(&chunk).contains("content_block_delta") {
            longest = last.map_or(longest, |last| longest.max(last.elapsed()));
            last = Some(Instant::now());
        }
    }
    longest
}

/// The answer to a request that forces a call with so many patterns. Each number makes another schema.
fn force(url: &str, count: usize, pattern: &str) -> Message {
    let one = |at: usize| json!({"type": "string", "pattern": format!("{pattern}{at}{count}")});
    let all: Vec<Value> = if pattern == "x" { vec![one(0)] } else { (0..count).map(one).collect() };
    let schema = json!({"type": "object", "properties": {"p": {"allOf": all}}, "required": ["p"]});
    let body = json!({"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "Go on."}],
        "tools": [{"name": "Edit", "input_schema": schema}], "tool_choice": {"type": "tool", "name": "Edit"}});
    send(url, &body).answer()
}

fn send(url: &str, body: &Value) -> Client {
    Client::send(url, "POST", "/v1/messages", &["content-type: application/json"], body.to_string())
}
