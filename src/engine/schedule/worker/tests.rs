//! Turns taken by hand, on the random model.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::engine::LoadListener;
use crate::engine::cache::{CacheLimits, DiskCache, DiskOptions};
use crate::engine::decode::Piece;
use crate::engine::schedule::generation::{EngineEvent, EventReceiver};
use crate::engine::schedule::memory::MemoryUse;
use crate::engine::testing::{self, prompt};
use crate::engine::{Sampler, Sampling};

struct Rig {
    dir: tempfile::TempDir,
    worker: Worker,
    shared: Shared,
}

impl Rig {
    fn new() -> Self {
        Self::with(CacheLimits::default())
    }

    fn with(limits: CacheLimits) -> Self {
        Self::of(&json!({}), limits)
    }

    /// A model with some of its configuration as given.
    fn of(config: &Value, limits: CacheLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        testing::write_model_with(dir.path(), config);
        let model = Model::load(dir.path(), &LoadListener::default()).unwrap();
        Self::on(dir, model, limits, None)
    }

    fn on(dir: tempfile::TempDir, model: Model, limits: CacheLimits, disk: Option<DiskOptions>) -> Self {
        let shared = Shared::default();
        let disk = disk.map(|options| DiskCache::open(options, dir.path()).unwrap().unwrap());
        let cache = PrefixCache::new(limits, disk, shared.cache.clone());
        let memory = MemoryLimit::of_free(Sequence::token_bytes(&model).unwrap());
        Self { worker: Worker::new(model, cache, 16, memory, shared.clone()), dir, shared }
    }

    /// The same model with nothing in memory: answers in work are lost.
    fn restart(self, limits: CacheLimits, disk: Option<DiskOptions>) -> Self {
        Self::on(self.dir, only_model(self.worker), limits, disk)
    }

    fn ask(&mut self, prompt: &[u32], max_tokens: usize) -> EventReceiver {
        self.ask_for(testing::generation(self.dir.path(), prompt, max_tokens))
    }

    fn ask_for(&mut self, generation: Generation) -> EventReceiver {
        let (events, receiver) = tokio::sync::mpsc::unbounded_channel();
        self.worker.queue.push_back(Command::Generate(Box::new(generation), events));
        receiver
    }

    /// Asks for a warm-up; gives its outcome once there is one.
    fn warm(&mut self, tokens: &[u32]) -> oneshot::Receiver<Result<(), EngineError>> {
        let (reply, outcome) = oneshot::channel();
        self.worker.queue.push_back(Command::Warm(tokens.to_vec(), reply));
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
        self.worker.cache.catch_up(&mut sequence, &[tokens, &[0]].concat()).unwrap();
        sequence.tokens().len()
    }

    fn computed(&self) -> u64 {
        // Counted tokens are told with the next change; each test ends with one.
        self.shared.cache.lock().unwrap().computed_tokens
    }
}

/// Ends the worker: its folder on the disk is free for the next one.
fn only_model(worker: Worker) -> Model {
    worker.model
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
    let mut outcome = rig.warm(&prompt(80));
    rig.turns(2);
    assert_eq!(rig.worker.progress.done.load(Ordering::Relaxed), 32);
    assert!(outcome.try_recv().is_err());
    let mut events = rig.ask(&[prompt(60), vec![1; 5]].concat(), 1);
    rig.turns(4);
    assert_eq!(seen(&mut events), (Some(32), Some(1)));
    rig.turns(3);
    assert!(outcome.try_recv().unwrap().is_ok());
    assert_eq!((rig.known(&prompt(80)), rig.worker.progress.total.load(Ordering::Relaxed)), (80, 0));
    assert!(rig.worker.is_idle());
}

#[test]
fn clearing_waits_for_the_answers_before_it_and_stops_the_warm_up() {
    let mut rig = Rig::new();
    let mut outcome = rig.warm(&prompt(80));
    let mut events = rig.ask(&prompt(30), 3);
    let (reply, mut cleared) = oneshot::channel();
    rig.worker.queue.push_back(Command::Clear(reply));
    rig.turns(1);
    assert!(cleared.try_recv().is_err());
    rig.turns(8);
    assert_eq!(seen(&mut events), (Some(0), Some(3)));
    assert!(cleared.try_recv().is_ok() && rig.worker.is_idle());
    assert!(matches!(outcome.try_recv().unwrap(), Err(EngineError::WarmUpStopped)));
    assert_eq!(rig.known(&prompt(80)), 0);
}

#[test]
fn a_warm_up_takes_the_place_of_the_one_before() {
    let mut rig = Rig::new();
    let (mut first, mut second) = (rig.warm(&prompt(80)), rig.warm(&prompt(40)));
    rig.finish();
    assert!(matches!(first.try_recv().unwrap(), Err(EngineError::WarmUpStopped)));
    assert!(second.try_recv().unwrap().is_ok());
    assert_eq!(rig.known(&prompt(80)), 40);
}

#[test]
fn near_the_limit_the_cache_shrinks_before_anybody_is_turned_away() {
    let mut rig = Rig::new();
    let mut first = rig.ask(&prompt(200), 1);
    rig.turns(20);
    assert_eq!((seen(&mut first), rig.known(&prompt(200))), ((Some(0), Some(1)), 200));
    let token_bytes = rig.worker.memory.token_bytes;
    rig.worker.memory.most = MemoryUse::now().active + 100 * token_bytes;

    let mut second = rig.ask(&[7; 150], 10);
    rig.turns(2);
    assert!(rig.known(&prompt(200)) < 200, "the cache made room");
    // As much again does not fit beside it, and there is nothing left to drop.
    rig.worker.memory.most = MemoryUse::now().active + 140 * token_bytes;
    let mut third = rig.ask(&[8; 150], 10);
    rig.turns(1);
    assert!(matches!(third.try_recv(), Ok(Err(EngineError::Overloaded(_)))));
    rig.turns(30);
    assert_eq!(seen(&mut second), (Some(0), Some(10)));
    let mut never = rig.ask(&[9; 4000], 10);
    rig.turns(1);
    assert!(matches!(never.try_recv(), Ok(Err(EngineError::Request(reason))) if reason.contains("4000 tokens need")));
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

/// Models of several families; wide enough for the BLAS to sum up otherwise for another number of rows.
fn families() -> [Value; 4] {
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
    ]
}

#[test]
fn answers_at_once_are_to_the_letter_what_each_is_alone() {
    for config in families() {
        let mut rig = Rig::of(&config, CacheLimits::default());
        // Of different lengths, some with a beginning in common; greedy, and by chance with a seed.
        let asked: Vec<(Vec<u32>, Sampling)> = (0..6_u32)
            .map(|n| {
                let heat = Sampling { temperature: 1.0, top_p: 0.9, seed: Some(u64::from(n)), ..Sampling::GREEDY };
                let prompt = [prompt(7 * n as usize), vec![n + 1; 12]].concat();
                (prompt, if n % 2 == 0 { Sampling::GREEDY } else { heat })
            })
            .collect();
        let answer = |(prompt, sampling): &(Vec<u32>, Sampling)| testing::sampled(rig.dir.path(), prompt, 24, sampling.clone());
        let generations: Vec<_> = asked.iter().map(answer).collect();
        let mut at_once = Vec::new();
        for generation in generations {
            at_once.push(rig.ask_for(generation));
            rig.turns(1);
        }
        rig.finish();
        for (asked, mut events) in asked.iter().zip(at_once) {
            rig.worker.cache.clear();
            let alone = testing::sampled(rig.dir.path(), &asked.0, 24, asked.1.clone());
            let mut alone = rig.ask_for(alone);
            rig.finish();
            let alone = text(&mut alone);
            assert!(!alone.is_empty());
            assert_eq!(text(&mut events), alone, "{config}");
        }
    }
}

#[test]
fn an_error_of_one_answer_ends_no_other() {
    let mut rig = Rig::new();
    let mut before = rig.ask(&prompt(20), 8);
    let mut failing = testing::generation(rig.dir.path(), &prompt(30), 8);
    failing.sampler = Sampler::new(Sampling { repetition_penalty: f32::NAN, ..Sampling::GREEDY }, &(0..4096).collect::<Vec<_>>());
    let mut failing = rig.ask_for(failing);
    let mut after = rig.ask(&prompt(25), 8);
    rig.finish();
    assert_eq!([seen(&mut before).1, seen(&mut after).1], [Some(8), Some(8)]);
    let outcome = std::iter::from_fn(|| failing.try_recv().ok()).last();
    assert!(matches!(outcome, Some(Err(EngineError::Device(_)))), "{outcome:?}");
}

/// What may happen while answers are in work.
#[derive(Clone, Debug)]
enum Step {
    Ask(Vec<u32>),
    Turns(usize),
    /// The client of one of the answers asked for leaves.
    Leave(prop::sample::Index),
    /// The cache loses so many bytes.
    Shrink(usize),
    Clear,
    /// Another process goes on with what is on the disk.
    Restart,
    /// A byte of a file on the disk changes.
    Damage(prop::sample::Index, prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    // Beginnings in common, of several lengths; branches; continuations of branches.
    let conversation = (prop::sample::select(vec![5, 30, 64]), 0u32..3, 1usize..50)
        .prop_map(|(shared, branch, own)| [prompt(shared), vec![1000 + branch; own]].concat());
    prop_oneof![
        12 => conversation.prop_map(Step::Ask),
        12 => (1usize..6).prop_map(Step::Turns),
        2 => any::<prop::sample::Index>().prop_map(Step::Leave),
        2 => (1usize..20_000).prop_map(Step::Shrink),
        1 => Just(Step::Clear),
        3 => Just(Step::Restart),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(file, at)| Step::Damage(file, at)),
    ]
}

fn damage(folder: &std::path::Path, file: prop::sample::Index, at: prop::sample::Index) {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|it| it == "safetensors")).collect();
    paths.sort();
    if let Some(path) = (!paths.is_empty()).then(|| file.get(&paths))
        && let Ok(mut bytes) = std::fs::read(path)
    {
        let at = at.index(bytes.len());
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whoever else is served, whatever is cached, forgotten, damaged or read from the disk meanwhile: every answer is that of
    /// a cold run.
    #[test]
    fn every_answer_equals_a_cold_run(steps in prop::collection::vec(step(), 4..40), entries in 1usize..6) {
        let folder = tempfile::tempdir().unwrap();
        let (limits, disk) = (
            CacheLimits { entries, bytes: Some(60_000) },
            Some(DiskOptions { folder: folder.path().into(), bytes: 200_000 }),
        );
        let mut rig = Rig::with(limits.clone()).restart(limits.clone(), disk.clone());
        let mut asked = Vec::new();
        for step in steps {
            match step {
                Step::Ask(prompt) => {
                    let events = rig.ask(&prompt, 6);
                    asked.push((prompt, Some(events)));
                }
                Step::Turns(count) => rig.turns(count),
                Step::Leave(index) if !asked.is_empty() => index.get_mut(&mut asked).1 = None,
                Step::Leave(_) => {}
                Step::Shrink(bytes) => rig.worker.cache.shrink_by(bytes),
                Step::Clear => rig.worker.cache.clear(),
                Step::Restart => {
                    // Those that have not ended never will.
                    asked.iter_mut().for_each(|(_, events)| *events = events.take().filter(EventReceiver::is_closed));
                    rig = rig.restart(limits.clone(), disk.clone());
                }
                Step::Damage(file, at) => damage(folder.path(), file, at),
            }
        }
        rig.finish();
        let mut cold = Rig::with(CacheLimits { entries: 0, bytes: None });
        let mut expected: HashMap<Vec<u32>, String> = HashMap::new();
        for (prompt, events) in asked {
            let Some(mut events) = events else { continue };
            let expected = expected.entry(prompt).or_insert_with_key(|prompt| {
                let mut events = cold.ask(prompt, 6);
                cold.finish();
                text(&mut events)
            });
            prop_assert_eq!(&text(&mut events), expected);
        }
        prop_assert_eq!(cold.shared.cache.lock().unwrap().hits, 0);
    }
}

#[test]
fn a_prompt_is_continued_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Some(DiskOptions { folder: folder.path().into(), bytes: u64::MAX });
    let mut rig = Rig::new().restart(CacheLimits::default(), disk());
    let mut first = rig.ask(&prompt(100), 1);
    rig.turns(10);
    assert_eq!(seen(&mut first), (Some(0), Some(1)));
    let mut rig = rig.restart(CacheLimits::default(), disk());
    let mut again = rig.ask(&[prompt(100), vec![7; 20]].concat(), 1);
    rig.turns(10);
    assert_eq!(seen(&mut again), (Some(100), Some(1)));
    assert_eq!(rig.shared.cache.lock().unwrap().disk.as_ref().map(|disk| (disk.hits, disk.tokens)), Some((1, 100)));
}

#[test]
fn what_was_used_last_is_read_ahead_where_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = || Some(DiskOptions { folder: folder.path().into(), bytes: u64::MAX });
    let mut rig = Rig::new().restart(CacheLimits::default(), disk());
    for length in [100, 80] {
        let mut answer = rig.ask(&[vec![length as u32], prompt(length)].concat(), 1);
        rig.finish();
        assert_eq!(seen(&mut answer), (Some(0), Some(1)));
    }
    let [earlier, latest] = [100, 80].map(|length| [vec![length as u32], prompt(length)].concat());
    for (room, known) in [(true, 81), (false, 0)] {
        rig = rig.restart(CacheLimits::default(), disk());
        if !room {
            rig.worker.memory.most = 0;
        }
        rig.worker.recall_latest();
        assert_eq!((rig.known(&latest), rig.known(&earlier)), (known, 0));
        rig.finish();
        assert_eq!((rig.known(&latest), rig.known(&earlier)), if room { (81, 101) } else { (0, 0) });
    }
    rig = rig.restart(CacheLimits { bytes: Some(1), ..CacheLimits::default() }, disk());
    rig.worker.recall_latest();
    rig.finish();
    assert_eq!((rig.known(&latest), rig.known(&earlier)), (0, 0));
    // What is read ahead is forgotten before what was asked for meanwhile, and nothing is forgotten for it.
    for (entries, known) in [(3, [81, 101, 60]), (2, [81, 0, 60]), (1, [0, 0, 60])] {
        rig = rig.restart(CacheLimits { entries, ..CacheLimits::default() }, disk());
        rig.worker.recall_latest();
        let asked = [vec![7; 30], prompt(30)].concat();
        let _answer = rig.ask(&asked, 1);
        rig.finish();
        assert_eq!([&latest, &earlier, &asked].map(|prompt| rig.known(prompt)), known, "{entries} entries");
    }
}
