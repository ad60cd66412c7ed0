//! The conversations of recorded traces. Pure.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Start;
use super::packed::PackedRequest;
use super::timeline::{Moment, Timeline};
use crate::replay::betas_of;
use crate::snapshot::{ExchangeId, SnapshotError};
use crate::trace::{ExchangeOutcome, Trace, TraceError, came_at, conversation_opening, messages_request, recorded_message};
use crate::wire::{ContentBlock, Message, MessagesRequest};

/// What there is to send.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// The conversations, in the order in which they began.
    pub conversations: Vec<Conversation>,
    /// How long the recording took, to the end of the last answer.
    pub lasts: Duration,
    /// The pauses that were cut.
    pub pauses: CutPauses,
    /// How many answers there are of which nobody knows when they ended.
    pub without_end: usize,
    /// How many traces hold no Messages request that a server takes.
    pub skipped: usize,
    /// The `anthropic-beta` names with which the others were recorded, each once.
    pub betas: Vec<String>,
}

/// The pauses of a recording that were cut to the longest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutPauses {
    /// How many.
    pub count: usize,
    /// How much of them was left out.
    pub left_out: Duration,
}

/// The requests of one conversation. A session has several where the client asked side by side, as its sub-agents do.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// Its requests, in order. All copies that are sent share them.
    pub turns: Vec<Arc<Turn>>,
}

/// One request of a conversation.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The trace's name.
    pub id: ExchangeId,
    /// When it came in the recording.
    pub start: Start,
    /// Whether the recorded answer came whole and has no content, so that one without content is as good.
    pub recorded_without_content: bool,
    request: PackedRequest,
}

/// How the recorded requests are changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    /// The model that all ask for; `None` for the recorded ones.
    pub model: Option<&'a str>,
    /// The longest answer that they ask for, in tokens.
    pub max_tokens: Option<u32>,
}

/// Why traces make no workload.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A trace has a name that cannot be used.
    #[error(transparent)]
    Name(#[from] SnapshotError),
}

/// A request with the moments at which it was recorded.
struct Recorded {
    id: ExchangeId,
    request: PackedRequest,
    without_content: bool,
    begins: Moment,
    /// When its answer ended, if that is known.
    ends: Option<Moment>,
}

impl Workload {
    /// The conversations of these traces, which are given with their paths, those of a session in order. In no pause of theirs is
    /// more time than in the longest one: what is longer is cut. Of each trace only what its request needs stays in memory.
    ///
    /// # Errors
    /// A trace cannot be read, or has a name that cannot be used.
    pub fn of(
        traces: impl IntoIterator<Item = Result<(PathBuf, Trace), TraceError>>,
        changes: Changes,
        longest_pause: Duration,
    ) -> Result<Self, WorkloadError> {
        let (mut recorded, mut known, mut skipped): (Vec<Vec<Recorded>>, HashMap<Value, usize>, usize) = Default::default();
        let mut betas: Vec<String> = Vec::new();
        for trace in traces {
            let (path, trace) = trace?;
            let id = ExchangeId::of_trace(&path, &trace.session)?;
            // Of an answer that broke off, nobody knows how long it would have become.
            let whole = recorded_message(&trace).filter(|_| trace.outcome == ExchangeOutcome::Complete);
            let (Some(request), Some(begins)) = (request_of(&trace, whole.as_ref(), changes), begin_of(&trace)) else {
                skipped += 1;
                continue;
            };
            betas.extend(betas_of(&trace).filter(|beta| !betas.contains(beta)).collect::<Vec<_>>());
            // Recordings in two folders are two, whatever their sessions are called.
            let key = json!([path.parent().map(Path::to_string_lossy), id.session(), conversation_opening(&trace)]);
            let nth = *known.entry(key).or_insert_with(|| {
                recorded.push(Vec::new());
                recorded.len() - 1
            });
            let request = PackedRequest::of(&request, recorded[nth].first().map(|turn| &turn.request));
            let without_content = whole.as_ref().is_some_and(is_without_content);
            recorded[nth].push(Recorded { id, request, without_content, begins, ends: end_of(&trace, begins) });
        }
        let all = || recorded.iter().flatten();
        let without_end = all().filter(|turn| turn.ends.is_none()).count();
        let timeline = Timeline::of(all().map(|turn| (turn.begins, turn.ends.unwrap_or(turn.begins))).collect(), longest_pause);
        let (count, left_out) = timeline.left_out();
        recorded.sort_by_key(|turns| turns.first().map(|turn| turn.begins));
        let conversations = recorded.into_iter().map(|turns| Conversation { turns: planned(turns, &timeline) }).collect();
        let (lasts, pauses) = (timeline.lasts(), CutPauses { count, left_out });
        Ok(Self { conversations, lasts, pauses, without_end, skipped, betas })
    }

    /// The number of requests.
    pub fn requests(&self) -> usize {
        self.conversations.iter().map(|conversation| conversation.turns.len()).sum()
    }
}

impl Turn {
    /// A turn with this request.
    #[cfg(test)]
    pub(super) fn new(id: ExchangeId, request: &MessagesRequest, start: Start) -> Self {
        Self { id, start, recorded_without_content: false, request: PackedRequest::of(request, None) }
    }

    /// The request, to be answered by at most as many tokens as it was when it was recorded, if that answer came whole.
    pub fn request(&self) -> MessagesRequest {
        self.request.get()
    }
}

/// Whether an answer has nothing in it.
fn is_without_content(answer: &Message) -> bool {
    let is_empty = |block: &ContentBlock| matches!(block, ContentBlock::Text { text, .. } if text.is_empty());
    answer.content.iter().all(is_empty)
}

/// The request as it is sent: streamed, at temperature 0, with an answer no longer than the recorded one if that came `whole`.
fn request_of(trace: &Trace, whole: Option<&Message>, changes: Changes) -> Option<MessagesRequest> {
    let mut request = messages_request(trace).filter(|_| trace.response.status == 200)?;
    let recorded = whole.map(|message| message.usage.output_tokens).filter(|tokens| *tokens > 0);
    request.max_tokens = request.max_tokens.min(recorded.and_then(|tokens| tokens.try_into().ok()).unwrap_or(u32::MAX)).max(1);
    request.max_tokens = request.max_tokens.min(changes.max_tokens.unwrap_or(u32::MAX));
    if let Some(model) = changes.model {
        model.clone_into(&mut request.model);
    }
    request.stream = true;
    request.temperature = Some(0.0);
    (request.top_p, request.top_k) = (None, None);
    // With thinking, the Messages API allows no temperature of 0. `context_management` needs a beta header.
    request.extra.shift_remove("thinking");
    request.extra.shift_remove("context_management");
    Some(request)
}

/// The requests of a conversation, each with when it came: the first one at its time, the others after the one before.
fn planned(recorded: Vec<Recorded>, timeline: &Timeline) -> Vec<Arc<Turn>> {
    let mut before: Option<(Moment, Option<Moment>)> = None;
    let turn = |Recorded { id, request, without_content, begins, ends }| {
        let since = |moment: Moment| timeline.at(begins).saturating_sub(timeline.at(moment));
        let start = match before {
            None => Start::At(timeline.at(begins)),
            Some((_, Some(ended))) => Start::AfterAnswer(since(ended)),
            Some((began, None)) => Start::AfterRequest(since(began)),
        };
        before = Some((begins, ends));
        Arc::new(Turn { id, start, recorded_without_content: without_content, request })
    };
    recorded.into_iter().map(turn).collect()
}

fn begin_of(trace: &Trace) -> Option<Moment> {
    Some(came_at(trace)?.unix_timestamp_nanos() / 1000)
}

/// When the answer ended, as far as it came; `None` where the recording does not say, as other tools' files often do not.
fn end_of(trace: &Trace, begins: Moment) -> Option<Moment> {
    let last_event = || trace.response.events.last().map(|event| event.at_us);
    // Events of which nobody knows the times are all at 0.
    let took_us = trace.timing.e2e_us.or_else(last_event).filter(|us| *us > 0)?;
    Some(begins + Moment::from(took_us))
}

#[cfg(test)]
mod tests;
