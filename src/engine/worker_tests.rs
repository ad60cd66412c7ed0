//! Turns taken by hand, on the random model.

use std::sync::Mutex;

use super::*;
use crate::engine::LoadListener;
use crate::engine::cache::{CacheLimits, CacheStats};
use crate::engine::generation::{EngineEvent, EventReceiver};
use crate::engine::testing::{self, prompt};

struct Rig {
    dir: tempfile::TempDir,
    worker: Worker,
    stats: Arc<Mutex<CacheStats>>,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        testing::write_model(dir.path());
        let stats = Arc::new(Mutex::default());
        let cache = PrefixCache::new(CacheLimits::default(), stats.clone());
        let model = Model::load(dir.path(), &LoadListener::default()).unwrap();
        Self { worker: Worker::new(model, cache, 16, Arc::default(), Arc::default()), dir, stats }
    }

    fn ask(&mut self, prompt: &[u32], max_tokens: usize) -> EventReceiver {
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        let generation = testing::generation(self.dir.path(), prompt, max_tokens);
        self.worker.queue.push_back(Command::Generate(Box::new(generation), events));
        receiver
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.worker.admit();
            self.worker.turn();
        }
    }

    fn known(&mut self, tokens: &[u32]) -> usize {
        let mut sequence = Sequence::new(&self.worker.model);
        self.worker.cache.catch_up(&mut sequence, &[tokens, &[0]].concat()).unwrap();
        sequence.tokens().len()
    }

    fn computed(&self) -> u64 {
        // Counted tokens are told with the next change; each test ends with one.
        self.stats.lock().unwrap().computed_tokens
    }
}

/// How the answer went so far: cached tokens, tokens out if it has ended.
fn seen(events: &mut EventReceiver) -> (Option<usize>, Option<usize>) {
    let mut seen = (None, None);
    while let Ok(event) = events.try_recv() {
        match event.unwrap() {
            EngineEvent::Started { cached_tokens, .. } => seen.0 = Some(cached_tokens),
            EngineEvent::Piece(_) => {}
            EngineEvent::Finished(finished) => seen.1 = Some(finished.output_tokens),
        }
    }
    seen
}

#[test]
fn an_unwanted_answer_ends_at_the_next_turn_and_leaves_what_it_computed() {
    let mut rig = Rig::new();
    let events = rig.ask(&prompt(50), 9);
    rig.turns(2);
    drop(events);
    rig.turns(1);
    assert_eq!((rig.worker.answers.len(), rig.known(&prompt(50))), (0, 32));
    assert_eq!(seen(&mut rig.ask(&prompt(50), 9)), (None, None));
    let mut events = rig.ask(&prompt(50), 1);
    rig.turns(4);
    assert_eq!(seen(&mut events), (Some(32), Some(1)));
}

#[test]
fn a_client_that_left_while_queued_costs_nothing() {
    let mut rig = Rig::new();
    drop(rig.ask(&prompt(50), 1));
    rig.turns(1);
    assert_eq!((rig.known(&prompt(50)), rig.computed()), (0, 0));
}

#[test]
fn a_growing_answer_gets_a_token_between_two_chunks_of_another_prompt() {
    let mut rig = Rig::new();
    let _growing = rig.ask(&prompt(10), 500);
    rig.turns(1);
    let _long = rig.ask(&[9; 100], 1);
    for chunks in 1..=5 {
        let before = rig.worker.answers[0].output_tokens();
        rig.turns(1);
        let long = rig.worker.answers.iter().find(|answer| answer.is_prefilling()).unwrap();
        assert_eq!(long.computed(), 16 * chunks);
        let growing = rig.worker.answers.iter().find(|answer| !answer.is_prefilling()).unwrap();
        assert!(growing.output_tokens() > before);
    }
}

#[test]
fn prompts_that_begin_alike_are_computed_once() {
    let mut rig = Rig::new();
    let shared = prompt(160);
    let mut all: Vec<_> = (0..3).map(|last| rig.ask(&[&shared[..], &[last; 16]].concat(), 1)).collect();
    rig.turns(20);
    assert!(all.iter_mut().all(|events| seen(events) == (Some(0), Some(1))));
    // Ten chunks in common, then 15 tokens each; the last token is no part of a prefill.
    assert_eq!(rig.computed(), 160 + 3 * 15);
}

#[test]
fn a_request_joins_the_warm_up_and_the_warm_up_goes_on_after_it() {
    let mut rig = Rig::new();
    rig.worker.queue.push_back(Command::Warm(prompt(80)));
    rig.turns(2);
    assert_eq!(rig.worker.progress.done.load(Ordering::Relaxed), 32);
    let mut events = rig.ask(&[prompt(60), vec![1; 5]].concat(), 1);
    rig.turns(4);
    assert_eq!(seen(&mut events), (Some(32), Some(1)));
    rig.turns(3);
    assert_eq!((rig.known(&prompt(80)), rig.worker.progress.total.load(Ordering::Relaxed)), (80, 0));
    assert!(rig.worker.is_idle());
}

#[test]
fn clearing_waits_for_the_answers_before_it_and_stops_the_warm_up() {
    let mut rig = Rig::new();
    rig.worker.queue.push_back(Command::Warm(prompt(80)));
    let mut events = rig.ask(&prompt(30), 3);
    let (reply, mut cleared) = oneshot::channel();
    rig.worker.queue.push_back(Command::Clear(reply));
    rig.turns(1);
    assert!(cleared.try_recv().is_err());
    rig.turns(8);
    assert_eq!(seen(&mut events), (Some(0), Some(3)));
    assert!(cleared.try_recv().is_ok() && rig.worker.is_idle());
    assert_eq!(rig.known(&prompt(80)), 0);
}
