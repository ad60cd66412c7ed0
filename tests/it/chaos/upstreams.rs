//! What upstreams do over HTTP/1.1: resets, silence, halves, bytes that are no text, answers of any length.

use std::fs;
use std::io;

use rand::Rng;

use super::line::Line;
use super::run::{Run, ask, harming};
use super::scale::Scale;
use crate::support::upstream::{Answer, Upstream, frames, text_frame};

/// What the memory of a recorder may be above that before a long answer, in bytes: less than any of the long answers, and more than
/// the few megabytes that its allocator keeps.
const KEPT: u64 = 16 << 20;

pub(super) fn all(scale: &Scale) -> Vec<Line> {
    let broken = |case: &str, share, fault: fn(&mut Answer) -> io::Result<()>| {
        let requests = scale.of(share);
        let mut run = Run::start(case, &harming(move |_, answer| fault(answer)).url());
        run.ask(requests, 8);
        (run, requests)
    };
    let mut lines = vec![resets(scale), silence(scale)];

    let (run, n) = broken("half an event, then the end", 30, |answer| {
        answer.stream()?;
        answer.chunk(frames()[..4].concat() + "event: content_block_delta\ndata: {\"type\":\"content_bl")?;
        answer.end()
    });
    lines.push(run.end().expect(&[("whole", n)], &[("upstream error", n)]));

    let (run, n) = broken("bytes that are no UTF-8", 30, |answer| {
        answer.stream()?;
        answer.chunk(frames()[..3].concat())?;
        answer.chunk(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\xff\xfe\xc3\"}}\n\n")?;
        answer.chunk(frames()[5..].concat())?;
        answer.end()
    });
    lines.push(run.end().expect(&[("whole", n)], &[("complete", n)]));

    let (run, n) = broken("an answer shorter than its length", 30, |answer| {
        answer.raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"half\":")?;
        Err(io::ErrorKind::Other.into())
    });
    lines.push(run.end().expect(&[("broken off", n)], &[("upstream error", n)]));

    let (run, n) = broken("an answer longer than its length", 30, |answer| {
        answer
            .raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n{\"a\": 1}HTTP/1.1 200 OK\r\n")?;
        Err(io::ErrorKind::Other.into())
    });
    lines.push(run.end().expect(&[("whole", n)], &[("complete", n)]));

    let (run, n) = broken("a length that is no number", 20, |answer| {
        answer.raw("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}")?;
        Err(io::ErrorKind::Other.into())
    });
    lines.push(run.end().expect(&[("502", n)], &[("upstream error", n)]));

    let (run, n) = broken("no HTTP at all", 20, |answer| {
        answer.raw(b"\x16\x03\x01\x00\x05hello\r\n\r\n")?;
        Err(io::ErrorKind::Other.into())
    });
    lines.push(run.end().expect(&[("502", n)], &[("upstream error", n)]));

    lines.push(until_closed(scale));
    lines.push(long_answer(scale));
    lines
}

/// At any byte, also before the answer's head.
fn resets(scale: &Scale) -> Line {
    let case = "upstreams that reset";
    let requests = scale.of(100);
    let upstream = harming(move |request, answer| {
        let at: usize = request.header("x-at").unwrap().parse().unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let body = frames().concat();
        let whole = format!("{head}{:x}\r\n{body}\r\n", body.len());
        answer.raw(&whole.as_bytes()[..at.min(whole.len())])?;
        answer.reset()
    });
    let mut run = Run::start(case, &upstream.url());
    let mut random = scale.random(case);
    for _ in 0..requests {
        let at = random.random_range(0..2000).to_string();
        let answer = super::run::ask_with(run.address(), &format!("x-at: {at}")).answer();
        run.saw(super::run::seen(&answer));
    }
    let line = run.end().allow(&["broken off", "502"], &["upstream error", "complete"]);
    counts_match(line, requests)
}

/// Every exchange has a trace.
fn counts_match(mut line: Line, requests: usize) -> Line {
    let traces = ["upstream error", "complete"].iter().map(|outcome| line.trace.count(outcome)).sum::<usize>();
    if traces != requests {
        line.fault(format!("{requests} requests, {traces} traces"));
    }
    line
}

/// The recorder sets no limit to a pause: clients have their own.
fn silence(scale: &Scale) -> Line {
    let requests = scale.of(30);
    let upstream = harming(|_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..4].concat())?;
        answer.wait_for_close();
        Ok(())
    });
    let mut run = Run::start("upstreams that stall", &upstream.url());
    let mut clients: Vec<_> = (0..requests).map(|_| ask(run.address())).collect();
    for client in &mut clients {
        client.head();
        client.read_until("Let m");
    }
    run.next_works();
    if !run.line.next {
        run.line.fault("another client had to wait");
    }
    for client in clients {
        drop(client);
        run.saw("what came");
    }
    run.end().expect(&[("what came", requests)], &[("client closed", requests)])
}

/// As HTTP/1.0 ends its answers.
fn until_closed(scale: &Scale) -> Line {
    let requests = scale.of(20);
    let upstream = harming(|_, answer| {
        answer.raw("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
        answer.raw(frames().concat())?;
        Err(io::ErrorKind::Other.into())
    });
    let mut run = Run::start("answers that end with the connection", &upstream.url());
    run.ask(requests, 8);
    run.end().expect(&[("whole", requests)], &[("complete", requests)])
}

fn long_answer(scale: &Scale) -> Line {
    let megabytes = scale.megabytes;
    let upstream: Upstream = harming(move |_, answer| {
        answer.stream()?;
        answer.chunk(frames()[..2].concat())?;
        let piece = text_frame(&"word ".repeat(200_000));
        (0..megabytes).try_for_each(|_| answer.chunk(&piece))?;
        answer.chunk(frames()[5..].concat())?;
        answer.end()
    });
    let mut run = Run::start(&format!("an answer of {megabytes} MB"), &upstream.url());
    run.next_works();
    let before = resident(run.recorder.id());
    let answers = run.ask(1, 1);
    if answers[0].body.len() < megabytes * 1_000_000 {
        run.line.fault(format!("the client got {} bytes", answers[0].body.len()));
    }
    run.next_works();
    if let (Some(before), Some(after)) = (before, resident(run.recorder.id())) {
        let told = format!("{} MB resident before, {} after", before >> 20, after >> 20);
        println!("{}: {told}", run.line.case);
        if after > before + KEPT {
            run.line.fault(told);
        }
    }
    run.end().expect(&[("whole", 1)], &[("complete", 1)])
}

/// Resident memory of a process, in bytes, where the system tells it in `/proc`.
fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}
