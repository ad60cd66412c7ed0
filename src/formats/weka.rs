//! Weka's traces of agents: for each session when its requests came, how long prompts and answers are, which blocks of a prompt
//! others have too, and how long the server and the client took. AIPerf and simulators of caches replay them.

use std::collections::HashMap;

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::blocks::Blocks;
use super::exporter::{CountTokens, Exchanges, Exporter, Frame};
use crate::trace::{ExchangeOutcome, Trace, came_at, messages_request, recorded_message};

/// The exporter.
pub(super) struct Weka;

/// Tokens in a block.
const BLOCK: usize = 64;

impl Exporter for Weka {
    fn name(&self) -> &'static str {
        "weka"
    }

    fn title(&self) -> &'static str {
        "Weka's JSONL of agents' sessions: times, lengths and block hashes, no text"
    }

    fn frame(&self) -> Frame {
        Frame::LINES
    }

    fn leaves_out(&self) -> &'static str {
        "have no whole answer in Anthropic's protocol whose tokens were counted and whose end is known"
    }

    fn counts_tokens(&self) -> bool {
        true
    }

    fn begin<'a>(&'a self, tokens: &'a CountTokens<'a>) -> Box<dyn Exchanges + 'a> {
        Box::new(Sessions { tokens, sessions: Vec::new(), known: HashMap::new() })
    }
}

/// The sessions so far, in the order in which they began.
struct Sessions<'a> {
    tokens: &'a CountTokens<'a>,
    sessions: Vec<Session>,
    known: HashMap<String, usize>,
}

struct Session {
    name: String,
    began: OffsetDateTime,
    /// When the last answer ended.
    answered: OffsetDateTime,
    models: Vec<String>,
    blocks: Blocks,
    requests: Vec<Value>,
}

impl Exchanges for Sessions<'_> {
    fn take(&mut self, trace: &Trace) -> Option<Vec<Value>> {
        let request = messages_request(trace)?;
        recorded_message(trace).filter(|_| trace.outcome == ExchangeOutcome::Complete)?;
        let (came, took_us) = (came_at(trace)?, trace.timing.e2e_us?);
        let output = trace.response.body["usage"]["output_tokens"].as_u64()?;
        let prompt = (self.tokens)(&request).filter(|prompt| !prompt.is_empty())?;
        let nth = *self.known.entry(trace.session.clone()).or_insert_with(|| {
            self.sessions.push(Session::new(trace.session.clone(), came));
            self.sessions.len() - 1
        });
        let session = &mut self.sessions[nth];
        let is_streamed = request.stream;
        let mut entry = json!({
            "t": (came - session.began).as_seconds_f64(),
            "type": if is_streamed { "s" } else { "n" },
            "model": request.model,
            "in": prompt.len(),
            "out": output,
            // Numbered from 1 in each session, as its scope is local.
            "hash_ids": session.blocks.numbers(&prompt).into_iter().map(|number| number + 1).collect::<Vec<_>>(),
            "stop": trace.response.body["stop_reason"].as_str().unwrap_or_default(),
            "api_time": took_us as f64 / 1e6,
            "think_time": (came - session.answered).max(Duration::ZERO).as_seconds_f64(),
        });
        if let Some(ttft_us) = trace.timing.ttft_us.filter(|_| is_streamed) {
            entry["ttft"] = json!(ttft_us as f64 / 1e6);
        }
        session.requests.push(entry);
        // Longer than the clock goes on: as the last moment that it knows.
        let took = Duration::microseconds(took_us.try_into().unwrap_or(i64::MAX));
        session.answered = session.answered.max(came.saturating_add(took));
        if !session.models.contains(&request.model) {
            session.models.push(request.model);
        }
        Some(Vec::new())
    }

    fn rest(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.sessions).into_iter().map(Session::into_value).collect()
    }
}

impl Session {
    fn new(name: String, began: OffsetDateTime) -> Self {
        Self { name, began, answered: began, models: Vec::new(), blocks: Blocks::of(BLOCK), requests: Vec::new() }
    }

    fn into_value(self) -> Value {
        json!({
            "id": self.name,
            "models": self.models,
            "block_size": BLOCK,
            "hash_id_scope": "local",
            "requests": self.requests,
        })
    }
}
