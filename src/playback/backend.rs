//! The backend that answers with recordings.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, ready};
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::nearest::nearest;
use super::recording::Answer;
use super::{Fault, FaultKind, Misses, Speed};
use crate::backend::{Backend, BackendError, CacheAccess, EventStream};
use crate::snapshot::{ExchangeId, SnapshotError};
use crate::trace::redact::Redactor;
use crate::trace::{CanonicalRequest, Digest, Trace, messages_request, read_body, recorded_message};
use crate::wire::{CountTokensRequest, Endpoint, ErrorBody, ErrorKind, MessagesRequest, StreamEvent, random_id};

/// The status of a request without a recording. Claude Code sends what was refused with 400 or 422 again and again, each time
/// without something that the server may not know, and takes 404 for a model that is missing. This one it shows, and stops.
const MISSED: u16 = 410;

/// A backend that answers each request as it was answered when it was recorded, and others with an error.
pub struct Playback {
    recordings: Arc<[Recording]>,
    /// How many traces there is nothing to answer with.
    left_out: usize,
    /// The recordings of each request, in their order.
    by_key: HashMap<Digest, Vec<usize>>,
    /// The number of a prompt's tokens, as far as it was recorded.
    counts: HashMap<Digest, u64>,
    redactor: Redactor,
    speed: Speed,
    faults: Vec<Fault>,
    /// Who answers what was not recorded.
    elsewhere: Option<Arc<dyn Backend>>,
    /// What it is called in the `via` of what is asked there.
    via_name: String,
    /// One request at a time is compared with all recordings.
    comparing: Arc<Semaphore>,
    played: Arc<Mutex<Played>>,
}

struct Recording {
    id: ExchangeId,
    request: CanonicalRequest,
    answer: Arc<Answer>,
}

/// What was asked so far.
#[derive(Default)]
struct Played {
    /// How often each request came.
    times: HashMap<Digest, usize>,
    /// How many requests for a message came.
    asked: usize,
    answered: usize,
    /// How many of these answers end in the middle, as they do in the recording.
    cut: usize,
    /// How many requests without a recording were answered elsewhere.
    elsewhere: usize,
    misses: Misses,
    /// The faults whose request had no recorded events to cut.
    nothing_to_cut: Vec<Fault>,
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
        let (mut recordings, mut counts, mut left_out) = (Vec::new(), HashMap::new(), 0);
        for (path, trace) in traces {
            let id = ExchangeId::of_trace(&path, &trace.session)?;
            if let Some((prompt, tokens)) = counted(&trace, &redactor) {
                counts.insert(prompt, tokens);
                continue;
            }
            let Some((request, answer)) = messages_request(&trace).zip(Answer::of(&trace)) else {
                left_out += 1;
                continue;
            };
            let request = canonical(&request, &redactor);
            if let Some(message) = recorded_message(&trace) {
                counts.entry(request.prompt_key()).or_insert(message.usage.prompt_tokens());
            }
            recordings.push(Recording { id, request, answer: Arc::new(answer) });
        }
        let mut by_key: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (at, recording) in recordings.iter().enumerate() {
            by_key.entry(recording.request.key()).or_default().push(at);
        }
        Ok(Self {
            recordings: recordings.into(),
            left_out,
            by_key,
            counts,
            redactor,
            speed,
            faults: Vec::new(),
            elsewhere: None,
            via_name: random_id("anyclaude-"),
            comparing: Arc::new(Semaphore::new(1)),
            played: Arc::default(),
        })
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

    /// How many traces there is nothing to answer with: no answered Messages request, and no count of tokens.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The faults that no request came for, and how many requests came.
    pub fn faults_to_come(&self) -> (Vec<Fault>, usize) {
        let asked = self.lock().asked;
        (self.faults.iter().copied().filter(|fault| fault.nth > asked).collect(), asked)
    }

    /// The faults that did nothing to their request, as it had no recorded events to cut.
    pub fn faults_without_events(&self) -> Vec<Fault> {
        self.lock().nothing_to_cut.clone()
    }

    /// How many of the answers ended in the middle, as they do in the recording.
    pub fn cut(&self) -> usize {
        self.lock().cut
    }

    /// How many requests were answered as recorded.
    pub fn answered(&self) -> usize {
        self.lock().answered
    }

    /// How many requests without a recording were answered elsewhere.
    pub fn answered_elsewhere(&self) -> usize {
        self.lock().elsewhere
    }

    /// The requests that no recording has and nobody answered.
    pub fn misses(&self) -> Misses {
        self.lock().misses.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Played> {
        locked(&self.played)
    }

    /// What goes wrong with the request that comes now.
    fn fault(&self) -> Option<Fault> {
        let mut played = self.lock();
        played.asked += 1;
        self.faults.iter().copied().find(|fault| fault.nth == played.asked)
    }

    /// The recorded answer to a request. Of several to the same request each is given once, in their order, and then the last one
    /// again. One that a fault cuts is still to come: the client sends its request again, and then it gets what was recorded.
    fn answer(&self, request: &CanonicalRequest, fault: Option<Fault>) -> Option<Given> {
        let key = request.key();
        let mut played = self.lock();
        let Some(recorded) = self.by_key.get(&key) else {
            played.nothing_to_cut.extend(fault);
            return None;
        };
        let times = played.times.entry(key).or_default();
        let answer = self.recordings[recorded[(*times).min(recorded.len() - 1)]].answer.clone();
        if let Answer::Events(events) = answer.as_ref()
            && let Some(error) = fault.and_then(|fault| fault.kind.behind_half())
        {
            let half = events.len().div_ceil(2);
            return Some(Given::Half(answer, half, error));
        }
        *times += 1;
        played.nothing_to_cut.extend(fault);
        played.answered += 1;
        played.cut += usize::from(answer.is_cut());
        Some(Given::Whole(answer))
    }

    /// Remembers that a request has no recording, and tells why.
    fn missed(&self, why: String) -> BackendError {
        self.lock().misses.add(why.clone());
        BackendError::Answered { status: MISSED, body: ErrorBody::new(ErrorKind::NotFound, why), retry_after: None }
    }

    /// The request as it is asked elsewhere. One that has come through here already would go round for ever.
    fn sent_on(&self, request: MessagesRequest) -> Result<MessagesRequest, BackendError> {
        const CIRCLE: &str = "no recording has this request, and the server of --on-miss asks this one: give one of them \
                              --on-miss fail";
        match request.via.has(&self.via_name) {
            true => Err(self.missed(CIRCLE.to_owned())),
            false => Ok(MessagesRequest { via: request.via.and(&self.via_name), ..request }),
        }
    }

    /// Counts what came of a request that was asked elsewhere.
    fn asked_elsewhere<T>(&self, result: Result<T, BackendError>) -> Result<T, BackendError> {
        let mut played = self.lock();
        match &result {
            Ok(_) => played.elsewhere += 1,
            Err(error) => played.misses.add(failed_elsewhere(error)),
        }
        result
    }

    /// Which recording a request without one comes nearest to. Recorded answers do not wait for that.
    async fn nearest(&self, request: CanonicalRequest) -> String {
        const NO_RECORDING: &str = "no recording has this request";
        let (recordings, turn) = (self.recordings.clone(), self.comparing.clone().acquire_owned().await);
        let compared = spawn_blocking(move || {
            let _turn = turn;
            let recorded = recordings.iter().map(|recording| (&recording.id, &recording.request));
            let (id, first) = nearest(&request, recorded)?;
            Some(format!("{NO_RECORDING}; {id} comes nearest and differs first at {}", first?))
        });
        compared.await.ok().flatten().unwrap_or_else(|| NO_RECORDING.to_owned())
    }
}

/// What a request is answered with.
enum Given {
    Whole(Arc<Answer>),
    /// So many of its events, and then this error.
    Half(Arc<Answer>, usize, BackendError),
}

fn locked(played: &Mutex<Played>) -> MutexGuard<'_, Played> {
    // What is in it is whole at any moment.
    played.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed_elsewhere(error: &BackendError) -> String {
    format!("no recording has this request, and the server that was asked failed: {error}")
}

/// What of a request counts. Secrets are as recordings have them.
fn canonical(request: &MessagesRequest, redactor: &Redactor) -> CanonicalRequest {
    // Fields of JSON, texts and numbers: writing them cannot fail.
    let mut body = serde_json::to_value(request).unwrap_or_default();
    redactor.json(&mut body);
    CanonicalRequest::of(body)
}

/// The prompt of a count of tokens, and what it came to.
fn counted(trace: &Trace, redactor: &Redactor) -> Option<(Digest, u64)> {
    let is_count = Endpoint::of_path(&trace.request.path) == Endpoint::CountTokens && trace.request.method == "POST";
    let tokens = trace.response.body["input_tokens"].as_u64().filter(|_| is_count)?;
    let request: CountTokensRequest = read_body(&trace.request.body).ok()?;
    Some((canonical(&request.into(), redactor).prompt_key(), tokens))
}

impl Backend for Playback {
    fn name(&self) -> String {
        "recordings".into()
    }

    fn model(&self) -> String {
        let model = self.recordings.iter().find_map(|recording| recording.request.fields().get("model")?.as_str());
        model.unwrap_or("recordings").to_owned()
    }

    fn cache_access(&self) -> CacheAccess {
        CacheAccess::NoCache
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async move {
            let (asked, fault) = (Instant::now(), self.fault());
            // The client sends it again, and then it gets what was recorded.
            if let Some(Fault { kind: FaultKind::Status(status), .. }) = fault {
                return Err(Fault::error(status));
            }
            let wanted = canonical(&request, &self.redactor);
            match (self.answer(&wanted, fault), &self.elsewhere) {
                (Some(Given::Half(answer, half, error)), _) => {
                    let half = events(answer, asked, self.speed).take(half);
                    Ok(EventStream::new(half.chain(stream::once(ready(Err(error))))))
                }
                (Some(Given::Whole(answer)), _) => {
                    if let Answer::Error { status, body, retry_after, at_us } = answer.as_ref() {
                        sleep_until(asked + self.speed.at(*at_us)).await;
                        let (status, body, retry_after) = (*status, body.clone(), retry_after.clone());
                        return Err(BackendError::Answered { status, body, retry_after });
                    }
                    Ok(events(answer, asked, self.speed))
                }
                (None, Some(backend)) => {
                    let request = self.sent_on(request)?;
                    let answer = self.asked_elsewhere(backend.messages(request).await)?;
                    Ok(watched(answer, self.played.clone()))
                }
                (None, None) => Err(self.missed(self.nearest(wanted).await)),
            }
        })
    }

    fn count_tokens(&self, request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        let known = self.counts.get(&canonical(&request, &self.redactor).prompt_key()).copied();
        Box::pin(async move {
            match (known, &self.elsewhere) {
                (Some(tokens), _) => Ok(tokens),
                (None, Some(backend)) => {
                    let request = self.sent_on(request)?;
                    self.asked_elsewhere(backend.count_tokens(request).await)
                }
                (None, None) => Err(self.missed("no recording says how many tokens this prompt has".to_owned())),
            }
        })
    }
}

/// The events from elsewhere. If they end in an error, the request counts as one that nobody answered.
fn watched(events: EventStream, played: Arc<Mutex<Played>>) -> EventStream {
    let loosened = events.loosened.clone();
    let events = events.inspect(move |event| {
        if let Err(error) = event {
            let mut played = locked(&played);
            played.elsewhere -= 1;
            played.misses.add(failed_elsewhere(error));
        }
    });
    EventStream::new(events).with_loosened(loosened)
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
