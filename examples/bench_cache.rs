//! What the prefix cache is worth: `make bench-cache` prints ratios, all measured in one run.
//!
//! Takes a model folder and a folder of traces. Every request is answered as recorded, greedily and briefly.

use std::convert::Infallible;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyclaude::backend::mlx::MlxBackend;
use anyclaude::backend::{Backend, CacheControl};
use anyclaude::engine::{CacheLimits, EngineOptions, Payload, PrefixTree, Segment};
use anyclaude::trace;
use anyclaude::wire::{MessagesRequest, StreamEvent};
use futures::StreamExt;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(model), Some(traces)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench_cache MODEL_FOLDER TRACES".into());
    };
    let requests = requests(&traces)?;
    println!("lookup, 20 conversations of 100,000 tokens: {:?}", lookup_time()?);
    let backend = MlxBackend::load(&model, EngineOptions::default())?;
    one_conversation(&backend, &requests).await?;
    all_traces(&backend, &requests).await?;
    at_once(&backend, &requests).await
}

/// The requests of all traces, greedy, in order.
fn requests(traces: &std::path::Path) -> Outcome<Vec<MessagesRequest>> {
    let mut requests = Vec::new();
    for file in trace::find(&[traces.to_path_buf()])? {
        let mut request: MessagesRequest = serde_json::from_value(trace::read(&file)?.request.body)?;
        request.temperature = Some(0.0);
        request.extra.shift_remove("thinking");
        requests.push(request);
    }
    Ok(requests)
}

/// What a request took.
struct Taken {
    ttft: Duration,
    all: Duration,
    output_tokens: u64,
}

async fn ask(backend: &MlxBackend, request: &MessagesRequest, max_tokens: u32) -> Outcome<Taken> {
    let request = MessagesRequest { max_tokens, ..request.clone() };
    let start = Instant::now();
    let mut taken = Taken { ttft: Duration::ZERO, all: Duration::ZERO, output_tokens: 0 };
    let mut events = backend.messages(request).await?;
    while let Some(event) = events.next().await {
        match event? {
            event if event.is_content() && taken.ttft.is_zero() => taken.ttft = start.elapsed(),
            StreamEvent::MessageDelta { usage, .. } => taken.output_tokens = usage["output_tokens"].as_u64().unwrap_or(0),
            _ => {}
        }
    }
    taken.all = start.elapsed();
    if taken.ttft.is_zero() {
        taken.ttft = taken.all;
    }
    Ok(taken)
}

/// Cold, repeated and continued: the two longest requests that continue each other.
async fn one_conversation(backend: &MlxBackend, requests: &[MessagesRequest]) -> Outcome<()> {
    let continued =
        |pair: &&[MessagesRequest]| pair[1].messages.starts_with(&pair[0].messages[..1]) && pair[1].messages.len() > 1;
    let pair = requests.windows(2).rfind(continued).ok_or("no trace continues another")?;
    backend.clear().await?;
    let cold = ask(backend, &pair[0], 16).await?;
    let step = (cold.all - cold.ttft).div_f64(cold.output_tokens.saturating_sub(1).max(1) as f64);
    let repeat = ask(backend, &pair[0], 1).await?;
    let before = backend.engine().cache_stats();
    let follow_up = ask(backend, &pair[1], 1).await?;
    let after = backend.engine().cache_stats();
    let (tokens, computing) = (after.computed_tokens - before.computed_tokens, after.computing - before.computing);
    let text = {
        let start = Instant::now();
        backend.count_tokens(pair[1].clone()).await?;
        start.elapsed()
    };
    println!("cold TTFT {:?}, one decode step {step:?}, template and tokenizer {text:?}", cold.ttft);
    println!("exact repeat: TTFT {:?}, {:.2}x of a decode step", repeat.ttft, ratio(repeat.ttft, step));
    println!(
        "follow-up with {tokens} new tokens: TTFT {:?}, {:.2}x of computing them ({computing:?})",
        follow_up.ttft,
        ratio(follow_up.ttft, computing)
    );
    Ok(())
}

/// Every trace in turn, from an empty cache.
async fn all_traces(backend: &MlxBackend, requests: &[MessagesRequest]) -> Outcome<()> {
    backend.clear().await?;
    let before = backend.engine().cache_stats();
    for request in requests {
        ask(backend, request, 1).await?;
    }
    let after = backend.engine().cache_stats();
    let (prompts, prompt_tokens) = (requests.len() as u64, after.prompt_tokens - before.prompt_tokens);
    let (hits, saved) = (after.hits - before.hits, after.saved_tokens - before.saved_tokens);
    println!(
        "{prompts} traces: {:.1}% of {prompt_tokens} prompt tokens not computed again, {:.0}% of prompts hit",
        100.0 * saved as f64 / prompt_tokens as f64,
        100.0 * hits as f64 / prompts as f64
    );
    Ok(())
}

/// Four conversations one after another, then at once.
async fn at_once(backend: &MlxBackend, requests: &[MessagesRequest]) -> Outcome<()> {
    let four = &requests[..requests.len().min(4)];
    for request in four {
        ask(backend, request, 1).await?;
    }
    let start = Instant::now();
    let mut tokens = 0;
    for request in four {
        tokens += ask(backend, request, 32).await?.output_tokens;
    }
    let in_turn = tokens as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    let answers = futures::future::join_all(four.iter().map(|request| ask(backend, request, 32))).await;
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

/// A payload that costs nothing: only the tree's own work is timed.
#[derive(Clone)]
struct Nothing;

impl Payload for Nothing {
    type Error = Infallible;

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
