//! Sending a request again where the backend was only busy.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::failure::Failure;

/// The first wait. Each further one is twice as long, with jitter, so that many clients do not come back at once.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait, whatever the backend asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often to try again, and how often that was done.
#[derive(Debug, Default)]
pub(super) struct Retries {
    limit: u32,
    done: AtomicU32,
}

impl Retries {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, done: AtomicU32::new(0) }
    }

    /// The retries since the last call.
    pub(super) fn take(&self) -> u32 {
        self.done.swap(0, Ordering::Relaxed)
    }

    /// Tries until it succeeds, fails in earnest, or was tried again as often as allowed.
    pub(super) async fn run<T, F: Future<Output = Result<T, Failure>>>(&self, attempt: impl FnMut() -> F) -> Result<T, Failure> {
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(self.limit as usize)
            .with_jitter();
        attempt
            .retry(waits)
            .when(Failure::is_passing)
            .adjust(wait)
            .notify(|_, _| {
                self.done.fetch_add(1, Ordering::Relaxed);
            })
            .await
    }
}

/// How long to wait: as long as the backend asks for, within reason, else as planned; `None` to give up, as planned.
fn wait(failure: &Failure, planned: Option<Duration>) -> Option<Duration> {
    let asked = failure.retry_after_s().map(|s| Duration::from_secs(s).min(LONGEST_WAIT));
    planned.map(|planned| asked.unwrap_or(planned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendError;
    use crate::wire::{ErrorBody, ErrorKind};

    fn busy(kind: ErrorKind, retry_after: Option<&str>) -> Failure {
        let retry_after = retry_after.map(str::to_owned);
        let error = BackendError::Answered { status: kind.status(), body: ErrorBody::new(kind, "no"), retry_after };
        Failure { error, began: false }
    }

    /// What came of it, and how often it was tried again.
    async fn tried(limit: u32, kind: ErrorKind, failures: u32) -> (bool, u32) {
        let (retries, tries) = (Retries::new(limit), AtomicU32::new(0));
        let attempt = || async {
            match tries.fetch_add(1, Ordering::Relaxed) {
                nth if nth < failures => Err(busy(kind, None)),
                _ => Ok(()),
            }
        };
        (retries.run(attempt).await.is_ok(), retries.take())
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_again_as_often_as_allowed() {
        assert_eq!(tried(3, ErrorKind::Overloaded, 2).await, (true, 2));
        assert_eq!(tried(3, ErrorKind::RateLimit, 3).await, (true, 3));
        assert_eq!(tried(3, ErrorKind::Overloaded, 4).await, (false, 3));
        assert_eq!(tried(0, ErrorKind::Overloaded, 1).await, (false, 0));
        assert_eq!(tried(3, ErrorKind::Api, 1).await, (false, 0));
    }

    #[test]
    fn the_wait_is_what_the_backend_asks_for_within_reason() {
        let planned = Some(Duration::from_secs(1));
        let asked = |retry_after| wait(&busy(ErrorKind::Overloaded, retry_after), planned).unwrap().as_secs();
        assert_eq!([None, Some("7"), Some("0"), Some("86400"), Some("Fri, 01 Jan")].map(asked), [1, 7, 0, 60, 1]);
        assert_eq!(wait(&busy(ErrorKind::Overloaded, Some("7")), None), None);
    }
}
