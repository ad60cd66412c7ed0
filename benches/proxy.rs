//! What the recorder adds to a connection, and how that compares with mitmproxy.
//!
//!     make bench-proxy
//!
//! A mock upstream and a load generator, both in this process, so that one clock stamps an event where it is sent and where it
//! arrives. The streams run once directly, once through `anyclaude record` and, where mitmdump is installed, once through it.
//! First paced (events come at intervals, as from a model), for latency; then unpaced, for throughput.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use async_stream::stream;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::ListenerExt;
use clap::Parser;
use futures::StreamExt;
use hdrhistogram::Histogram;
use reqwest::Client;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Parser)]
struct Args {
    /// Streams at the same time.
    #[arg(long, default_value_t = 32)]
    streams: usize,
    /// Requests of each stream when paced, one after the other.
    #[arg(long, default_value_t = 30)]
    requests: usize,
    /// Events of each answer.
    #[arg(long, default_value_t = 20)]
    events: usize,
    /// Milliseconds between events when paced.
    #[arg(long, default_value_t = 20)]
    pace_ms: u64,
    /// Seconds for which throughput is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// The anyclaude binary. Default: the one built with this bench.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_anyclaude"))]
    anyclaude: PathBuf,
    /// The mitmdump command.
    #[arg(long, default_value = "mitmdump")]
    mitmdump: PathBuf,
    /// What `cargo bench` says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The one clock, in nanoseconds.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now_ns() -> u64 {
    START.elapsed().as_nanos() as u64
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Fallible<()> {
    let args = Args::parse();
    LazyLock::force(&START);
    let upstream = upstream()?;
    let mut results = vec![measure("direct", upstream, &args).await?];

    let folder = tempfile::tempdir()?;
    let (recorder, address) = record(&args, upstream, folder.path()).await?;
    results.push(measure("anyclaude record", address, &args).await?);
    stop(recorder).await;

    match mitmdump(&args, upstream).await {
        Ok((proxy, address)) => {
            results.push(measure("mitmdump", address, &args).await?);
            stop(proxy).await;
        }
        Err(error) => println!("mitmdump is not compared: {error}"),
    }
    print(&args, &results);
    Ok(())
}

/// What was measured through one way.
struct Measured {
    name: &'static str,
    /// Request sent to its arrival at the upstream, nanoseconds.
    request: Histogram<u64>,
    /// Event sent to its arrival at the client, nanoseconds.
    event: Histogram<u64>,
    /// Answers per second, unpaced.
    throughput: f64,
}

async fn measure(name: &'static str, address: SocketAddr, args: &Args) -> Fallible<Measured> {
    let clients = (0..args.streams).map(|_| client()).collect::<Fallible<Vec<_>>>()?;
    // The first connections and the first pages are not what is measured.
    together(&clients, |_, client| one_after_the_other(client, address, 2, args.events, 0)).await?;
    let paced = together(&clients, |stream, client| async move {
        // So that not all events of all streams come at the same moment.
        tokio::time::sleep(Duration::from_micros(stream as u64 * 617)).await;
        one_after_the_other(client, address, args.requests, args.events, args.pace_ms).await
    });
    let (mut request, mut event) = (Histogram::new(3)?, Histogram::new(3)?);
    for (requests, events) in paced.await? {
        request.add(requests)?;
        event.add(events)?;
    }
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let counts = together(&clients, |_, client| async move {
        let mut count = 0;
        while Instant::now() < until {
            ask(client, address, args.events, 0).await?;
            count += 1;
        }
        Ok(count)
    });
    let throughput = counts.await?.into_iter().sum::<u64>() as f64 / args.seconds as f64;
    println!("measured: {name}");
    Ok(Measured { name, request, event, throughput })
}

/// Runs a stream for each client, all at the same time.
async fn together<'a, T: Send, F: Future<Output = Fallible<T>> + Send>(
    clients: &'a [Client],
    run: impl Fn(usize, &'a Client) -> F,
) -> Fallible<Vec<T>> {
    futures::future::try_join_all(clients.iter().enumerate().map(|(stream, client)| run(stream, client))).await
}

/// The latencies of requests on one connection: of the requests, and of the events.
async fn one_after_the_other(
    client: &Client,
    address: SocketAddr,
    requests: usize,
    events: usize,
    pace_ms: u64,
) -> Fallible<(Histogram<u64>, Histogram<u64>)> {
    let (mut to_upstream, mut to_client) = (Histogram::new(3)?, Histogram::new(3)?);
    for _ in 0..requests {
        let sent = now_ns();
        let answer = ask(client, address, events, pace_ms).await?;
        to_upstream.record(answer.request_arrived.saturating_sub(sent))?;
        for (sent, arrived) in answer.events {
            to_client.record(arrived.saturating_sub(sent))?;
        }
    }
    Ok((to_upstream, to_client))
}

/// A client with a connection of its own.
fn client() -> Fallible<Client> {
    Ok(Client::builder().no_proxy().tcp_nodelay(true).build()?)
}

struct Answer {
    request_arrived: u64,
    /// When each event was sent, and when it arrived.
    events: Vec<(u64, u64)>,
}

/// One request, about as large as Claude Code's.
async fn ask(client: &Client, address: SocketAddr, events: usize, pace_ms: u64) -> Fallible<Answer> {
    static BODY: LazyLock<Bytes> = LazyLock::new(|| {
        let system = "You are an agent that edits files. ".repeat(2_000);
        let message = serde_json::json!({"role": "user", "content": "Read hello.txt"});
        let body = serde_json::json!({"model": "m", "max_tokens": 1, "stream": true, "system": system, "messages": [message]});
        Bytes::from(body.to_string())
    });
    let url = format!("http://{address}/v1/messages?events={events}&pace_ms={pace_ms}");
    let request = client.post(url).header(CONTENT_TYPE, "application/json").body(BODY.clone());
    let response = request.send().await?.error_for_status()?;
    let mut body = response.bytes_stream();
    let mut answer = Answer { request_arrived: 0, events: Vec::with_capacity(events) };
    let mut rest = String::new();
    while let Some(bytes) = body.next().await {
        let arrived = now_ns();
        rest.push_str(std::str::from_utf8(&bytes?)?);
        while let Some(end) = rest.find("\n\n") {
            let event: String = rest.drain(..end + 2).collect();
            let number = |name: &str| {
                let value = event.split_once(name)?.1;
                value[..value.find(|c: char| !c.is_ascii_digit())?].parse::<u64>().ok()
            };
            answer.events.extend(number("\"sent_ns\":").map(|sent| (sent, arrived)));
            answer.request_arrived = number("\"arrived_ns\":").unwrap_or(answer.request_arrived);
        }
    }
    if answer.events.len() != events { Err("an answer is not whole".into()) } else { Ok(answer) }
}

#[derive(Deserialize)]
struct Script {
    events: usize,
    pace_ms: u64,
}

/// A server whose events say when they were sent. It has a thread of its own: beside the clients' tasks it would wait for
/// them, but only where no proxy stands between.
fn upstream() -> Fallible<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?.tap_io(|socket| drop(socket.set_nodelay(true)));
            axum::serve(listener, Router::new().route("/v1/messages", post(answer))).await
        })
    });
    Ok(address)
}

async fn answer(Query(script): Query<Script>, _body: Bytes) -> impl IntoResponse {
    let arrived = now_ns();
    let events = stream! {
        let first = format!("event: ping\ndata: {{\"type\":\"ping\",\"arrived_ns\":{arrived}}}\n\n");
        yield Ok::<_, std::convert::Infallible>(Bytes::from(first));
        for _ in 0..script.events {
            if script.pace_ms > 0 {
                tokio::time::sleep(Duration::from_millis(script.pace_ms)).await;
            }
            let delta = "{\"type\":\"text_delta\",\"text\":\"some words \"}";
            let sent = now_ns();
            let data = format!("{{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{delta},\"sent_ns\":{sent}}}");
            yield Ok(Bytes::from(format!("event: content_block_delta\ndata: {data}\n\n")));
        }
    };
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events))
}

/// Starts `anyclaude record`.
async fn record(args: &Args, upstream: SocketAddr, folder: &std::path::Path) -> Fallible<(Child, SocketAddr)> {
    let mut command = Command::new(&args.anyclaude);
    command
        .args(["record", "--port", "0", "--session", "bench", "--upstream", &format!("http://{upstream}"), "--out"])
        .arg(folder);
    let recorder = command.stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let mut recorder = recorder.map_err(|error| format!("{}: {error}", args.anyclaude.display()))?;
    let mut lines = BufReader::new(recorder.stderr.take().ok_or("no standard error")?).lines();
    let line = lines.next_line().await?.unwrap_or_default();
    let address = line.strip_prefix("recording http://").and_then(|rest| rest.split(' ').next()).ok_or(line.clone())?.parse()?;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((recorder, address))
}

/// Starts mitmdump as a reverse proxy that streams.
async fn mitmdump(args: &Args, upstream: SocketAddr) -> Fallible<(Child, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let mut command = Command::new(&args.mitmdump);
    command.args(["--quiet", "--mode", &format!("reverse:http://{upstream}"), "--listen-host", "127.0.0.1"]);
    command.args(["--listen-port", &address.port().to_string(), "--set", "stream_large_bodies=1"]);
    let command = command.stdout(Stdio::null()).kill_on_drop(true);
    let proxy = command.spawn().map_err(|error| format!("{}: {error}", args.mitmdump.display()))?;
    for _ in 0..100 {
        if TcpStream::connect(address).await.is_ok() {
            return Ok((proxy, address));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("it does not listen".into())
}

async fn stop(mut child: Child) {
    // Fails where it has ended already.
    let _ = child.kill().await;
}

fn print(args: &Args, results: &[Measured]) {
    let [direct, proxies @ ..] = results else { return };
    println!(
        "\n{} streams at a time, {} events each; milliseconds, those of proxies beside the direct connection\n",
        args.streams, args.events
    );
    println!("{:18} {:>21} {:>21} {:>12}", "", "request  p50    p99", "event  p50    p99", "answers/s");
    let ms = |times: &Histogram<u64>, quantile: f64| times.value_at_quantile(quantile) as f64 / 1e6;
    let added = |way: &Histogram<u64>, direct: &Histogram<u64>| [0.5, 0.99].map(|q| ms(way, q) - ms(direct, q));
    let line = |way: &Measured, request: [f64; 2], event: [f64; 2]| {
        let ([request_p50, request_p99], [event_p50, event_p99]) = (request, event);
        let (name, throughput) = (way.name, way.throughput);
        println!("{name:18} {request_p50:>13.3} {request_p99:>7.3} {event_p50:>13.3} {event_p99:>7.3} {throughput:>12.0}");
    };
    line(direct, [0.5, 0.99].map(|q| ms(&direct.request, q)), [0.5, 0.99].map(|q| ms(&direct.event, q)));
    for way in proxies {
        line(way, added(&way.request, &direct.request), added(&way.event, &direct.event));
    }
}
