//! Sending the requests of a schedule, each as near as possible to when it is meant to begin.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Answered, Failed, FailureKind, PlannedConversation, PlannedTurn, Sample, Schedule, Start};
use crate::backend::Backend;
use crate::replay::{Driver, Measurement};
use crate::trace::redact::Redactor;

/// Sends all requests of a schedule, and gives each sample to `on_sample` as it comes, until all are there. Dropping the future
/// drops the requests that are under way.
pub async fn run(schedule: Schedule, backend: Arc<dyn Backend>, mut on_sample: impl FnMut(Sample)) {
    let began = Instant::now();
    let (samples, mut received) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(schedule.at_once.min(Semaphore::MAX_PERMITS)));
    let mut clients = JoinSet::new();
    for conversation in schedule.conversations {
        let (backend, samples, places) = (backend.clone(), samples.clone(), places.clone());
        clients.spawn(async move {
            // Places are given in the order in which they are asked for. The semaphore is never closed.
            let _place = places.acquire().await;
            play(conversation, backend.as_ref(), began, &samples).await;
        });
    }
    drop(samples);
    while let Some(sample) = received.recv().await {
        on_sample(sample);
    }
}

/// The request before, in a conversation.
struct Before {
    /// When it was meant to begin.
    began: Instant,
    /// When its answer ended.
    answered: Instant,
}

/// One conversation, turn after turn. A turn that failed keeps no other from being sent: each has its whole prompt.
async fn play(conversation: PlannedConversation, backend: &dyn Backend, began: Instant, samples: &mpsc::UnboundedSender<Sample>) {
    let driver = Driver::new(backend, 0);
    let opened = Instant::now();
    let mut before: Option<Before> = None;
    for turn in &conversation.turns {
        let planned = match turn.start {
            Start::At(time) => began + time,
            Start::AfterAnswer(time) => before.as_ref().map_or(opened, |before| before.answered) + time,
            Start::AfterRequest(time) => before.as_ref().map_or(opened, |before| before.began) + time,
        };
        // No client has anything to ask before it has its last answer.
        let intended = before.map_or(planned, |before| planned.max(before.answered));
        sleep_until(intended).await;
        let late_us = us(intended.elapsed());
        let answer = answer(&driver, turn, &conversation.mark).await.map(|measured| Answered::of(&measured, &turn.turn, late_us));
        before = Some(Before { began: intended, answered: Instant::now() });
        let (intended_us, held_us) = (us(intended.saturating_duration_since(began)), us(intended - planned));
        let sample = Sample { id: turn.turn.id.to_string(), intended_us, held_us, late_us, answer };
        // Nobody listens any more only where all is being dropped.
        samples.send(sample).ok();
    }
}

/// The answer to a turn's request. A panic is a failure like others: without a sample it would be in no figure, and so would all
/// that follow in its conversation.
async fn answer(driver: &Driver<'_>, turn: &PlannedTurn, mark: &str) -> Result<Measurement, Failed> {
    let answer = async { driver.timed(turn.request(mark)).await };
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(answer) => answer.map_err(Failed::from),
        Err(panic) => Err(Failed { kind: FailureKind::Panicked, text: said(panic.as_ref()) }),
    }
}

/// What a panic says, without secrets: it may quote the backend.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Redactor::installed().text(text.unwrap_or("a panic without words")).into_owned()
}

/// 64 bits of microseconds last for half a million years.
fn us(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
