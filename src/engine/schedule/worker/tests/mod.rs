//! The worker's turns, called one by one, on the random model.

mod any_order;
mod hybrid;

use serde_json::{Value, json};

use super::*;
use crate::engine::cache::{CacheLimits, DiskCache, DiskOptions};
use crate::engine::decode::Piece;
use crate::engine::model::ComputePath;
use crate::engine::schedule::generation::{EngineEvent, EventReceiver};
use crate::engine::schedule::memory::MemoryUse;
use crate::engine::testing::{self, prompt};
use crate::engine::{Sampler, Sampling};

/// A worker that the test drives itself, without its thread.
struct TestWorker {
    dir: tempfile::TempDir,
    worker: Worker,
    shared: SharedState,
}

impl TestWorker {
    /// On the CPU path.
    fn new() -> Self {
        Self::with(CacheLimits::default(), ComputePath::Cpu)
    }

    fn with(limits: CacheLimits, path: ComputePath) -> Self {
        Self::of(&json!({}), limits, path)
    }

    /// On a model with some fields of its configuration changed.
    fn of(config: &Value, limits: CacheLimits, path: ComputePath) -> Self {
        let (dir, model) = testing::model_with(config, path);
        Self::on(dir, model, limits, None)
    }

    fn on(dir: tempfile::TempDir, model: Model, limits: CacheLimits, disk: Option<DiskOptions>) -> Self {
        let shared = SharedState::default();
        let disk = disk.map(|options| DiskCache::open(options, dir.path(), model.path()).unwrap().unwrap());
        let cache = PrefixCache::new(limits, disk, shared.cache.clone());
        let memory = MemoryLimit::of_free(Sequence::memory(&model).unwrap(), model.path(), None);
        Self { worker: Worker::new(model, cache, 16, memory, shared.clone()), dir, shared }
    }

    /// The same model with an empty memory: active answers are lost.
    fn restart(self, limits: CacheLimits, disk: Option<DiskOptions>) -> Self {
        Self::on(self.dir, only_model(self.worker), limits, disk)
    }

    fn ask(&mut self, prompt: &[u32], max_tokens: usize) -> EventReceiver {
        self.ask_for(testing::generation(self.dir.path(), prompt, max_tokens))
    }

    fn ask_for(&mut self, generation: Generation) -> EventReceiver {
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        self.worker.queue.push_back(WorkerCommand::Generate(Box::new(generation), events));
        receiver
    }

    /// Asks for a warm-up; gives its outcome once there is one.
    fn warm(&mut self, tokens: &[u32]) -> oneshot::Receiver<Result<(), EngineError>> {
        let (reply, outcome) = oneshot::channel();
        self.worker.queue.push_back(WorkerCommand::Warm(tokens.to_vec(), reply));
        outcome
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.worker.admit();
            self.worker.turn();
        }
    }

    fn finish(&mut self) {
        while !self.worker.is_idle() {
            self.turns(1);
        }
    }

    fn known(&mut self, tokens: &[u32]) -> usize {
        let mut sequence = Sequence::new(&self.worker.model);
        sequence.catch_up(&mut self.worker.cache, tokens).unwrap();
        sequence.tokens().len()
    }

    fn computed(&self) -> u64 {
        // Published with the cache's next change, of which each test has one at its end.
        self.shared.cache.lock().unwrap().computed_tokens
    }
}

/// Ends the worker, which frees its cache folder for the next one.
fn only_model(worker: Worker) -> Model {
    worker.model
}

/// An answer's cached tokens once it has started, and output tokens once it has ended.
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
    let mut test = TestWorker::new();
    let events = test.ask(&prompt(50), 9);
    test.turns(2);
    drop(events);
    test.turns(1);
    assert_eq!((test.worker.answers.len(), test.known(&prompt(50))), (0, 32));
    assert_eq!(seen(&mut test.ask(&prompt(50), 9)), (None, None));
    let mut events = test.ask(&prompt(50), 1);
    test.turns(4);
    assert_eq!(seen(&mut events), (Some(32), Some(1)));
}

#[test]
fn a_client_that_left_while_queued_costs_nothing() {
    let mut test = TestWorker::new();
    drop(test.ask(&prompt(50), 1));
    test.turns(1);
    assert_eq!((test.known(&prompt(50)), test.computed()), (0, 0));
}

#[test]
fn a_growing_answer_gets_a_token_between_two_chunks_of_another_prompt() {
    let mut test = TestWorker::new();
    let _growing = test.ask(&prompt(10), 500);
    test.turns(1);
    let _long = test.ask(&[9; 100], 1);
    for chunks in 1..=5 {
        let before = test.worker.answers[0].output_tokens();
        test.turns(1);
        let long = test.worker.answers.iter().find(|answer| answer.is_prefilling()).unwrap();
        assert_eq!(long.computed(), 16 * chunks);
        let growing = test.worker.answers.iter().find(|answer| !answer.is_prefilling()).unwrap();
        assert!(growing.output_tokens() > before);
    }
}

#[test]
fn prompts_that_begin_alike_are_computed_once() {
    for path in ComputePath::ALL {
        let mut test = TestWorker::with(CacheLimits::default(), path);
        let shared = prompt(160);
        let mut all: Vec<_> = (0..3).map(|last| test.ask(&[&shared[..], &[last; 16]].concat(), 1)).collect();
        test.turns(20);
        assert!(all.iter_mut().all(|events| seen(events) == (Some(0), Some(1))));
        // Ten common chunks, then 15 tokens each: a prompt's last token is not prefilled.
        assert_eq!(test.computed(), 160 + 3 * 15);
    }
}

#[test]
fn a_request_joins_the_warm_up_and_the_warm_up_goes_on_after_it() {
    let mut test = TestWorker::new();
    let mut outcome = test.warm(&prompt(80));
    test.turns(2);
    assert_eq!(test.worker.progress.done.load(Ordering::Relaxed), 32);
    assert!(outcome.try_recv().is_err());
    let mut events = test.ask(&[prompt(60), vec![1; 5]].concat(), 1);
    test.turns(4);
    assert_eq!(seen(&mut events), (Some(32), Some(1)));
    test.turns(3);
    assert!(outcome.try_recv().unwrap().is_ok());
    assert_eq!((test.known(&prompt(80)), test.worker.progress.total.load(Ordering::Relaxed)), (80, 0));
    assert!(test.worker.is_idle());
}

#[test]
fn clearing_waits_for_the_answers_before_it_and_stops_the_warm_up() {
    let mut test = TestWorker::new();
    let mut outcome = test.warm(&prompt(80));
    let mut events = test.ask(&prompt(30), 3);
    let (reply, mut cleared) = oneshot::channel();
    test.worker.queue.push_back(WorkerCommand::Clear(reply));
    test.turns(1);
    assert!(cleared.try_recv().is_err());
    test.turns(8);
    assert_eq!(seen(&mut events), (Some(0), Some(3)));
    assert!(cleared.try_recv().is_ok() && test.worker.is_idle());
    assert!(matches!(outcome.try_recv().unwrap(), Err(EngineError::WarmUpStopped)));
    assert_eq!(test.known(&prompt(80)), 0);
}

#[test]
fn a_warm_up_takes_the_place_of_the_one_before() {
    let mut test = TestWorker::new();
    let (mut first, mut second) = (test.warm(&prompt(80)), test.warm(&prompt(40)));
    test.finish();
    assert!(matches!(first.try_recv().unwrap(), Err(EngineError::WarmUpStopped)));
    assert!(second.try_recv().unwrap().is_ok());
    assert_eq!(test.known(&prompt(80)), 40);
}

#[test]
fn near_the_limit_the_cache_shrinks_before_anybody_is_turned_away() {
    let mut test = TestWorker::new();
    let mut first = test.ask(&prompt(200), 1);
    test.turns(20);
    assert_eq!((seen(&mut first), test.known(&prompt(200))), ((Some(0), Some(1)), 200));
    let token_bytes = test.worker.memory.token_bytes;
    test.worker.memory.most = MemoryUse::now().active + 100 * token_bytes;

    let mut second = test.ask(&[7; 150], 10);
    test.turns(2);
    assert!(test.known(&prompt(200)) < 200, "the cache made room");
    // Another one of the same size does not fit beside it, and there is nothing left to evict.
    test.worker.memory.most = MemoryUse::now().active + 140 * token_bytes;
    let mut third = test.ask(&[8; 150], 10);
    test.turns(1);
    assert!(matches!(third.try_recv(), Ok(Err(EngineError::Overloaded(_)))));
    test.turns(30);
    assert_eq!(seen(&mut second), (Some(0), Some(10)));
    let mut never = test.ask(&[9; 4000], 10);
    test.turns(1);
    let Ok(Err(EngineError::Request(reason))) = never.try_recv() else { panic!("what never fits is refused") };
    // How much is free hangs on what other tests hold.
    insta::with_settings!({filters => [(r"[\d.]+ MB is", "[free] MB is")]}, {
        insta::assert_snapshot!(reason, @"prompt is too long: 4000 tokens need 2.1 MB of memory, [free] MB is there at most");
    });
}

/// The text of an answer that has ended.
fn text(events: &mut EventReceiver) -> String {
    let mut text = String::new();
    while let Ok(event) = events.try_recv() {
        if let EngineEvent::Piece(Piece::Text(piece)) = event.unwrap() {
            text.push_str(&piece);
        }
    }
    text
}

/// Models of several families, so wide that the bits of OpenBLAS's products depend on the number of rows.
fn families() -> [Value; 7] {
    let experts = json!({"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "norm_topk_prob": true});
    let sizes = json!({"hidden_size": 192, "intermediate_size": 512, "num_key_value_heads": 1, "head_dim": 64});
    let family = |name: &str, more: &Value| {
        let mut config = json!({"model_type": name});
        let fields = [&sizes, more].into_iter().flat_map(|fields| fields.as_object().unwrap().clone());
        config.as_object_mut().unwrap().extend(fields);
        config
    };
    [
        family("qwen3", &json!({})),
        family("qwen2", &json!({})),
        family("qwen3_moe", &experts),
        family("mistral", &json!({"sliding_window": 20})),
        family("qwen3_5", &testing::hybrid()),
        family("gemma4_text", &testing::gemma4()),
        family("glm4_moe_lite", &testing::glm_lite()),
    ]
}

#[test]
fn answers_at_once_equal_each_answer_alone_on_the_cpu_path() {
    // Greedy, or sampled with a seed.
    let seeded = |n| Sampling { temperature: 1.0, top_p: 0.9, seed: Some(n), ..Sampling::GREEDY };
    at_once_and_alone(ComputePath::Cpu, |n| if n % 2 == 0 { Sampling::GREEDY } else { seeded(u64::from(n)) });
}

/// A draw can fall between two tokens by a rounding, so all are greedy.
#[test]
fn greedy_answers_at_once_equal_each_answer_alone_on_the_gpu_path() {
    at_once_and_alone(ComputePath::Gpu, |_| Sampling::GREEDY);
}

fn at_once_and_alone(path: ComputePath, sampling: impl Fn(u32) -> Sampling) {
    for config in families() {
        let mut test = TestWorker::of(&config, CacheLimits::default(), path);
        // Of different lengths, some with a common beginning.
        let asked: Vec<(Vec<u32>, Sampling)> =
            (0..6_u32).map(|n| ([prompt(7 * n as usize), vec![n + 1; 12]].concat(), sampling(n))).collect();
        let answer = |(prompt, sampling): &(Vec<u32>, Sampling)| testing::sampled(test.dir.path(), prompt, 24, sampling.clone());
        let generations: Vec<_> = asked.iter().map(answer).collect();
        let mut at_once = Vec::new();
        for generation in generations {
            at_once.push(test.ask_for(generation));
            test.turns(1);
        }
        test.finish();
        for (asked, mut events) in asked.iter().zip(at_once) {
            test.worker.cache.clear();
            let alone = testing::sampled(test.dir.path(), &asked.0, 24, asked.1.clone());
            let mut alone = test.ask_for(alone);
            test.finish();
            let alone = text(&mut alone);
            assert!(!alone.is_empty());
            assert_eq!(text(&mut events), alone, "{config}");
        }
    }
}

#[test]
fn an_error_of_one_answer_ends_no_other() {
    let mut test = TestWorker::new();
    let mut before = test.ask(&prompt(20), 8);
    let mut failing = testing::generation(test.dir.path(), &prompt(30), 8);
    failing.sampler = Sampler::new(Sampling { repetition_penalty: f32::NAN, ..Sampling::GREEDY }, &(0..4096).collect::<Vec<_>>());
    let mut failing = test.ask_for(failing);
    let mut after = test.ask(&prompt(25), 8);
    test.finish();
    assert_eq!([seen(&mut before).1, seen(&mut after).1], [Some(8), Some(8)]);
    let outcome = std::iter::from_fn(|| failing.try_recv().ok()).last();
    assert!(matches!(outcome, Some(Err(EngineError::Device(_)))), "{outcome:?}");
}

#[test]
fn a_prompt_continues_from_disk() {
    for path in ComputePath::ALL {
        let folder = tempfile::tempdir().unwrap();
        let disk = || Some(DiskOptions { folder: folder.path().into(), bytes: u64::MAX });
        let mut test = TestWorker::with(CacheLimits::default(), path).restart(CacheLimits::default(), disk());
        let mut first = test.ask(&prompt(100), 1);
        test.turns(10);
        assert_eq!(seen(&mut first), (Some(0), Some(1)));
        let mut test = test.restart(CacheLimits::default(), disk());
        let mut again = test.ask(&[prompt(100), vec![7; 20]].concat(), 1);
        test.turns(10);
        assert_eq!(seen(&mut again), (Some(100), Some(1)));
        assert_eq!(test.shared.cache.lock().unwrap().disk.as_ref().map(|disk| (disk.hits, disk.tokens)), Some((1, 100)));
    }
}

#[test]
fn the_latest_conversations_are_read_ahead_while_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Some(DiskOptions { folder: folder.path().into(), bytes: u64::MAX });
    let mut test = TestWorker::new().restart(CacheLimits::default(), disk());
    for length in [100, 80] {
        let mut answer = test.ask(&[vec![length as u32], prompt(length)].concat(), 1);
        test.finish();
        assert_eq!(seen(&mut answer), (Some(0), Some(1)));
    }
    let [earlier, latest] = [100, 80].map(|length| [vec![length as u32], prompt(length)].concat());
    for (room, known) in [(true, 81), (false, 0)] {
        test = test.restart(CacheLimits::default(), disk());
        if !room {
            test.worker.memory.most = 0;
        }
        test.worker.recall_latest();
        assert_eq!((test.known(&latest), test.known(&earlier)), (known, 0));
        assert_eq!(test.shared.reading_ahead.load(Ordering::Acquire), room, "the earlier one is left to read");
        test.finish();
        assert_eq!((test.known(&latest), test.known(&earlier)), if room { (81, 101) } else { (0, 0) });
        assert!(!test.shared.reading_ahead.load(Ordering::Acquire));
    }
    test = test.restart(CacheLimits { bytes: Some(1), ..CacheLimits::default() }, disk());
    test.worker.recall_latest();
    test.finish();
    assert_eq!((test.known(&latest), test.known(&earlier)), (0, 0));
    // What was read ahead is evicted before what was requested in the meantime, and nothing is evicted for it.
    for (entries, known) in [(3, [81, 101, 60]), (2, [81, 0, 60]), (1, [0, 0, 60])] {
        test = test.restart(CacheLimits { entries, ..CacheLimits::default() }, disk());
        test.worker.recall_latest();
        let asked = [vec![7; 30], prompt(30)].concat();
        let _answer = test.ask(&asked, 1);
        test.finish();
        assert_eq!([&latest, &earlier, &asked].map(|prompt| test.known(prompt)), known, "{entries} entries");
    }
}
