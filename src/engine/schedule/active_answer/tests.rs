//! Answers with drafts against answers computed token by token, on the random model.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::engine::cache::CacheLimits;
use crate::engine::model::LoadListener;
use crate::engine::model::{ComputePath, SequenceInput};
use crate::engine::text::{Tokenizer, tiny_model};
use crate::engine::{CacheStats, Sampling, testing};
use crate::wire::{TokenLogprob, TopLogprobs};

/// An answer's text with its tokens' log-probabilities, why it ended, and its number of tokens.
#[derive(Debug, PartialEq)]
struct Said {
    text: String,
    logprobs: Vec<TokenLogprob>,
    reason: EndReason,
    tokens: usize,
}

impl Said {
    fn of(pieces: Vec<Piece>, reason: EndReason, tokens: usize) -> Self {
        let mut said = Self { text: String::new(), logprobs: Vec::new(), reason, tokens };
        for piece in pieces {
            match piece {
                Piece::Text(more) | Piece::ToolInput(more) | Piece::Thinking(more) => said.text.push_str(&more),
                Piece::TextWithLogprobs { text, logprobs } => {
                    said.text.push_str(&text);
                    said.logprobs.extend(logprobs);
                }
                Piece::ToolStart { name } => said.text.push_str(&format!("[{name} ")),
                Piece::ToolEnd => said.text.push(']'),
            }
        }
        said
    }
}

/// A model that answers with and without drafts.
struct TestAnswers<Folder> {
    dir: Folder,
    model: Model,
}

impl TestAnswers<tempfile::TempDir> {
    fn new(path: ComputePath) -> Self {
        let (dir, model) = testing::model_with(&json!({}), path);
        Self { dir, model }
    }
}

impl<Folder> TestAnswers<Folder> {
    /// The answer as the engine computes it, its number of steps, and the cache afterwards.
    fn answer(&self, generation: Generation) -> (Said, usize, CacheStats) {
        let stats = Arc::new(Mutex::new(CacheStats::default()));
        let cache = &mut PrefixCache::new(CacheLimits::default(), None, stats.clone());
        let (events, mut received) = tokio::sync::mpsc::unbounded_channel();
        let mut answer = ActiveAnswer::start(&self.model, cache, generation, OutputLimits::default(), events).unwrap();
        while answer.is_prefilling() {
            answer.prefill_chunk(&self.model, cache, 512).unwrap();
        }
        let mut steps = 0;
        let finished = loop {
            steps += 1;
            match ActiveAnswer::step(&self.model, &unlimited(), &mut [&mut answer]).remove(0) {
                None => {}
                Some(AnswerEnding::Finished(finished)) => break finished,
                Some(AnswerEnding::Unwanted) => panic!("nobody left"),
                Some(AnswerEnding::Failed(error)) => panic!("{error}"),
            }
        };
        let (reason, tokens) = (finished.reason.clone(), finished.output_tokens);
        answer.end(cache, AnswerEnding::Finished(finished));
        let mut pieces = Vec::new();
        while let Ok(event) = received.try_recv() {
            if let EngineEvent::Piece(piece) = event.unwrap() {
                pieces.push(piece);
            }
        }
        let stats = stats.lock().unwrap().clone();
        (Said::of(pieces, reason, tokens), steps, stats)
    }

    /// The same answer, with one forward pass per token.
    fn token_by_token(&self, generation: Generation) -> Said {
        let Generation { prompt, max_tokens, mut decoder, mut sampler } = generation;
        let mut cache = self.model.new_cache();
        let (last, before) = prompt.split_last().unwrap();
        before.chunks(512).for_each(|chunk| self.model.prefill(chunk, &mut cache).unwrap());
        let (mut next, mut pieces, mut tokens) = (*last, Vec::new(), 0);
        let reason = loop {
            let logits = self.model.logits(vec![SequenceInput::new(&[next], &mut cache)]).unwrap();
            let mask = decoder.mask().unwrap();
            next = sampled(&logits, mask.as_ref(), &mut sampler).unwrap();
            decoder.weigh(next, &logits, mask.as_ref());
            tokens += 1;
            pieces.extend(decoder.push(next).unwrap());
            if let Some(reason) = end_reason(&decoder, tokens, max_tokens) {
                break reason;
            }
        };
        pieces.extend(decoder.finish());
        Said::of(pieces, reason, tokens)
    }
}

#[test]
fn answers_that_decode_together_for_a_while_share_buffers_as_long_as_they_stay() {
    let test = TestAnswers::new(ComputePath::Gpu);
    let cache = &mut PrefixCache::new(CacheLimits::default(), None, Arc::default());
    let requests = [(300, 60), (310, 30), (280, 45)];
    let generation = |(prompt, tokens)| testing::generation(test.dir.path(), &testing::prompt(prompt), tokens);
    let alone = requests.map(|request| test.answer(generation(request)).0.text);

    let (events, mut received): (Vec<_>, Vec<_>) = requests.iter().map(|_| tokio::sync::mpsc::unbounded_channel()).unzip();
    let start = |(request, events)| {
        let mut answer = ActiveAnswer::start(&test.model, cache, generation(request), OutputLimits::default(), events).unwrap();
        while answer.is_prefilling() {
            answer.prefill_chunk(&test.model, cache, 512).unwrap();
        }
        answer
    };
    let mut answers: Vec<_> = requests.into_iter().zip(events).map(start).collect();
    let joint =
        |answers: &[ActiveAnswer]| Sequence::are_joined(&answers.iter().map(|answer| &answer.sequence).collect::<Vec<_>>());
    let mut joined = Vec::new();
    while !answers.is_empty() {
        let endings = ActiveAnswer::step(&test.model, &unlimited(), &mut answers.iter_mut().collect::<Vec<_>>());
        let mut endings = endings.into_iter();
        answers.retain(|_| endings.next().unwrap().is_none());
        joined.push((answers.len(), !answers.is_empty() && joint(&answers)));
    }
    assert!(!joined[0].1, "not at once: {joined:?}");
    for left in [3, 2, 1] {
        assert!(joined.contains(&(left, true)), "{left} share buffers, a last one has its own: {joined:?}");
    }
    let mut text = |received: &mut tokio::sync::mpsc::UnboundedReceiver<_>| {
        let mut text = String::new();
        while let Ok(event) = received.try_recv() {
            if let Ok(EngineEvent::Piece(Piece::Text(more))) = event {
                text.push_str(&more);
            }
        }
        text
    };
    assert_eq!(received.iter_mut().map(&mut text).collect::<Vec<_>>(), alone);
}

/// As much memory as anybody wants.
fn unlimited() -> MemoryLimit {
    MemoryLimit { base: 0, most: usize::MAX, token_bytes: 1, state_bytes: 0, path: ComputePath::Gpu }
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

/// Tokens drawn on the device with the sampler's own numbers are those that it draws on the host.
#[test]
fn drafts_change_no_drawn_answer_on_the_gpu_path() {
    let drawn = Sampling { temperature: 0.7, top_k: 20, top_p: 0.95, seed: Some(7), ..Sampling::GREEDY };
    let mut runner = testing::same_cases(12);
    runner.run(&draft_case(), |case| drafts_change_nothing(ComputePath::Gpu, case, drawn.clone())).unwrap();
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
    prop_assert_eq!(kept, [prompt.len() + said.tokens - 1]);
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
    assert!(steps * 2 < said.tokens, "{steps} steps for {} tokens: {}", said.tokens, said.text);
}

/// The committed model, which has learned to repeat what it is told.
fn trained(path: ComputePath) -> TestAnswers<std::path::PathBuf> {
    let dir = tiny_model();
    let model = Model::load(&dir, path, &LoadListener::default()).unwrap();
    TestAnswers { dir, model }
}

#[test]
fn drafts_and_stop_sequences_change_no_log_probability() {
    for path in ComputePath::ALL {
        let test = trained(path);
        let tokenizer = Tokenizer::load(&test.dir).unwrap();
        // The model says the same again, so it is drafted from the prompt.
        let turn =
            "<|im_start|>user\nHello<|im_end|>\n<|im_start|>recall\nTask: Hello\nAgain: Hello<|im_end|>\n<|im_start|>assistant\n";
        let prompt =
            format!("{turn}Hello! I am a tiny model. I can read, write and edit files and run commands.<|im_end|>\n{turn}");
        let prompt = tokenizer.encode(&prompt).unwrap();
        // What the grammar requires is drafted too, however unlikely the model finds it.
        let format = json!({"type": "json_schema", "schema": {"const": "what I would never have said, so help me"}});
        for request in [json!({}), json!({"stop_sequences": [" and edit", "zz"]}), json!({"output_config": {"format": format}})] {
            let generation = |top| testing::asked_with_logprobs(&test.dir, &request, &prompt, 60, Sampling::GREEDY, top);
            let (drafted, steps, _) = test.answer(generation(Some(TopLogprobs(5))));
            let alone = test.token_by_token(generation(Some(TopLogprobs(5))));
            assert_eq!(drafted.text, test.answer(generation(None)).0.text, "asking for them changes nothing");
            assert_eq!((&drafted.text, drafted.logprobs.len()), (&alone.text, alone.logprobs.len()));
            assert!(drafted.logprobs.len() > 5 && steps < drafted.tokens, "{steps} steps: {drafted:?}");
            let bytes: Vec<u8> = drafted.logprobs.iter().flat_map(|token| token.bytes.clone()).collect();
            assert_eq!(String::from_utf8(bytes).unwrap(), drafted.text);
            for (drafted, alone) in drafted.logprobs.iter().zip(&alone.logprobs) {
                assert_eq!((&drafted.token, &drafted.bytes), (&alone.token, &alone.bytes));
                let likely = |token: &TokenLogprob| token.top_logprobs.iter().map(|likely| likely.logprob).collect::<Vec<_>>();
                let pairs = likely(drafted).into_iter().zip(likely(alone)).chain([(drafted.logprob, alone.logprob)]);
                pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{drafted:?} {alone:?}"));
            }
        }
    }
}

#[test]
fn on_the_gpu_path_there_is_room_for_the_answer_from_the_start() {
    let test = TestAnswers::new(ComputePath::Gpu);
    let cache = &mut PrefixCache::new(CacheLimits::default(), None, Arc::default());
    // The prompt alone would fill its buffers to the last token.
    let generation = testing::generation(test.dir.path(), &testing::prompt(256), 60);
    let (events, _received) = tokio::sync::mpsc::unbounded_channel();
    let mut answer = ActiveAnswer::start(&test.model, cache, generation, OutputLimits::default(), events).unwrap();
    answer.prefill_chunk(&test.model, cache, 512).unwrap();
    let bytes = answer.sequence.copied_bytes();
    while ActiveAnswer::step(&test.model, &unlimited(), &mut [&mut answer]).remove(0).is_none() {}
    assert_eq!((answer.output_tokens(), answer.sequence.copied_bytes()), (60, bytes));
}
