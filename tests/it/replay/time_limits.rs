//! Servers that take too long: the flags that limit it end the replay with the backend's exit code, and say what was waited for.

use std::io;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::support::demo::write_trace;
use crate::support::process::Ran;
use crate::support::sandbox::Sandbox;
use crate::support::upstream::{Answer, Message, Upstream, frames, text_frame};

/// A replay on a server that does this to the one request of the trace.
fn replay(limit: [&str; 2], does: fn(&mut Answer) -> io::Result<()>) -> Ran {
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    let upstream =
        Upstream::start(
            move |request: Message, answer: &mut Answer| {
                if request.line.starts_with("POST /v1/messages") { does(answer) } else { answer.whole(404, &[], "") }
            },
        );
    let flags = ["--phases", "cold", "--retries", "0"];
    sandbox.run(&[&["replay", "--backend", &upstream.url(), "--check"], &flags[..], &limit[..]].concat()).exits(3)
}

#[test]
fn a_server_that_takes_too_long_is_given_up() {
    let limit = ["--silence-timeout", "1"];
    let before = replay(limit, |answer| {
        answer.wait_for_close();
        Ok(())
    });
    let within = replay(limit, |answer| {
        answer.stream()?;
        answer.chunk(frames()[..4].concat())?;
        answer.wait_for_close();
        Ok(())
    });
    // Never silent, and never at its end.
    let endless = replay(["--answer-timeout", "1"], |answer| {
        answer.stream()?;
        answer.chunk(frames()[..2].concat())?;
        loop {
            answer.chunk(text_frame("more "))?;
            sleep(Duration::from_millis(20));
        }
    });
    for ran in [before, within, endless] {
        assert!(ran.stdout.contains("timed out"), "{}{}", ran.stdout, ran.stderr);
    }
}

/// Once the queue of those that were not accepted is full, the system answers no more attempts to connect.
#[tokio::test]
async fn a_server_that_does_not_take_the_connection_is_given_up() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let waiting: Vec<TcpStream> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()).take(100).collect();
    assert!(waiting.len() < 100, "the queue has no end");
    let sandbox = Sandbox::new();
    write_trace(&sandbox, 1, &[]);
    let backend = format!("http://{address}");
    let flags = ["--phases", "cold", "--retries", "0", "--check", "--connect-timeout", "1"];
    let ran = sandbox.run(&[&["replay", "--backend", &backend], &flags[..]].concat()).exits(3);
    assert!(ran.stderr.contains(&format!("{backend}: connecting timed out")), "{}{}", ran.stdout, ran.stderr);
    drop(waiting);
}
