//! Many requests in a row to the real binary: does one fail, does memory grow? `make soak` runs it.
//!
//! `cargo bench --bench soak -- MODEL TRACES COUNT…`: for each count a server of its own. Of five requests one repeats an earlier
//! one, two continue a recorded conversation, one begins another, and one is left by its client in the middle. Fails where a
//! request does, or where resident memory at the end is over 5% above that after the first 20.
//!
//! `cargo bench --bench soak -- MODEL TRACES --minutes N`: see [`long`].

mod ask;
mod long;
mod serving;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Instant;

use anyclaude::wire::MessagesRequest;
use serde_json::{Value, json};

use ask::{ask, leave};
use serving::Serving;
use support::{Outcome, arguments, cases};

/// Requests until the server is warmed up. The memory that it holds then is the reference.
const WARM: usize = 20;

/// How much resident memory may grow after that.
const GROWTH: f64 = 1.05;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = arguments();
    let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let [model, traces, counts @ ..] = &arguments[..] else {
        return Err("usage: cargo bench --bench soak -- MODEL_FOLDER TRACES (COUNT... | --minutes N)".into());
    };
    let recorded = recorded(traces.as_ref())?;
    let mut sound = true;
    if let [flag, minutes] = counts
        && flag == "--minutes"
    {
        sound = long::soak(model.as_ref(), &recorded, minutes.parse()?).await?;
    } else {
        for count in counts {
            sound &= soak(&Serving::start(model.as_ref(), &[])?, &recorded, count.parse()?).await?;
        }
    }
    if sound { Ok(()) } else { Err("something grew, or a request failed: see above".into()) }
}

/// The recorded requests, short answers asked for.
fn recorded(traces: &Path) -> Outcome<Vec<Value>> {
    let bodies = cases(traces)?.into_iter().map(|case| {
        Ok(serde_json::to_value(MessagesRequest { max_tokens: 8, temperature: None, tool_choice: None, ..case.request })?)
    });
    bodies.collect()
}

/// What a request of the mix is.
fn request(recorded: &[Value], number: usize) -> Value {
    let body = recorded[number * 7 % recorded.len()].clone();
    match number % 5 {
        0 => body,
        1 | 2 | 4 => continued(body, number),
        _ => another(body, number),
    }
}

/// A conversation that goes on with something new.
fn continued(mut body: Value, number: usize) -> Value {
    let said = json!({"role": "user", "content": format!("And what is in file number {number}?")});
    if let Some(messages) = body["messages"].as_array_mut() {
        messages.push(said);
    }
    body
}

/// A conversation under a system prompt of its own, without tools.
fn another(mut body: Value, number: usize) -> Value {
    body["system"] = json!(format!("Session {number}. ").repeat(100));
    body["tools"] = json!([]);
    body
}

/// Whether all went well.
async fn soak(server: &Serving, recorded: &[Value], count: usize) -> Outcome<bool> {
    let client = reqwest::Client::new();
    let (started, mut failed, mut warm) = (Instant::now(), 0, 0.0);
    for number in 0..count {
        let body = request(recorded, number);
        let outcome = if number % 5 == 4 {
            leave(&client, &server.url, &body).await
        } else {
            ask(&client, &server.url, &body).await.map(drop)
        };
        if let Err(error) = outcome {
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
