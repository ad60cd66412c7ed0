//! What the prefix cache is worth: `make bench-cache` prints ratios, all measured in one run, through real HTTP.
//!
//! Takes a model folder and a folder of traces. Every request is answered as recorded, greedily and briefly.

mod support;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyclaude::backend::CacheControl;
use anyclaude::backend::mlx::MlxBackend;
use anyclaude::engine::{CacheLimits, CacheStats, DiskOptions, EngineOptions, Payload, PrefixTree, Segment};
use anyclaude::server::{Server, ServerOptions};
use anyclaude::wire::{Content, ContentBlock, MessagesRequest, ToolChoice};
use futures::StreamExt;
use support::{Outcome, arguments, cases};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What is said anew: about as much as a short tool result.
const FOLLOW_UP: &str = "And now read the next file, tell me what it says and whether it is like the one before. If it is not, \
    say what is different, line by line, and which of the two should stay. Do not change either of them before I have seen your \
    answer. If there is no such file, look in the folder above it and tell me what is there instead, with the names of all files.";

/// Number of rounds. A round measures every figure of one conversation once; the median over the rounds is reported.
const ROUNDS: u32 = 11;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = arguments();
    let [model, traces] = &arguments[..] else {
        return Err("usage: cargo bench --bench cache -- MODEL_FOLDER TRACES".into());
    };
    let (model, sessions) = (Path::new(model), sessions(traces.as_ref())?);
    println!("lookup, 20 conversations of 100,000 tokens: {:?}", lookup_time()?);
    let folder = tempfile::tempdir()?;
    let mut served = Served::start(model, folder.path()).await?;
    served.ask(another(&sessions)?, 1).await?;
    let repeat = one_conversation(&served, &sessions).await?;
    served.stop().await?;
    served = Served::start(model, folder.path()).await?;
    after_restart(&served, &sessions, repeat).await?;
    all_sessions(&served, &sessions).await?;
    at_once(&served, &sessions).await?;
    served.stop().await
}

/// The requests of all traces, by session and in order. Answered in text: of a call nothing can be shown before the tool's name
/// is known, some tokens later.
fn sessions(traces: &Path) -> Outcome<Vec<Vec<MessagesRequest>>> {
    let cases = cases(traces)?;
    let sessions = cases.chunk_by(|a, b| a.trace.parent() == b.trace.parent()).map(|cases| {
        cases.iter().map(|case| MessagesRequest { tool_choice: Some(ToolChoice::None), ..case.request.clone() }).collect()
    });
    Ok(sessions.collect())
}

/// The model behind a real socket, its cache on disk too.
struct Served {
    backend: Arc<MlxBackend>,
    client: reqwest::Client,
    url: String,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

/// What a request took.
struct Taken {
    ttft: Duration,
    all: Duration,
    output_tokens: u64,
    cached_tokens: u64,
}

impl Served {
    async fn start(model: &Path, cache_dir: &Path) -> Outcome<Self> {
        let disk = Some(DiskOptions { folder: cache_dir.into(), bytes: u64::MAX });
        let backend = Arc::new(MlxBackend::load(model, EngineOptions { disk, ..EngineOptions::default() })?);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::new(backend.clone(), ServerOptions::default());
        let stopped = async { drop(stopped.await) };
        let server = tokio::spawn(async move { server.run(listener, stopped).await });
        Ok(Self { backend, client: reqwest::Client::new(), url, stop, server })
    }

    /// Returns when everything is on the disk.
    async fn stop(self) -> Outcome<()> {
        drop((self.stop, self.client));
        self.server.await??;
        drop(self.backend);
        Ok(())
    }

    /// Sends a request with this `max_tokens`, and reads the answer as a client does.
    async fn ask(&self, request: &MessagesRequest, max_tokens: u32) -> Outcome<Taken> {
        let body = serde_json::to_vec(&MessagesRequest { max_tokens, ..request.clone() })?;
        let start = Instant::now();
        let response = self.client.post(format!("{}/v1/messages", self.url)).body(body).send().await?.error_for_status()?;
        let (mut bytes, mut text, mut ttft) = (response.bytes_stream(), Vec::new(), None);
        while let Some(part) = bytes.next().await {
            text.extend_from_slice(&part?);
            // The first content, or the end of an answer without any.
            let content = [&b"event: content_block_start"[..], b"event: message_delta"];
            if ttft.is_none() && content.iter().any(|event| text.windows(event.len()).any(|window| window == *event)) {
                ttft = Some(start.elapsed());
            }
        }
        let all = start.elapsed();
        let text = String::from_utf8(text)?;
        let number = |name: &str| {
            let (_, rest) = text.rsplit_once(&format!("\"{name}\":"))?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let (output_tokens, cached_tokens) = (number("output_tokens"), number("cache_read_input_tokens"));
        Ok(Taken {
            ttft: ttft.ok_or("the answer ended early")?,
            all,
            output_tokens: output_tokens.ok_or("no usage")?,
            cached_tokens: cached_tokens.ok_or("no usage")?,
        })
    }

    /// How long the server takes to say nothing much.
    async fn round_trip(&self) -> Outcome<Duration> {
        let start = Instant::now();
        self.client.get(format!("{}/health", self.url)).send().await?.error_for_status()?.bytes().await?;
        Ok(start.elapsed())
    }
}

/// The longest conversation of the traces: its last request but one, and its last.
fn longest(sessions: &[Vec<MessagesRequest>]) -> Outcome<(&MessagesRequest, &MessagesRequest)> {
    match sessions.iter().max_by_key(|requests| requests.len()).map(Vec::as_slice) {
        Some([.., before, last]) => Ok((before, last)),
        _ => Err("no trace continues another".into()),
    }
}

/// The first request of another conversation.
fn another(sessions: &[Vec<MessagesRequest>]) -> Outcome<&MessagesRequest> {
    let longest = longest(sessions)?.0;
    let others = sessions.iter().filter(|requests| !requests.iter().any(|request| std::ptr::eq(request, longest)));
    Ok(others.filter_map(|requests| requests.first()).next().ok_or("there is only one conversation")?)
}

/// The request with something else said at its end.
fn ending_with(request: &MessagesRequest, text: &str) -> MessagesRequest {
    let mut request = request.clone();
    if let Some(last) = request.messages.last_mut() {
        match &mut last.content {
            Content::Text(said) => said.push_str(text),
            Content::Blocks(blocks) => blocks.push(ContentBlock::text(text)),
        }
    }
    request
}

/// Cold, repeated and continued. Gives the TTFT of an exact repeat.
async fn one_conversation(served: &Served, sessions: &[Vec<MessagesRequest>]) -> Outcome<Duration> {
    let (before, last) = longest(sessions)?;
    let cold = served.ask(before, 16).await?;
    let [mut trips, mut steps, mut repeats, mut follow_ups, mut computing] = [const { Vec::new() }; 5];
    let mut tokens = 0;
    for round in 0..ROUNDS {
        trips.push(served.round_trip().await?);
        // With room for one more token there is nothing to draft: it takes one step.
        let [one, two] = [served.ask(before, 1).await?, served.ask(before, 2).await?];
        if two.output_tokens < 2 {
            return Err("the answer has one token only".into());
        }
        steps.push(two.all.saturating_sub(one.all));
        repeats.push(one.ttft);
        let earlier = served.backend.engine().cache_stats();
        follow_ups.push(served.ask(&ending_with(last, &format!("{round}: {FOLLOW_UP}")), 1).await?.ttft);
        let now = served.backend.engine().cache_stats();
        computing.push(now.computing - earlier.computing);
        // The last one's step gives the answer's first token: it is not counted there.
        tokens = now.computed_tokens - earlier.computed_tokens + 1;
    }
    let [trip, step, repeat, follow_up, computing] = [trips, steps, repeats, follow_ups, computing].map(median);
    println!("cold TTFT {:?}; decode step {step:?}, HTTP round trip {trip:?} (medians of {ROUNDS})", cold.ttft);
    println!("exact repeat: TTFT {repeat:?}, {:.2}x of a decode step and the round trip", ratio(repeat, step + trip));
    let computing = computing + step;
    println!(
        "follow-up with {tokens} new tokens: TTFT {follow_up:?}, {:.2}x of computing them ({computing:?}, a step for the last)",
        ratio(follow_up, computing)
    );
    Ok(repeat)
}

/// Waits until nothing more is read ahead from disk.
async fn settled(served: &Served) {
    while served.backend.engine().is_reading_ahead() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Both conversations asked of another process, which has read them from the disk ahead.
async fn after_restart(served: &Served, sessions: &[Vec<MessagesRequest>], repeat: Duration) -> Outcome<()> {
    let (before, _) = longest(sessions)?;
    // Its own first request: what a process does once is not the disk's.
    served
        .ask(&MessagesRequest { messages: vec![before.messages[0].clone()], tools: vec![], system: None, ..before.clone() }, 1)
        .await?;
    settled(served).await;
    for (which, request) in [("the conversation used last", before), ("another one", another(sessions)?)] {
        let taken = served.ask(request, 1).await?;
        println!(
            "some time after a restart, {which}: TTFT {:?} with {} tokens known, {:.2}x of the exact repeat",
            taken.ttft,
            taken.cached_tokens,
            ratio(taken.ttft, repeat)
        );
    }
    let disk = served.backend.engine().cache_stats().disk.unwrap_or_default();
    println!("on disk: {} files, {:.1} MB; read {} tokens of them", disk.entries, disk.bytes as f64 / 1e6, disk.tokens);
    Ok(())
}

/// Every session in turn, from an empty cache. What counts is the sessions of several turns: one that asks once has nothing to
/// continue.
async fn all_sessions(served: &Served, sessions: &[Vec<MessagesRequest>]) -> Outcome<()> {
    served.backend.clear().await?;
    let stats = || served.backend.engine().cache_stats();
    // Prompt tokens, and those of them that were known.
    let tokens =
        |from: &CacheStats, to: &CacheStats| [to.prompt_tokens - from.prompt_tokens, to.saved_tokens - from.saved_tokens];
    let share = |[all, part]: [u64; 2]| 100.0 * part as f64 / all.max(1) as f64;
    let (start, mut several) = (stats(), [0, 0]);
    for session in sessions {
        let before = stats();
        for request in session {
            served.ask(request, 1).await?;
        }
        if session.len() > 1 {
            let [all, known] = tokens(&before, &stats());
            several = [several[0] + all, several[1] + known];
        }
    }
    let end = stats();
    let prompts: usize = sessions.iter().map(Vec::len).sum();
    println!(
        "{} sessions, {prompts} prompts from an empty cache: {:.0}% hit",
        sessions.len(),
        share([prompts as u64, end.hits - start.hits])
    );
    println!(
        "prompt tokens not computed again: {:.1}% in sessions of several turns, {:.1}% in all",
        share(several),
        share(tokens(&start, &end))
    );
    Ok(())
}

/// Four conversations one after another, then at once.
async fn at_once(served: &Served, sessions: &[Vec<MessagesRequest>]) -> Outcome<()> {
    let four: Vec<_> = sessions.iter().filter_map(|session| session.first()).take(4).collect();
    for request in &four {
        served.ask(request, 1).await?;
    }
    let start = Instant::now();
    let mut tokens = 0;
    for request in &four {
        tokens += served.ask(request, 32).await?.output_tokens;
    }
    let in_turn = tokens as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let answers = futures::future::join_all(four.iter().map(|request| served.ask(request, 32))).await;
    let tokens: u64 = answers.into_iter().map(|taken| taken.map_or(0, |taken| taken.output_tokens)).sum();
    let at_once = tokens as f64 / start.elapsed().as_secs_f64();
    println!(
        "four cached conversations: {in_turn:.0} tokens/s one after another, {at_once:.0} at once ({:.2}x)",
        at_once / in_turn
    );
    Ok(())
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-9)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A payload that costs nothing: only the tree's own work is timed.
#[derive(Clone)]
struct Nothing;

impl Payload for Nothing {
    type CopyError = Infallible;

    fn bytes(&self) -> usize {
        1
    }

    fn first(&self, _: usize) -> Result<Self, Infallible> {
        Ok(Self)
    }

    fn split(&self, _: usize) -> Result<(Self, Self), Infallible> {
        Ok((Self, Self))
    }

    fn join(&self, _: &Self) -> Result<Self, Infallible> {
        Ok(Self)
    }
}

/// The mean time to look up a known prompt of 100,000 tokens among 20 that share the first half.
fn lookup_time() -> Outcome<Duration> {
    let mut tree = PrefixTree::new(CacheLimits::default(), 512);
    let conversation =
        |own: u32| (0..100_000u32).map(|at| if at < 50_000 { at % 1000 } else { at * own % 5000 }).collect::<Vec<_>>();
    let conversations: Vec<_> = (1..=20).map(conversation).collect();
    for tokens in &conversations {
        let segments: Vec<_> = tokens.chunks(512).map(|run| Segment { tokens: run.len(), payload: Nothing }).collect();
        tree.insert(tokens, &segments)?;
    }
    let start = Instant::now();
    for tokens in &conversations {
        let found: usize = tree.lookup(tokens)?.iter().map(|segment| segment.tokens).sum();
        assert_eq!(found, tokens.len());
    }
    Ok(start.elapsed() / conversations.len() as u32)
}
