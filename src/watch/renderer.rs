//! Rendering pages without being in the way of the recorder.
//!
//! All pages together have one thread, with a lower priority than the recorder's where the system allows it. After each state of
//! a page that follows its files, the next one waits several times as long as that one took.

use std::time::{self, Duration};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::record::lower_priority;

/// How many times as long as the last state took the next one waits: pages that follow take a tenth of a core.
const REST: u32 = 9;

/// The longest wait. After a state that takes more than 0.55 s this is less than nine times as long; then only the thread's low
/// priority protects the recorder.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// By how much the thread gives way: more than the one that writes recordings, which must not wait for pages.
const PRIORITY: i32 = 10;

/// The thread that renders.
#[derive(Debug)]
pub(super) struct Renderer {
    pool: ThreadPool,
    /// Until when no state is rendered.
    rest: Mutex<Instant>,
}

impl Renderer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start() -> Result<Self, ThreadPoolBuildError> {
        let named = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "recorder's page".into());
        let pool = named.start_handler(|_| lower_priority(PRIORITY)).panic_handler(|_| ()).build()?;
        Ok(Self { pool, rest: Mutex::new(Instant::now()) })
    }

    /// Renders what somebody waits for; `None` if that panicked.
    pub(super) async fn render<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.timed(job).await.map(|(made, _)| made)
    }

    /// Renders a next state, once all pages have rested; `None` if that panicked.
    pub(super) async fn follow<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let mut rest = self.rest.lock().await;
        sleep_until(*rest).await;
        let (made, took) = self.timed(job).await?;
        *rest = Instant::now() + (took * REST).min(LONGEST_REST);
        Some(made)
    }

    /// What the job makes, and how long that took without waiting for the thread.
    async fn timed<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<(T, Duration)> {
        let (done, made) = oneshot::channel();
        self.pool.spawn_fifo(move || {
            let start = time::Instant::now();
            let made = job();
            // Fails if nobody waits for it any more.
            done.send((made, start.elapsed())).ok();
        });
        made.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_page_is_rendered_at_a_time_and_a_panic_ends_only_its_own() {
        let renderer = Renderer::start().unwrap();
        let at_once = Arc::new(AtomicUsize::new(0));
        let job = |at_once: Arc<AtomicUsize>| {
            move || {
                let others = at_once.fetch_add(1, Ordering::SeqCst);
                std::thread::yield_now();
                at_once.fetch_sub(1, Ordering::SeqCst);
                others
            }
        };
        let jobs = (0..50).map(|_| renderer.render(job(at_once.clone())));
        assert_eq!(futures::future::join_all(jobs).await, vec![Some(0); 50]);
        assert_eq!(renderer.render(|| assert!(std::hint::black_box(false))).await, None);
        assert_eq!(renderer.follow(|| 7).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_state_waits_longer_than_the_last_one_took() {
        let renderer = Renderer::start().unwrap();
        *renderer.rest.lock().await = Instant::now() + Duration::from_secs(90);
        let start = Instant::now();
        assert_eq!(renderer.render(|| 1).await, Some(1));
        assert!(start.elapsed() < Duration::from_secs(90));
        assert_eq!(renderer.follow(|| 2).await, Some(2));
        assert!(start.elapsed() >= Duration::from_secs(90));
    }
}
