//! Signals while answers are in flight.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::line::Line;
use super::run::{Run, ask, ask_with, harming};
use super::scale::Scale;
use crate::support::deadline::until;
use crate::support::upstream::{Client, Upstream, frames};

/// The header of a request whose answer never ends.
const ENDLESS: &str = "x-endless: yes";

pub(super) fn all(scale: &Scale) -> Vec<Line> {
    vec![in_flight(scale), second_signal(scale)]
}

/// An upstream whose answers go on once they may; those that are asked to be endless never do.
fn waiting(may_go_on: Arc<AtomicBool>) -> Upstream {
    harming(move |request, answer| {
        answer.stream()?;
        answer.chunk(frames()[..4].concat())?;
        if request.header("x-endless").is_some() {
            answer.wait_for_close();
            return Ok(());
        }
        until("leave to go on", || may_go_on.load(Ordering::Acquire).then_some(()));
        answer.chunk(frames()[4..].concat())?;
        answer.end()
    })
}

/// Half of them can end in time, half cannot.
fn in_flight(scale: &Scale) -> Line {
    let each = scale.of(20).max(4);
    let may_go_on = Arc::new(AtomicBool::new(false));
    let upstream = waiting(may_go_on.clone());
    let mut run = Run::start("SIGTERM with answers in flight", &upstream.url());
    let address = run.address().to_owned();
    let clients = begun((0..each).flat_map(|_| [ask(&address), ask_with(&address, ENDLESS)]));
    may_go_on.store(true, Ordering::Release);
    run.recorder.signal("TERM");
    let rests = clients.into_iter().map(|client| thread::spawn(|| client.rest()));
    for rest in rests.collect::<Vec<_>>() {
        run.saw(if rest.join().unwrap().ends_with(b"0\r\n\r\n") { "the end" } else { "broken off" });
    }
    run.recorder.end().exits(0);
    // The next recorder goes on in the same folder.
    let run = run.again(&upstream.url());
    run.end().expect(&[("the end", each), ("broken off", each)], &[("complete", each), ("truncated", each)])
}

/// What was open is not lost: it can be recovered.
fn second_signal(scale: &Scale) -> Line {
    let count = scale.of(10).max(4);
    let upstream = waiting(Arc::default());
    let mut run = Run::start("SIGTERM twice", &upstream.url());
    let address = run.address().to_owned();
    let clients = begun((0..count).map(|_| ask_with(&address, ENDLESS)));
    run.recorder.signal("TERM");
    let socket = address.trim_start_matches("http://").to_owned();
    until("the end of listening", || TcpStream::connect(&socket).is_err().then_some(()));
    run.recorder.signal("TERM");
    let code = run.recorder.end().code;
    if code != Some(130) {
        run.line.fault(format!("it did not end at once, with 130, but with {code:?}"));
    }
    for client in clients {
        run.saw(if client.rest().ends_with(b"0\r\n\r\n") { "the end" } else { "broken off" });
    }
    run.recorder.sandbox.run(&["trace", "recover"]).exits(0);
    run.again(&upstream.url()).end().expect(&[("broken off", count)], &[("truncated", count)])
}

/// The clients, once each has seen the beginning of its answer.
fn begun(clients: impl Iterator<Item = Client>) -> Vec<Client> {
    let mut clients: Vec<Client> = clients.collect();
    for client in &mut clients {
        client.head();
        client.read_until("Let m");
    }
    clients
}
