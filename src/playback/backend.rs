//! The backend that answers with recordings.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, ready};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

use super::canonical::Canonical;
use super::nearest::nearest;
use super::recording::Answer;
use super::{Fault, FaultKind, Speed};
use crate::backend::{Backend, BackendError, EventStream};
use crate::snapshot::{ExchangeId, SnapshotError};
use crate::trace::redact::Redactor;
use crate::trace::{Trace, read_body, read_messages_request};
use crate::wire::{CountTokensRequest, Endpoint, ErrorKind, MessagesRequest, StreamEvent};

/// A backend that answers each request as it was answered when it was recorded, and others with an error.
pub struct Playback {
    recordings: Vec<Recording>,
    /// The recordings of each request, in their order.
    by_key: HashMap<String, Vec<usize>>,
    /// The number of a prompt's tokens, as far as it was recorded.
    counts: HashMap<String, u64>,
    redactor: Redactor,
    speed: Speed,
    faults: Vec<Fault>,
    /// Who answers what was not recorded.
    elsewhere: Option<Arc<dyn Backend>>,
    played: Mutex<Played>,
}

struct Recording {
    id: ExchangeId,
    request: Canonical,
    answer: Arc<Answer>,
}

/// What was asked so far.
#[derive(Default)]
struct Played {
    /// How often each request came.
    times: HashMap<String, usize>,
    /// How many requests for a message came.
    asked: usize,
    answered: usize,
    /// How many requests without a recording were answered elsewhere.
    elsewhere: usize,
    misses: Vec<String>,
}

impl Playback {
    /// The answers of these traces, which are given with their paths, those of a session in order. `redactor`: what the recorder
    /// left out.
    ///
    /// # Errors
    /// A trace has a name that cannot be used.
    pub fn of(
        traces: impl IntoIterator<Item = (PathBuf, Trace)>,
        redactor: Redactor,
        speed: Speed,
    ) -> Result<Self, SnapshotError> {
        let (mut recordings, mut counts) = (Vec::new(), HashMap::new());
        for (path, trace) in traces.into_iter().filter(|(_, trace)| trace.request.method == "POST") {
            let id = ExchangeId::of_trace(&path, &trace.session)?;
            if let Some((prompt, tokens)) = counted(&trace, &redactor) {
                counts.insert(prompt, tokens);
            }
            let request = read_messages_request(&trace.request.body).ok().filter(|_| trace.is_messages());
            let Some((request, answer)) = request.zip(Answer::of(&trace)) else { continue };
            let request = Canonical::of(&request, &redactor);
            if let Some(message) = trace.message() {
                counts.entry(request.prompt_key()).or_insert(message.usage.prompt_tokens());
            }
            recordings.push(Recording { id, request, answer: Arc::new(answer) });
        }
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, recording) in recordings.iter().enumerate() {
            by_key.entry(recording.request.key()).or_default().push(at);
        }
        let (faults, elsewhere, played) = (Vec::new(), None, Mutex::default());
        Ok(Self { recordings, by_key, counts, redactor, speed, faults, elsewhere, played })
    }

    /// The same with another backend for what was not recorded.
    pub fn asking(self, elsewhere: Arc<dyn Backend>) -> Self {
        Self { elsewhere: Some(elsewhere), ..self }
    }

    /// The same with faults.
    pub fn with_faults(self, faults: Vec<Fault>) -> Self {
        Self { faults, ..self }
    }

    /// How many recorded answers there are.
    pub fn recordings(&self) -> usize {
        self.recordings.len()
    }

    /// How many requests were answered as recorded.
    pub fn answered(&self) -> usize {
        self.lock().answered
    }

    /// How many requests without a recording were answered elsewhere.
    pub fn answered_elsewhere(&self) -> usize {
        self.lock().elsewhere
    }

    /// Of each request that no recording has and nobody answered, what it was told.
    pub fn misses(&self) -> Vec<String> {
        self.lock().misses.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Played> {
        // What is in it is whole at any moment.
        self.played.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with the request that comes now.
    fn fault(&self) -> Option<FaultKind> {
        let mut played = self.lock();
        played.asked += 1;
        self.faults.iter().find(|fault| fault.nth == played.asked).map(|fault| fault.kind)
    }

    /// The recorded answer. Of several to the same request each is given once, in their order, and then the last one again.
    fn answer(&self, request: &Canonical) -> Option<Arc<Answer>> {
        let key = request.key();
        let recorded = self.by_key.get(&key)?;
        let mut played = self.lock();
        played.answered += 1;
        let times = played.times.entry(key).or_default();
        let at = recorded[(*times).min(recorded.len() - 1)];
        *times += 1;
        Some(self.recordings[at].answer.clone())
    }

    /// Who answers a request without a recording, if anybody does.
    fn elsewhere(&self) -> Option<&dyn Backend> {
        let backend = self.elsewhere.as_deref()?;
        self.lock().elsewhere += 1;
        Some(backend)
    }

    /// Remembers that a request has no recording, and tells why.
    fn missed(&self, why: String) -> BackendError {
        self.lock().misses.push(why.clone());
        BackendError::new(ErrorKind::InvalidRequest, why)
    }

    /// Which recording a request without one comes nearest to.
    fn nearest(&self, request: &Canonical) -> String {
        let recorded = self.recordings.iter().map(|recording| (&recording.id, &recording.request));
        let nearest = nearest(request, recorded).and_then(|(id, comparison)| Some((id, comparison.first?)));
        nearest.map_or_else(
            || "no recording has this request".to_owned(),
            |(id, first)| format!("no recording has this request; {id} comes nearest and differs first at {first}"),
        )
    }
}

/// The prompt of a count of tokens, and what it came to.
fn counted(trace: &Trace, redactor: &Redactor) -> Option<(String, u64)> {
    let is_count = Endpoint::of_path(&trace.request.path) == Endpoint::CountTokens;
    let tokens = trace.response.body["input_tokens"].as_u64().filter(|_| is_count)?;
    let request: CountTokensRequest = read_body(&trace.request.body).ok()?;
    Some((Canonical::of(&request.into(), redactor).prompt_key(), tokens))
}

impl Backend for Playback {
    fn name(&self) -> String {
        "recordings".into()
    }

    fn model(&self) -> String {
        let model = self.recordings.iter().find_map(|recording| recording.request.0.get("model")?.as_str());
        model.unwrap_or("recordings").to_owned()
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async move {
            let (asked, fault) = (Instant::now(), self.fault());
            // The client sends it again, and then it gets what was recorded.
            if let Some(FaultKind::Status(status)) = fault {
                return Err(Fault::error(status));
            }
            let wanted = Canonical::of(&request, &self.redactor);
            let Some(answer) = self.answer(&wanted) else {
                let Some(backend) = self.elsewhere() else { return Err(self.missed(self.nearest(&wanted))) };
                return backend.messages(request).await;
            };
            match answer.as_ref() {
                Answer::Events(recorded) if fault == Some(FaultKind::Cut) => {
                    let half = events(answer.clone(), asked, self.speed).take(recorded.len().div_ceil(2));
                    Ok(EventStream::new(half.chain(stream::once(ready(Err(Fault::cut()))))))
                }
                Answer::Events(_) => Ok(events(answer, asked, self.speed)),
                Answer::Error { status, body, retry_after, at_us } => {
                    sleep_until(asked + self.speed.at(*at_us)).await;
                    Err(BackendError::Answered { status: *status, body: body.clone(), retry_after: retry_after.clone() })
                }
            }
        })
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        let known = self.counts.get(&Canonical::of(&request, &self.redactor).prompt_key()).copied();
        Box::pin(async move {
            match (known, &self.elsewhere) {
                (Some(tokens), _) => Ok(tokens),
                (None, Some(backend)) => backend.count_tokens(request).await,
                (None, None) => Err(self.missed("no recording says how many tokens this prompt has".to_owned())),
            }
        })
    }
}

/// The events of an answer, each when it is due.
fn events(answer: Arc<Answer>, asked: Instant, speed: Speed) -> EventStream {
    EventStream::new(stream::unfold(0, move |at| {
        let event = match answer.as_ref() {
            Answer::Events(events) => events.get(at).cloned(),
            Answer::Error { .. } => None,
        };
        async move {
            let (at_us, event) = event?;
            sleep_until(asked + speed.at(at_us)).await;
            let event = match event {
                StreamEvent::Error { body } => Err(BackendError::from(body)),
                event => Ok(event),
            };
            Some((event, at + 1))
        }
    }))
}
