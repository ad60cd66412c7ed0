//! A mix of everything for an hour or less, with a cache folder that is always full.
//!
//! Each hundred requests are the same ones but for a number in their text: repeats, recorded conversations that go on, new ones,
//! follow-ups to answers, sub-agents beside their agent, clients that leave, counts of the tokens of long texts. After the first sixth of the time
//! (ten minutes of an hour) the server is taken to be warm. From then on memory may grow by 5%, the latency of the last hundred
//! may be 10% above that of the first, and descriptors and threads must stay as they were.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::try_join3;
use reqwest::Client;
use serde_json::{Value, json};

use crate::ask::{ask, leave};
use crate::serving::Serving;
use crate::support::Outcome;
use crate::{GROWTH, another, continued};

/// How many requests come before the same ones come again.
const ROUND: usize = 100;

/// How much later the answers of the last round may be.
const SLOWER: f64 = 1.1;

/// The bounds of the prefix cache, so low that both are reached before the server is taken to be warm.
const BOUNDS: [&str; 4] = ["--cache-bytes", "200MB", "--cache-dir-bytes", "100MB"];

/// The bound of the folder, and what one file more may take, in bytes.
const MOST_ON_DISK: u64 = 120_000_000;

/// The length of long texts, in lines of some thirty bytes.
const LINES: usize = 8_000;

/// What the server holds after a round, when nothing is in work.
#[derive(Debug, Clone, Copy)]
struct Held {
    resident: f64,
    descriptors: usize,
    threads: usize,
    on_disk: u64,
}

/// Whether all went well.
pub(crate) async fn soak(model: &Path, recorded: &[Value], minutes: u64) -> Outcome<bool> {
    let folder = tempfile::tempdir()?;
    let flags = [&["--cache-dir", folder.path().to_str().ok_or("a folder's name is no text")?][..], &BOUNDS].concat();
    let server = Serving::start(model, &flags)?;
    // A connection for each request, so that none is open between rounds.
    let client = Client::builder().pool_max_idle_per_host(0).build()?;
    let (started, all) = (Instant::now(), Duration::from_secs(60 * minutes));
    let (mut failed, mut rounds, mut warm, mut last) = (0, 0, None, None);
    while started.elapsed() < all || rounds < 3 {
        let mut times = Vec::new();
        for number in rounds * ROUND..(rounds + 1) * ROUND {
            let begun = Instant::now();
            match one(&client, &server.url, recorded, number).await {
                Ok(()) => times.push(begun.elapsed()),
                Err(error) => {
                    failed += 1;
                    println!("request {number}: {error}");
                }
            }
        }
        rounds += 1;
        let (held, latency) = (held(&client, &server).await?, median(times));
        let minute = started.elapsed().as_secs_f64() / 60.0;
        println!(
            "{:6} requests, {minute:5.1} min: {:.1} MB resident, {} descriptors, {} threads, {:.1} MB on disk, median latency {:.1} ms",
            rounds * ROUND,
            held.resident,
            held.descriptors,
            held.threads,
            held.on_disk as f64 / 1e6,
            latency * 1e3
        );
        if warm.is_none() && started.elapsed() >= all / 6 {
            warm = Some((held, latency));
        }
        last = Some((held, latency));
    }
    let (Some((warm, first)), Some((end, latency))) = (warm, last) else { return Err("too short to tell".into()) };
    println!(
        "{} requests in {:.0} min: {failed} failed; since the server was warm memory {:.3}x, latency {:.3}x, descriptors {} to {}, threads {} to {}",
        rounds * ROUND,
        started.elapsed().as_secs_f64() / 60.0,
        end.resident / warm.resident,
        latency / first,
        warm.descriptors,
        end.descriptors,
        warm.threads,
        end.threads
    );
    let constant = end.descriptors <= warm.descriptors && end.threads <= warm.threads && end.on_disk <= MOST_ON_DISK;
    Ok(failed == 0 && constant && end.resident <= warm.resident * GROWTH && latency <= first * SLOWER)
}

async fn held(client: &Client, server: &Serving) -> Outcome<Held> {
    let cache: Value = client.get(format!("{}/cache", server.url)).send().await?.json().await?;
    // The connections of those that left may still be open.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (descriptors, threads) = server.descriptors_and_threads().unwrap_or_default();
    let resident = cache["memory"]["rss_bytes"].as_f64().unwrap_or(0.0) / 1e6;
    Ok(Held { resident, descriptors, threads, on_disk: cache["disk"]["bytes"].as_u64().unwrap_or(0) })
}

/// In seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64)
}

/// One step of the mix, whose kind and text depend on its place in the round, and the number in it on nothing else.
async fn one(client: &Client, url: &str, recorded: &[Value], number: usize) -> Outcome<()> {
    let body = recorded[number % ROUND * 7 % recorded.len()].clone();
    match number % 10 {
        0 => ask(client, url, &body).await.map(drop),
        3 => ask(client, url, &another(body, number)).await.map(drop),
        4 => leave(client, url, &continued(body, number)).await,
        5 => follow_up(client, url, continued(body, number)).await,
        6 => {
            let agent = continued(body, number);
            try_join3(ask(client, url, &agent), ask(client, url, &sub_agent(number, 1)), ask(client, url, &sub_agent(number, 2)))
                .await
                .map(drop)
        }
        7 => count(client, url, &with_long_text(body, number)).await,
        _ => ask(client, url, &continued(body, number)).await.map(drop),
    }
}

/// The answer becomes part of the conversation.
async fn follow_up(client: &Client, url: &str, mut body: Value) -> Outcome<()> {
    let answer = ask(client, url, &body).await?;
    let text = answer.iter().find_map(|block| match block {
        anyclaude::wire::ContentBlock::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let messages = body["messages"].as_array_mut().ok_or("no messages")?;
    messages
        .push(json!({"role": "assistant", "content": text.filter(|text| !text.trim().is_empty()).unwrap_or("Yes.").trim_end()}));
    messages.push(json!({"role": "user", "content": "Go on, please."}));
    ask(client, url, &body).await.map(drop)
}

/// All sub-agents share their system prompt.
fn sub_agent(number: usize, agent: usize) -> Value {
    json!({
        "model": "m", "max_tokens": 8, "stream": true, "system": "You are a sub-agent that searches files. ".repeat(100),
        "messages": [{"role": "user", "content": format!("Search for number {number}, part {agent}.")}]
    })
}

/// A conversation that goes on with a long text. What is kept of such texts reaches its bounds before the server is taken to be
/// warm.
fn with_long_text(mut body: Value, number: usize) -> Value {
    let text = format!("A line of file number {number}.\n").repeat(LINES);
    if let Some(messages) = body["messages"].as_array_mut() {
        messages.push(json!({"role": "user", "content": text}));
    }
    body
}

async fn count(client: &Client, url: &str, body: &Value) -> Outcome<()> {
    let fields = ["model", "messages", "system", "tools"].map(|name| (name.to_owned(), body[name].clone()));
    let body: serde_json::Map<String, Value> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let response = client.post(format!("{url}/v1/messages/count_tokens")).json(&body).send().await?.error_for_status()?;
    let counted: Value = response.json().await?;
    if counted["input_tokens"].as_u64() > Some(0) { Ok(()) } else { Err(format!("counted {counted}").into()) }
}
