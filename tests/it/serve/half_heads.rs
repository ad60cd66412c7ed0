//! Clients that begin a request and never end its head: the connection is theirs for half a minute only, on every port of ours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyclaude::playback::{Playback, Speed};
use anyclaude::record::{Door, Recorder, RecordingSession, Upstream};
use anyclaude::server::{Server, ServerOptions};
use anyclaude::trace::redact::Redactor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::support::listen;

/// After how long the connection of such a client is closed without an answer. The clock goes on when nothing else does.
async fn closed_after(address: SocketAddr) -> Duration {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let start = Instant::now();
    socket.write_all(b"POST /v1/messages HTTP/1.1\r\nhost: local").await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(3_600), socket.read_to_end(&mut answer)).await;
    assert!(read.is_ok_and(|read| read.is_ok()) && answer.is_empty(), "{answer:?}");
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_server_waits_half_a_minute_for_the_rest_of_a_head() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let nothing = Playback::of([], Redactor::default(), Speed::Max).unwrap();
    let server = Server::new(Arc::new(nothing), ServerOptions::default());
    let after = tokio::select! {
        after = closed_after(address) => after,
        ended = server.run(listener, std::future::pending()) => panic!("{ended:?}"),
    };
    assert_eq!(after.as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_waits_half_a_minute_for_the_rest_of_a_head() {
    let folder = tempfile::tempdir().unwrap();
    let session = RecordingSession::open(folder.path(), "s").unwrap();
    let upstream = Upstream::parse(&listen::nobody()).unwrap();
    let (recorder, _notices) = Recorder::bind(upstream, 0, session, Door::default(), &Redactor::default()).await.unwrap();
    let address = recorder.address().unwrap();
    assert_eq!(recorder.run(closed_after(address)).await.as_secs(), 30);
}
