//! What clients do: many at once, slow, gone.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use rand::Rng;

use super::line::Line;
use super::run::{FAULT, Run, ask, harming, seen, stream, together};
use super::scale::Scale;
use crate::support::upstream::{Client, REQUEST, frames, text_frame};

/// How many streams at once.
const STREAMS: usize = 64;

pub(super) fn all(scale: &Scale) -> Vec<Line> {
    vec![streams_at_once(scale), slow_readers(scale), clients_that_leave(scale), requests_that_break_off(scale)]
}

fn streams_at_once(scale: &Scale) -> Line {
    let requests = scale.of(320).next_multiple_of(STREAMS);
    let upstream = harming(|_, answer| stream(answer));
    let mut run = Run::start("64 streams at once", &upstream.url());
    for answer in run.ask(requests, STREAMS) {
        if answer.text() != frames().concat() {
            run.line.fault("an answer was changed");
        }
    }
    run.end().expect(&[("whole", requests)], &[("complete", requests)])
}

/// While they do not read, more than any buffer holds waits for them.
fn slow_readers(scale: &Scale) -> Line {
    const PIECES: usize = 250;
    let readers = scale.of(20).max(2);
    let upstream = harming(|_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..2].concat())?;
        let piece = text_frame(&"word ".repeat(4000));
        (0..PIECES).try_for_each(|_| answer.chunk(&piece))?;
        answer.chunk(frames()[5..].concat())?;
        answer.end()
    });
    let mut run = Run::start("slow readers of 5 MB", &upstream.url());
    let mut slow: Vec<Client> = (0..readers).map(|_| ask(run.address())).collect();
    slow.iter_mut().for_each(|client| drop(client.head()));
    run.next_works();
    if !run.line.next {
        run.line.fault("another client had to wait for them");
    }
    for mut client in slow {
        let last = client.read_until("message_stop");
        client.read_to_the_end();
        let whole = last.len() > PIECES * 20_000;
        run.saw(if whole { "whole" } else { "less than all" });
    }
    run.end().expect(&[("whole", readers)], &[("complete", readers)])
}

/// At any byte of the answer.
fn clients_that_leave(scale: &Scale) -> Line {
    let case = "clients that leave in the answer";
    let requests = scale.of(160);
    let mut random = scale.random(case);
    let length = frames()[..11].concat().len();
    let upstream = harming(|_, answer| {
        answer.stream()?;
        frames()[..11].iter().try_for_each(|frame| answer.chunk(frame))?;
        answer.wait_for_close();
        Ok(())
    });
    let mut run = Run::start(case, &upstream.url());
    for _ in 0..requests {
        // With the answer's head, the upstream sends more than that before it waits.
        let most = random.random_range(0..length);
        let read = ask(run.address()).read_and_leave(most);
        run.saw(if read == most { "as much as it wanted" } else { "less" });
    }
    run.end().expect(&[("as much as it wanted", requests)], &[("client closed", requests)])
}

/// At any byte of the request. What never came whole is no exchange.
fn requests_that_break_off(scale: &Scale) -> Line {
    let case = "clients that leave in the request";
    let requests = scale.of(160);
    let mut random = scale.random(case);
    let upstream = harming(|_, answer| stream(answer));
    let mut run = Run::start(case, &upstream.url());
    let head = format!("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n{FAULT}\r\ncontent-length: {}\r\n\r\n", REQUEST.len());
    let whole = format!("{head}{REQUEST}");
    let cuts: Vec<usize> = (0..requests).map(|_| random.random_range(0..whole.len())).collect();
    let address = run.address().trim_start_matches("http://").to_owned();
    for group in cuts.chunks(8) {
        for what in together(group.len(), |at| break_off(&address, &whole.as_bytes()[..group[at]])) {
            run.saw(what);
        }
    }
    run.end().allow(&["no answer", "400"], &[])
}

/// What a client sees that sends part of a request and shuts its side down.
fn break_off(address: &str, part: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(part).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut reader = std::io::BufReader::new(socket);
    seen(&crate::support::upstream::read_message(&mut reader))
}
