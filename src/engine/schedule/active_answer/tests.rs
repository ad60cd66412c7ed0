//! Answers with drafts against answers computed token by token, on the random model.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::engine::cache::CacheLimits;
use crate::engine::model::{ComputePath, SequenceInput};
use crate::engine::{CacheStats, Sampling, testing};

/// An answer's text, why it ended, and its number of tokens.
type Said = (String, EndReason, usize);

/// A model that answers with and without drafts.
struct TestAnswers {
    dir: tempfile::TempDir,
    model: Model,
}

impl TestAnswers {
    fn new(path: ComputePath) -> Self {
        let (dir, model) = testing::model_with(&json!({}), path);
        Self { dir, model }
    }

    /// The answer as the engine computes it, its number of steps, and the cache afterwards.
    fn answer(&self, generation: Generation) -> (Said, usize, CacheStats) {
        let stats = Arc::new(Mutex::new(CacheStats::default()));
        let cache = &mut PrefixCache::new(CacheLimits::default(), None, stats.clone());
        let (events, mut received) = tokio::sync::mpsc::unbounded_channel();
        let mut answer = ActiveAnswer::start(&self.model, cache, generation, events).unwrap();
        while answer.is_prefilling() {
            answer.prefill_chunk(&self.model, cache, 512).unwrap();
        }
        let mut steps = 0;
        let finished = loop {
            steps += 1;
            match ActiveAnswer::step(&self.model, &mut [&mut answer]).remove(0) {
                None => {}
                Some(AnswerEnding::Finished(finished)) => break finished,
                Some(AnswerEnding::Unwanted) => panic!("nobody left"),
                Some(AnswerEnding::Failed(error)) => panic!("{error}"),
            }
        };
        let (reason, tokens) = (finished.reason.clone(), finished.output_tokens);
        answer.end(cache, AnswerEnding::Finished(finished));
        let mut text = String::new();
        while let Ok(event) = received.try_recv() {
            if let EngineEvent::Piece(piece) = event.unwrap() {
                write(&mut text, piece);
            }
        }
        let stats = stats.lock().unwrap().clone();
        ((text, reason, tokens), steps, stats)
    }

    /// The same answer, with one forward pass per token.
    fn token_by_token(&self, generation: Generation) -> Said {
        let Generation { prompt, max_tokens, mut decoder, mut sampler } = generation;
        let mut cache = self.model.new_cache();
        let (last, before) = prompt.split_last().unwrap();
        before.chunks(512).for_each(|chunk| self.model.prefill(chunk, &mut cache).unwrap());
        let (mut next, mut text, mut tokens) = (*last, String::new(), 0);
        let reason = loop {
            let logits = self.model.logits(vec![SequenceInput::new(&[next], &mut cache)]).unwrap();
            next = next_token(&logits, &mut decoder, &mut sampler).unwrap();
            tokens += 1;
            decoder.push(next).unwrap().into_iter().for_each(|piece| write(&mut text, piece));
            if let Some(reason) = end_reason(&decoder, tokens, max_tokens) {
                break reason;
            }
        };
        decoder.finish().into_iter().for_each(|piece| write(&mut text, piece));
        (text, reason, tokens)
    }
}

fn write(text: &mut String, piece: Piece) {
    match piece {
        Piece::Text(more) | Piece::ToolInput(more) | Piece::Thinking(more) => text.push_str(&more),
        Piece::ToolStart { name } => text.push_str(&format!("[{name} ")),
        Piece::ToolEnd => text.push(']'),
    }
}

/// Requests for free text, with stop sequences, with tools that may or must be called.
fn requests() -> Vec<Value> {
    let properties = json!({"file_path": {"type": "string"}, "replace_all": {"type": "boolean"}});
    let schema = json!({"type": "object", "properties": properties, "required": ["file_path", "replace_all"]});
    let tools = json!([{"name": "Edit", "input_schema": schema}, {"name": "Read", "input_schema": schema}]);
    vec![
        json!({}),
        json!({"stop_sequences": ["e", "zz"]}),
        json!({"tools": tools}),
        json!({"tools": tools, "tool_choice": {"type": "any"}}),
        json!({"tools": tools, "tool_choice": {"type": "tool", "name": "Edit"}, "stop_sequences": ["a"]}),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn drafts_change_no_answer_on_the_cpu_path(case in draft_case(), seed in prop::option::of(0u64..99)) {
        let seeded = |seed| Sampling { temperature: 0.3, repetition_penalty: 1.1, seed: Some(seed), ..Sampling::GREEDY };
        drafts_change_nothing(ComputePath::Cpu, case, seed.map_or(Sampling::GREEDY, seeded))?;
    }
}

/// Greedy, and the same cases each time: on this path rows computed together are equal to rows alone to rounding.
#[test]
fn drafts_change_no_greedy_answer_on_the_gpu_path() {
    let mut runner = testing::same_cases(16);
    runner.run(&draft_case(), |case| drafts_change_nothing(ComputePath::Gpu, case, Sampling::GREEDY)).unwrap();
}

/// A prompt that repeats itself, a request, and its `max_tokens`.
type DraftCase = (Vec<u32>, Value, usize);

fn draft_case() -> impl Strategy<Value = DraftCase> {
    let parts = prop::collection::vec(prop::collection::vec(0u32..300, 1..20), 1..4);
    let prompt = (parts, prop::collection::vec(0usize..4, 1..20))
        .prop_map(|(parts, order)| order.iter().flat_map(|part| parts[part % parts.len()].clone()).collect());
    (prompt, prop::sample::select(requests()), 1usize..90)
}

/// Free text or a call, however it ends: drafts change no token and leave nothing behind.
fn drafts_change_nothing(
    path: ComputePath,
    (prompt, request, max_tokens): DraftCase,
    sampling: Sampling,
) -> Result<(), TestCaseError> {
    let test = TestAnswers::new(path);
    let generation = || testing::asked(test.dir.path(), &request, &prompt, max_tokens, sampling.clone());
    let (said, _, stats) = test.answer(generation());
    let kept: Vec<usize> = stats.entries.iter().map(|entry| entry.tokens).collect();
    prop_assert_eq!(kept, [prompt.len() + said.2 - 1]);
    prop_assert_eq!(said, test.token_by_token(generation()));
    Ok(())
}

#[test]
fn an_answer_that_repeats_itself_takes_fewer_steps_than_tokens() {
    ComputePath::ALL.into_iter().for_each(repeats_itself);
}

fn repeats_itself(path: ComputePath) {
    let test = TestAnswers::new(path);
    // The random model soon repeats itself. With 600 tokens, drafts also have to end at the end of a segment.
    let generation = || testing::generation(test.dir.path(), &testing::prompt(20), 600);
    let (said, steps, stats) = test.answer(generation());
    assert_eq!(said, test.token_by_token(generation()));
    assert!(steps < 400, "{steps} steps");
    assert_eq!(stats.entries[0].tokens, 20 + 600 - 1);
}

#[test]
fn text_that_the_grammar_requires_is_drafted() {
    let test = TestAnswers::new(ComputePath::Cpu);
    let request = json!({"tools": [{"name": "Read", "input_schema": {"type": "object", "properties": {
        "a_rather_long_name_that_is_there_in_any_case": {"const": "and what it must be is long enough as well, is it not"}},
        "required": ["a_rather_long_name_that_is_there_in_any_case"], "additionalProperties": false}}],
        "tool_choice": {"type": "tool", "name": "Read", "disable_parallel_tool_use": true}});
    let generation = || testing::asked(test.dir.path(), &request, &testing::prompt(20), 200, Sampling::GREEDY);
    let (said, steps, _) = test.answer(generation());
    assert_eq!(said, test.token_by_token(generation()));
    assert!(steps * 2 < said.2, "{steps} steps for {} tokens: {}", said.2, said.0);
}

#[test]
fn on_the_gpu_path_there_is_room_for_the_answer_from_the_start() {
    let test = TestAnswers::new(ComputePath::Gpu);
    let cache = &mut PrefixCache::new(CacheLimits::default(), None, Arc::default());
    // The prompt alone would fill its buffers to the last token.
    let generation = testing::generation(test.dir.path(), &testing::prompt(256), 60);
    let (events, _received) = tokio::sync::mpsc::unbounded_channel();
    let mut answer = ActiveAnswer::start(&test.model, cache, generation, events).unwrap();
    answer.prefill_chunk(&test.model, cache, 512).unwrap();
    let bytes = answer.sequence.copied_bytes();
    while ActiveAnswer::step(&test.model, &mut [&mut answer]).remove(0).is_none() {}
    assert_eq!((answer.output_tokens(), answer.sequence.copied_bytes()), (60, bytes));
}
