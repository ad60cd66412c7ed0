//! Sending the requests: creates each state of the cache, sends, times. Knows nothing of snapshots.

use futures::StreamExt;
use tokio::time::Instant;

use super::clock::Clock;
use super::prompt::{least_output, other_conversation};
use super::retry::Retries;
use super::{Failure, Measurement, Phase, PhaseFailure, ReplayCase, ReplayStep, check};
use crate::backend::{Backend, BackendError, CacheAccess, CacheControl, EventStream, JudgeAnswers, Protocol};
use crate::snapshot::Outcome;
use crate::trace::CallEnd;
use crate::trace::redact::Redactor;
use crate::trace::validate::MessagesStream;
use crate::wire::{AssembleError, Assembler, ContentBlock, Message, MessagesRequest, StreamEvent};

/// Sends the requests of cases to one backend.
pub struct Driver<'a> {
    backend: &'a dyn Backend,
    retries: Retries,
}

/// How the driver creates the states of the cache.
#[derive(Clone, Copy)]
pub enum StateControl<'a> {
    /// By clearing and priming the backend's cache.
    Cache(&'a dyn CacheControl),
    /// By changing the prompt, for backends without cache control: a unique salt at its start makes it cold, and sending another
    /// conversation with the same salt makes it warm.
    Salt,
    /// Not at all: the backend answers with recordings. It has no cache, and knows only requests as they were recorded.
    NoCache,
}

/// A generous bound on the tokens that a chat template puts before the system prompt. They come before the salt and stay cached.
const BEFORE_THE_SALT: u64 = 32;

impl StateControl<'_> {
    /// The most tokens that a cold request may read from the cache.
    pub(super) fn cold_limit(self) -> u64 {
        match self {
            Self::Cache(_) | Self::NoCache => 0,
            Self::Salt => BEFORE_THE_SALT,
        }
    }

    /// The phases that did not happen. Without a cache none is meant to: the figures are those of another server.
    pub(super) fn phase_failures(self, measurements: &[Measurement]) -> Vec<PhaseFailure> {
        match self {
            Self::Cache(_) | Self::Salt => check(measurements, self.cold_limit()),
            Self::NoCache => Vec::new(),
        }
    }
}

impl<'a> Driver<'a> {
    /// A driver of this backend, which sends a request again up to `retries` times while the backend is busy.
    pub fn new(backend: &'a dyn Backend, retries: u32) -> Self {
        Self { backend, retries: Retries::new(retries) }
    }

    /// How states are created on this backend.
    pub fn state_control(&self) -> StateControl<'a> {
        match self.backend.cache() {
            Some(cache) => StateControl::Cache(cache),
            None if self.backend.cache_access() == CacheAccess::NoCache => StateControl::NoCache,
            None => StateControl::Salt,
        }
    }

    /// How sure the backend's model is of an answer, if it can tell.
    pub(super) fn judge(&self) -> Option<&'a dyn JudgeAnswers> {
        self.backend.judge()
    }

    /// Takes the steps for one case. Each measurement is pushed to `measurements` as soon as it is finished, so that a caller who
    /// drops the future in the middle still has it. `on_measure` is called before each.
    pub async fn run(
        &self,
        case: &ReplayCase,
        steps: &[ReplayStep],
        measurements: &mut Vec<Measurement>,
        on_measure: &(dyn Fn(Phase) + Sync),
    ) -> Result<(), Failure> {
        let control = self.state_control();
        let mut salt: Option<String> = None;
        for step in steps {
            let request = match control {
                StateControl::NoCache => case.request_as_recorded(),
                StateControl::Cache(_) | StateControl::Salt => case.request(salt.as_deref()),
            };
            match (*step, control) {
                (ReplayStep::Clear, StateControl::Cache(cache)) => {
                    self.retries.run(async || cache.clear().await.map_err(Failure::before)).await?
                }
                (ReplayStep::Clear, StateControl::Salt) => salt = Some(new_salt()),
                (ReplayStep::Clear | ReplayStep::Prime, StateControl::NoCache) => {}
                (ReplayStep::Prime, StateControl::Cache(cache)) => {
                    self.retries.run(async || cache.keep_shared_prefix(request.clone()).await.map_err(Failure::before)).await?
                }
                (ReplayStep::Prime, StateControl::Salt) => {
                    let fresh = salt.insert(new_salt());
                    self.send_untimed(other_conversation(case.request(Some(fresh)))).await?;
                }
                (ReplayStep::Fill, _) => self.send_untimed(least_output(request)).await?,
                (ReplayStep::Measure { phase, repeat }, _) => {
                    on_measure(phase);
                    measurements.push(self.measure(request, phase, repeat).await?);
                }
            }
        }
        Ok(())
    }

    /// What comes of a case's request where no tool is forced.
    pub(super) async fn free_outcome(&self, case: &ReplayCase) -> Result<Outcome, Failure> {
        self.outcome(match self.state_control() {
            StateControl::NoCache => case.request_as_recorded(),
            StateControl::Cache(_) | StateControl::Salt => case.free_request(),
        })
        .await
    }

    /// What comes of a request that nobody times.
    pub(super) async fn outcome(&self, request: MessagesRequest) -> Result<Outcome, Failure> {
        let attempt = async || self.measure_once(request.clone(), Phase::Cached, 1).await;
        Ok(self.retries.run(attempt).await?.outcome)
    }

    /// The answer to one request, sent once whatever the cache holds. Its phase means nothing.
    pub(crate) async fn timed(&self, request: MessagesRequest) -> Result<Measurement, Failure> {
        self.measure_once(request, Phase::Cached, 1).await
    }

    /// How often requests were sent again since the last measurement.
    pub(super) fn retries_since_measuring(&self) -> u32 {
        self.retries.take()
    }

    async fn send_untimed(&self, request: MessagesRequest) -> Result<(), Failure> {
        let attempt = async || {
            let mut events = self.backend.messages(request.clone()).await.map_err(Failure::before)?;
            while let Some(event) = next(&mut events).await? {
                if event == StreamEvent::MessageStop {
                    break;
                }
            }
            Ok(())
        };
        self.retries.run(attempt).await
    }

    async fn measure(&self, request: MessagesRequest, phase: Phase, repeat: u32) -> Result<Measurement, Failure> {
        let attempt = async || self.measure_once(request.clone(), phase, repeat).await;
        let measured = self.retries.run(attempt).await?;
        Ok(Measurement { retries: self.retries.take(), ..measured })
    }

    async fn measure_once(&self, request: MessagesRequest, phase: Phase, repeat: u32) -> Result<Measurement, Failure> {
        let (mut clock, mut assembler, mut judge) = (Clock::default(), Assembler::default(), MessagesStream::default());
        let sent = Instant::now();
        let mut events = self.backend.messages(request).await.map_err(Failure::before)?;
        while let Some(event) = next(&mut events).await? {
            // 64 bits of microseconds last for half a million years.
            clock.event(sent.elapsed().as_micros() as u64, &event);
            // Cannot fail: every field is a string, a number or a map with string keys.
            let data = serde_json::to_value(&event).unwrap_or_default();
            judge.event(event.name(), &data).map_err(|reason| self.protocol_error(reason))?;
            assembler.push(&event).map_err(|e| self.protocol_error(e))?;
            if event == StreamEvent::MessageStop {
                break;
            }
        }
        // Malformed arguments are an outcome: a call's input is then the text that came.
        let message = assembler.into_partial().ok_or_else(|| self.protocol_error(AssembleError::NoStop))?;
        let times = clock.finish().ok_or_else(|| self.protocol_error(AssembleError::NoStop))?;
        let usage = &message.usage;
        Ok(Measurement {
            phase,
            repeat,
            ttft_us: times.ttft_us,
            e2e_us: times.e2e_us,
            gap_us: times.gap_us,
            call_us: times.call_us,
            prompt_tokens: usage.prompt_tokens(),
            cache_read_tokens: usage.cache_read_input_tokens,
            output_tokens: usage.output_tokens,
            outcome: Outcome::from(&message).redacted(),
            last_call: CallEnd::of_last_call(&message),
            text: text(&message),
            retries: 0,
        })
    }

    fn protocol_error(&self, reason: impl std::fmt::Display) -> Failure {
        let (protocol, address) = (Protocol::Messages, self.backend.name());
        Failure::during(BackendError::Protocol { protocol, address, reason: reason.to_string() })
    }
}

/// The answer's text, without secrets.
fn text(message: &Message) -> String {
    let texts = message.content.iter().filter_map(|block| match block {
        ContentBlock::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    Redactor::installed().text(&texts.collect::<Vec<_>>().join("\n")).into_owned()
}

fn new_salt() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// The next event of an answer. An `error` event is an error.
async fn next(events: &mut EventStream) -> Result<Option<StreamEvent>, Failure> {
    match events.next().await.transpose().map_err(Failure::during)? {
        Some(StreamEvent::Error { body }) => Err(Failure::during(BackendError::from(body))),
        event => Ok(event),
    }
}
