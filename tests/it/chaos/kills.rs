//! `kill -9` at any moment under load: what a client saw to its end is a whole trace, what it saw begin can be recovered; and a
//! cache folder gives the answers of a cold run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyclaude::trace::{self, ExchangeOutcome};
use rand::Rng;
use rand::rngs::StdRng;

use super::line::Line;
use super::run::{Run, name, stream};
use super::scale::Scale;
use crate::support::recorder::files;
use crate::support::upstream::{Answer, Client, Message, REQUEST, Upstream, frames};

/// How many clients ask without a pause.
const CLIENTS: usize = 8;

/// A kill comes within this time.
const LATEST: Duration = Duration::from_millis(300);

/// How the models are called whose answers never end.
const ENDLESS: &str = "endless";

/// Of four kills, one hits a server with a cache folder.
const OF_SERVERS: usize = 4;

pub(super) fn all(scale: &Scale) -> Vec<Line> {
    #[cfg(feature = "mlx")]
    return vec![recorders(scale), servers::killed(scale)];
    #[cfg(not(feature = "mlx"))]
    vec![recorders(scale)]
}

/// A moment within [`LATEST`].
fn moment(random: &mut StdRng) -> Duration {
    LATEST.mul_f64(random.random())
}

/// How much of an answer its client saw before the kill.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Nothing,
    /// The head, and not the end. From then on the exchange must be on the disk.
    Beginning,
    End,
}

fn recorders(scale: &Scale) -> Line {
    let kills = scale.kills - scale.kills / OF_SERVERS;
    let case = format!("kill -9 of the recorder, {kills} times");
    let mut random = scale.random("kill -9 of the recorder");
    let upstream = Upstream::start(|request, answer| match String::from_utf8_lossy(&request.body).contains(ENDLESS) {
        true => endless(answer),
        false => stream(answer),
    });
    let mut run = Run::start(&case, &upstream.url());
    let asked = AtomicUsize::new(0);
    let mut seen = Vec::new();
    for _ in 0..kills {
        seen.extend(seen_until_kill(&run, moment(&mut random), &asked));
        run.recorder.end();
        run.recorder.sandbox.run(&["trace", "recover"]).exits(0);
        run = run.again(&upstream.url());
    }
    let mut line = std::mem::replace(&mut run.line, Line::new(""));
    (line.requests, line.kills) = (asked.into_inner(), kills);
    let recorded = recorded(run.folder(), &mut line);
    for (model, seen) in &seen {
        let (saw, is_kept) = match seen {
            Seen::Nothing => ("no answer", true),
            Seen::Beginning => ("broken off", recorded.contains_key(model)),
            Seen::End => ("whole", recorded.get(model) == Some(&ExchangeOutcome::Complete)),
        };
        line.client.add(saw);
        if !is_kept {
            line.lost += 1;
            line.fault(format!("{model}: {saw} for its client, and {:?} on the disk", recorded.get(model)));
        }
    }
    for saw in ["whole", "broken off"] {
        if line.client.count(saw) == 0 {
            line.fault(format!("no answer was {saw} for its client at a kill"));
        }
    }
    line.next = run.end().next;
    line.allow(&["whole", "broken off", "no answer"], &["complete", "truncated"])
}

/// What the traces say of each exchange, by its model.
fn recorded(folder: &Path, line: &mut Line) -> BTreeMap<String, ExchangeOutcome> {
    let mut recorded = BTreeMap::new();
    for file in files(folder) {
        match trace::read(&file) {
            Ok(trace) => {
                line.trace.add(name(trace.outcome));
                recorded.insert(trace.request.body["model"].as_str().unwrap().to_owned(), trace.outcome);
            }
            Err(error) => line.fault(error.to_string()),
        }
    }
    recorded
}

/// An answer that is never whole.
fn endless(answer: &mut Answer) -> io::Result<()> {
    answer.stream()?;
    frames()[..5].iter().try_for_each(|frame| answer.chunk(frame))?;
    answer.wait_for_close();
    Ok(())
}

/// The models that clients asked until the recorder was killed, and what they saw of the answers. One client has an answer that
/// never ends.
fn seen_until_kill(run: &Run, after: Duration, asked: &AtomicUsize) -> Vec<(String, Seen)> {
    let (seen, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let address = run.address();
    let (seen_by_all, over_for_all) = (&seen, &over);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let kind = if client == 0 { ENDLESS } else { "model" };
                while !over_for_all.load(Ordering::Relaxed) {
                    let model = format!("{kind}-{}", asked.fetch_add(1, Ordering::Relaxed));
                    let answer = try_to_ask(address, &model);
                    seen_by_all.lock().unwrap().push((model, answer.as_ref().map_or(Seen::Nothing, seen_of)));
                    if answer.is_none() {
                        break;
                    }
                }
            });
        }
        thread::sleep(after);
        run.recorder.signal("KILL");
        over.store(true, Ordering::Relaxed);
    });
    seen.into_inner().unwrap()
}

/// The recorder holds the end back until the trace is on the disk.
fn seen_of(answer: &Message) -> Seen {
    match answer.status() {
        200 if answer.text().contains(frames()[11].as_str()) => Seen::End,
        200 => Seen::Beginning,
        _ => Seen::Nothing,
    }
}

/// The answer as far as it came; `None` where nobody listens.
fn try_to_ask(address: &str, model: &str) -> Option<Message> {
    let headers = ["content-type: application/json"];
    let client = Client::try_send(address, "POST", "/v1/messages", &headers, REQUEST.replace("claude-test", model)).ok()?;
    Some(client.answer())
}

#[cfg(feature = "mlx")]
mod servers {
    use super::*;
    use crate::support::MODEL;
    use crate::support::serving::Serving;
    use serde_json::{Value, json};

    /// Conversations with one beginning and an end of their own.
    const CONVERSATIONS: usize = 4;

    fn conversation(number: usize) -> Value {
        json!({
            "model": "m", "max_tokens": 6, "temperature": 0, "system": "You are a helper who reads and writes files. ".repeat(40),
            "messages": [{"role": "user", "content": format!("Read file {number}, then the next one. ").repeat(20)}]
        })
    }

    /// The answer's content; `None` where the server is gone.
    fn content(url: &str, number: usize) -> Option<Value> {
        let client = Client::try_send(url, "POST", "/v1/messages", &[], conversation(number).to_string()).ok()?;
        let answer = client.answer();
        let message: Value = serde_json::from_slice(&answer.body).ok()?;
        answer.whole.then(|| message["content"].clone())
    }

    pub(super) fn killed(scale: &Scale) -> Line {
        let kills = (scale.kills / OF_SERVERS).max(1);
        let mut line = Line::new(&format!("kill -9 of a server with a cache folder, {kills} times"));
        line.kills = kills;
        let mut random = scale.random("kill -9 of a server");
        let cold = Serving::start(MODEL, &["--cache", "0"]);
        let expected: Vec<Value> = (0..CONVERSATIONS).map(|number| content(&cold.url, number).unwrap()).collect();
        drop(cold);
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["--cache-dir", folder.path().to_str().unwrap()];
        for _ in 0..kills {
            let server = Serving::start(MODEL, &arguments);
            let after = moment(&mut random) * 4;
            let url = &server.url.clone();
            let answers = thread::scope(|scope| {
                let asking: Vec<_> = (0..CONVERSATIONS).map(|number| scope.spawn(move || content(url, number))).collect();
                thread::sleep(after);
                drop(server);
                asking.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            });
            for (answer, expected) in answers.into_iter().zip(&expected) {
                line.requests += 1;
                line.client.add(match answer {
                    Some(answer) if answer == *expected => "as a cold server answers",
                    Some(_) => "another answer",
                    None => "no answer",
                });
            }
        }
        let server = Serving::start(MODEL, &arguments);
        let report = crate::support::http::get(&format!("{}/cache", server.url)).json();
        if report["disk"]["dropped"] != 0 {
            line.fault(format!("the cache folder is damaged: {}", report["disk"]));
        }
        line.next = (0..CONVERSATIONS).all(|number| content(&server.url, number).as_ref() == Some(&expected[number]));
        line.allow(&["as a cold server answers", "no answer"], &[])
    }
}
