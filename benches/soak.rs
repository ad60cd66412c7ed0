//! Many requests in a row to the real binary: does one fail, does memory grow? `make soak` runs it.
//!
//! `cargo bench --bench soak -- MODEL TRACES COUNT…`: for each count a server of its own. Of five requests one repeats an earlier
//! one, two continue a recorded conversation, one begins another, and one is left by its client in the middle. Fails where a
//! request does, or where resident memory at the end is over 5% above that after the first 20.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyclaude::wire::MessagesRequest;
use futures::StreamExt;
use serde_json::{Value, json};
use support::{Outcome, arguments, cases};

/// Requests until the server is warmed up. The memory that it holds then is the reference.
const WARM: usize = 20;

/// How much resident memory may grow after that.
const GROWTH: f64 = 1.05;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = arguments();
    let [model, traces, counts @ ..] = &arguments[..] else {
        return Err("usage: cargo bench --bench soak -- MODEL_FOLDER TRACES COUNT...".into());
    };
    let recorded = recorded(traces.as_ref())?;
    let mut sound = true;
    for count in counts {
        let count = count.to_string_lossy().parse()?;
        sound &= soak(&Serving::start(model.as_ref())?, &recorded, count).await?;
    }
    if sound { Ok(()) } else { Err("memory grew, or a request failed: see above".into()) }
}

/// The recorded requests, short answers asked for.
fn recorded(traces: &Path) -> Outcome<Vec<Value>> {
    let bodies = cases(traces)?.into_iter().map(|case| {
        Ok(serde_json::to_value(MessagesRequest { max_tokens: 8, temperature: None, tool_choice: None, ..case.request })?)
    });
    bodies.collect()
}

/// A server of its own, killed when dropped.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn start(model: &Path) -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anyclaude"));
        command.args(["serve", "--port", "0", "--warm", "0", "--model"]).arg(model).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let mut serving = Self { child, url: String::new() };
        let mut lines = BufReader::new(stderr).lines();
        for line in &mut lines {
            if let Some(url) = line?.strip_prefix("listening on ") {
                serving.url = url.to_owned();
                // A pipe that nobody reads would stop it some day.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(serving);
            }
        }
        Err("the server ended".into())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a request of the mix is.
fn request(recorded: &[Value], number: usize) -> Value {
    let mut body = recorded[number * 7 % recorded.len()].clone();
    match number % 5 {
        0 => {}
        1 | 2 | 4 => {
            let said = json!({"role": "user", "content": format!("And what is in file number {number}?")});
            if let Some(messages) = body["messages"].as_array_mut() {
                messages.push(said);
            }
        }
        _ => {
            body["system"] = json!(format!("Session {number}. ").repeat(100));
            body["tools"] = json!([]);
        }
    }
    body
}

/// Whether all went well.
async fn soak(server: &Serving, recorded: &[Value], count: usize) -> Outcome<bool> {
    let client = reqwest::Client::new();
    let (started, mut failed, mut warm) = (Instant::now(), 0, 0.0);
    for number in 0..count {
        if let Err(error) = ask(&client, server, &request(recorded, number), number % 5 == 4).await {
            failed += 1;
            println!("request {number}: {error}");
        }
        let report = (number + 1) % count.div_ceil(10).max(WARM) == 0 || number + 1 == WARM || number + 1 == count;
        if !report {
            continue;
        }
        let cache: Value = client.get(format!("{}/cache", server.url)).send().await?.json().await?;
        let mb = |value: &Value| value.as_f64().unwrap_or(0.0) / 1e6;
        let memory = &cache["memory"];
        let resident = mb(&memory["rss_bytes"]);
        if number + 1 == WARM {
            warm = resident;
        }
        println!(
            "{:5} of {count}: {resident:.1} MB resident; MLX {:.1} MB in use, {:.1} MB ready; prefix cache {:.1} MB; {:.0} s",
            number + 1,
            mb(&memory["active_bytes"]),
            mb(&memory["cache_bytes"]),
            mb(&cache["bytes"]),
            started.elapsed().as_secs_f64()
        );
        if number + 1 == count {
            let sound = failed == 0 && resident <= warm * GROWTH;
            println!("{count} requests: {failed} failed, memory {:.3}x of that after {WARM}", resident / warm);
            return Ok(sound);
        }
    }
    Ok(failed == 0)
}

/// Asks, and reads the answer to its end or leaves after its first part.
async fn ask(client: &reqwest::Client, server: &Serving, body: &Value, leave: bool) -> Outcome<()> {
    let response = client.post(format!("{}/v1/messages", server.url)).json(body).send().await?;
    let status = response.status();
    let mut parts = response.bytes_stream();
    let mut text = Vec::new();
    while let Some(part) = parts.next().await {
        text.extend_from_slice(&part?);
        if leave && status.is_success() {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&text);
    let whole = status.is_success() && text.contains("event: message_stop");
    if whole { Ok(()) } else { Err(format!("{status}: {}", text.chars().take(300).collect::<String>()).into()) }
}
