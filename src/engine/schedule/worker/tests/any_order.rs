//! Requests, evictions, restarts and damage in any order: answers never depend on what happened before.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// What may happen while answers are active.
#[derive(Clone, Debug)]
enum WorkerStep {
    Ask(Vec<u32>),
    Turns(usize),
    /// The client of one of the answers goes away.
    Leave(prop::sample::Index),
    /// The cache evicts this many bytes.
    Shrink(usize),
    Clear,
    /// Another process continues with the segments on disk.
    Restart,
    /// A byte of a segment file changes.
    Damage(prop::sample::Index, prop::sample::Index),
}

fn step() -> impl Strategy<Value = WorkerStep> {
    // Common beginnings of several lengths, branches, continuations of branches.
    let conversation = (prop::sample::select(vec![5, 30, 64]), 0u32..3, 1usize..50)
        .prop_map(|(shared, branch, own)| [prompt(shared), vec![1000 + branch; own]].concat());
    prop_oneof![
        12 => conversation.prop_map(WorkerStep::Ask),
        12 => (1usize..6).prop_map(WorkerStep::Turns),
        2 => any::<prop::sample::Index>().prop_map(WorkerStep::Leave),
        2 => (1usize..20_000).prop_map(WorkerStep::Shrink),
        1 => Just(WorkerStep::Clear),
        3 => Just(WorkerStep::Restart),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(file, at)| WorkerStep::Damage(file, at)),
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

/// What happens, and how many entries the cache has room for.
fn steps() -> impl Strategy<Value = (Vec<WorkerStep>, usize)> {
    (prop::collection::vec(step(), 4..40), 1usize..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_answer_equals_a_cold_run_on_the_cpu_path((steps, entries) in steps()) {
        equals_a_cold_run(&json!({}), ComputePath::Cpu, steps, entries)?;
    }
}

/// The same cases each time, as no other family's attention is like these.
#[test]
fn every_answer_of_gemma_4_and_of_glm_4_7_flash_equals_a_cold_run_on_both_paths() {
    for config in [testing::gemma4(), testing::glm_lite()] {
        for path in ComputePath::ALL {
            let mut runner = testing::same_cases(5);
            runner.run(&steps(), |(steps, entries)| equals_a_cold_run(&config, path, steps, entries)).unwrap();
        }
    }
}

/// The same cases each time, as an answer's own tokens are computed in another way than a prompt's: equal to rounding.
#[test]
fn every_answer_of_a_hybrid_equals_a_cold_run_on_both_paths() {
    for path in ComputePath::ALL {
        let mut runner = testing::same_cases(12);
        runner.run(&steps(), |(steps, entries)| equals_a_cold_run(&testing::hybrid(), path, steps, entries)).unwrap();
    }
}

/// The same cases each time: on this path answers are equal to rounding, so that two tokens as good as equal may change places.
#[test]
fn every_answer_equals_a_cold_run_on_the_gpu_path() {
    let mut runner = testing::same_cases(16);
    runner.run(&steps(), |(steps, entries)| equals_a_cold_run(&json!({}), ComputePath::Gpu, steps, entries)).unwrap();
}

/// Whatever else is served, cached, evicted, damaged or read from disk in the meantime: every answer equals the one of a cold
/// cache.
fn equals_a_cold_run(config: &Value, path: ComputePath, steps: Vec<WorkerStep>, entries: usize) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let (limits, disk) =
        (CacheLimits { entries, bytes: Some(60_000) }, Some(DiskOptions { folder: folder.path().into(), bytes: 200_000 }));
    let mut test = TestWorker::of(config, limits.clone(), path).restart(limits.clone(), disk.clone());
    let mut asked = Vec::new();
    for step in steps {
        match step {
            WorkerStep::Ask(prompt) => {
                let events = test.ask(&prompt, 6);
                asked.push((prompt, Some(events)));
            }
            WorkerStep::Turns(count) => test.turns(count),
            WorkerStep::Leave(index) if !asked.is_empty() => index.get_mut(&mut asked).1 = None,
            WorkerStep::Leave(_) => {}
            WorkerStep::Shrink(bytes) => test.worker.cache.shrink_by(bytes),
            WorkerStep::Clear => test.worker.cache.clear(),
            WorkerStep::Restart => {
                // Answers that have not ended never will.
                asked.iter_mut().for_each(|(_, events)| *events = events.take().filter(EventReceiver::is_closed));
                test = test.restart(limits.clone(), disk.clone());
            }
            WorkerStep::Damage(file, at) => damage(folder.path(), file, at),
        }
    }
    test.finish();
    let mut cold = TestWorker::of(config, CacheLimits { entries: 0, bytes: None }, path);
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
    Ok(())
}
