//! The conversations of recorded traces. Pure.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::snapshot::{ExchangeId, SnapshotError};
use crate::trace::{Trace, read_messages_request};
use crate::wire::MessagesRequest;

/// What there is to send.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// The conversations, in the order in which they began.
    pub conversations: Vec<Conversation>,
    /// How many traces hold no Messages request that a server takes.
    pub skipped: usize,
}

/// The requests of one conversation. A session has several where the client asked side by side, as its sub-agents do.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// When it began, from the beginning of the recording.
    pub begins: Duration,
    /// Its requests, in order. All copies that are sent share them.
    pub turns: Vec<Arc<Turn>>,
}

/// One request of a conversation.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The trace's name.
    pub id: ExchangeId,
    /// The request, to be answered by at most as many tokens as it was when it was recorded.
    pub request: MessagesRequest,
    /// The time between the end of the answer before and this request; none before the first.
    pub think: Duration,
}

/// A conversation while it is put together.
struct Open {
    begins: OffsetDateTime,
    ends: OffsetDateTime,
    turns: Vec<Arc<Turn>>,
}

impl Workload {
    /// The conversations of these traces, which are given with their paths, those of a session in order.
    ///
    /// # Errors
    /// A trace has a name that cannot be used.
    pub fn of(traces: impl IntoIterator<Item = (PathBuf, Trace)>) -> Result<Self, SnapshotError> {
        let (mut open, mut known, mut skipped): (Vec<Open>, HashMap<Value, usize>, usize) = Default::default();
        for (path, trace) in traces {
            let id = ExchangeId::of_trace(&path, &trace.session)?;
            let (Some(request), Some(begins)) = (request_of(&trace), time_of(&trace)) else {
                skipped += 1;
                continue;
            };
            let ends = begins + Duration::from_micros(trace.timing.e2e_us.unwrap_or(0));
            let key = json!([id.session(), opening(&trace.request.body)]);
            let nth = *known.entry(key).or_insert_with(|| {
                open.push(Open { begins, ends: begins, turns: Vec::new() });
                open.len() - 1
            });
            let conversation = &mut open[nth];
            let think = Duration::try_from(begins - conversation.ends).unwrap_or_default();
            conversation.turns.push(Arc::new(Turn { id, request, think }));
            conversation.ends = conversation.ends.max(ends);
        }
        let first = open.iter().map(|conversation| conversation.begins).min();
        let since_first = |time: OffsetDateTime| first.and_then(|first| (time - first).try_into().ok()).unwrap_or_default();
        let closed = |open: Open| Conversation { begins: since_first(open.begins), turns: open.turns };
        let mut conversations: Vec<_> = open.into_iter().map(closed).collect();
        conversations.sort_by_key(|conversation| conversation.begins);
        Ok(Self { conversations, skipped })
    }

    /// The number of requests.
    pub fn requests(&self) -> usize {
        self.conversations.iter().map(|conversation| conversation.turns.len()).sum()
    }

    /// The same for a backend that is asked for this model, if it is given, and with answers of at most so many tokens.
    pub fn asking_for(mut self, model: Option<&str>, max_tokens: Option<u32>) -> Self {
        for turn in self.conversations.iter_mut().flat_map(|conversation| &mut conversation.turns) {
            // No copy is made: nobody shares them yet.
            let turn = Arc::make_mut(turn);
            if let Some(model) = model {
                model.clone_into(&mut turn.request.model);
            }
            turn.request.max_tokens = turn.request.max_tokens.min(max_tokens.unwrap_or(u32::MAX));
        }
        self
    }
}

/// The request as it is sent: streamed, at temperature 0, with an answer no longer than the recorded one.
fn request_of(trace: &Trace) -> Option<MessagesRequest> {
    if trace.request.method != "POST" || !trace.is_messages() || trace.response.status != 200 {
        return None;
    }
    let mut request = read_messages_request(&trace.request.body).ok()?;
    let recorded = trace.message().map(|message| message.usage.output_tokens).filter(|tokens| *tokens > 0);
    request.max_tokens = request.max_tokens.min(recorded.and_then(|tokens| tokens.try_into().ok()).unwrap_or(u32::MAX)).max(1);
    request.stream = true;
    request.temperature = Some(0.0);
    (request.top_p, request.top_k) = (None, None);
    // With thinking, the Messages API allows no temperature of 0. `context_management` needs a beta header.
    request.extra.shift_remove("thinking");
    request.extra.shift_remove("context_management");
    Some(request)
}

fn time_of(trace: &Trace) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&trace.recorded_at, &Rfc3339).ok()
}

/// What all requests of a conversation have in common: its first message and the names of its tools, without the marks of the
/// cache, which wander.
fn opening(body: &Value) -> Value {
    let tools: Vec<_> = body["tools"].as_array().into_iter().flatten().map(|tool| &tool["name"]).collect();
    let mut first = body["messages"][0].clone();
    for block in first["content"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        block.shift_remove("cache_control");
    }
    json!([first, tools])
}
