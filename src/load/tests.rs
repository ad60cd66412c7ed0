//! A mock of 64 workers with known latencies, on a clock that only the tests move: what is reported is what was planted.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::*;
use crate::backend::{Backend, BackendError, EventStream};
use crate::report::{LoadTarget, Measured};
use crate::snapshot::ExchangeId;
use crate::wire::{ErrorBody, ErrorKind, MessagesRequest, StreamEvent};

mod planned;

const WORKERS: usize = 64;
const TTFT: Duration = Duration::from_millis(200);
const TPOT: Duration = Duration::from_millis(10);
/// A text of so many events, each a token.
const TOKENS: u32 = 21;
/// How long a worker is taken.
const BUSY: Duration = Duration::from_millis(400);

/// Each request takes one of the workers, waits for one where all are taken, and is then answered in the planted times.
struct Workers {
    free: Arc<Semaphore>,
    /// What becomes of requests with this number of `max_tokens`.
    odd: Option<(u32, Odd)>,
}

/// What may come in place of an answer with content.
#[derive(Clone, Copy, PartialEq)]
enum Odd {
    Refused,
    Panic,
    /// An answer that takes as long as others, and has nothing in it.
    Empty,
}

impl Workers {
    fn new(count: usize) -> Arc<Self> {
        Arc::new(Self { free: Arc::new(Semaphore::new(count)), odd: None })
    }
}

impl Backend for Workers {
    fn name(&self) -> String {
        "workers".into()
    }

    fn model(&self) -> String {
        "mock".into()
    }

    fn messages(&self, request: MessagesRequest) -> BoxFuture<'_, Result<EventStream, BackendError>> {
        Box::pin(async move {
            let odd = self.odd.filter(|(max_tokens, _)| request.max_tokens == *max_tokens).map(|(_, odd)| odd);
            match odd {
                Some(Odd::Refused) => return Err(BackendError::from(ErrorBody::new(ErrorKind::Overloaded, "no"))),
                Some(Odd::Panic) => panic!("a fault of the client"),
                Some(Odd::Empty) | None => {}
            }
            let worker = self.free.clone().acquire_owned().await.unwrap();
            let start = json!({"type": "message_start", "message": {
                "id": "m", "type": "message", "role": "assistant", "model": "mock", "content": [], "stop_reason": null,
                "stop_sequence": null, "usage": {"input_tokens": 100, "cache_read_input_tokens": 900, "output_tokens": 0},
            }});
            let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
            let token = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a "}});
            let mut events = vec![(Duration::ZERO, start), (Duration::ZERO, block), (TTFT, token.clone())];
            events.extend((1..TOKENS).map(|_| (TPOT, token.clone())));
            if odd == Some(Odd::Empty) {
                events.truncate(1);
            } else {
                events.push((Duration::ZERO, json!({"type": "content_block_stop", "index": 0})));
            }
            events.extend([
                (
                    if odd == Some(Odd::Empty) { BUSY } else { Duration::ZERO },
                    json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": {"output_tokens": TOKENS}}),
                ),
                (Duration::ZERO, json!({"type": "message_stop"})),
            ]);
            let events = stream::unfold((events.into_iter(), worker), |(mut events, worker)| async move {
                let (wait, event) = events.next()?;
                sleep(wait).await;
                let event: StreamEvent = serde_json::from_value(event).unwrap();
                Some((Ok(event), (events, worker)))
            });
            Ok(EventStream::new(events))
        })
    }

    fn count_tokens(&self, _request: MessagesRequest) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async { Ok(1000) })
    }
}

/// Conversations of two turns, a second of thought between them, one every 100 ms.
fn workload(conversations: u64) -> Workload {
    let turn = |conversation: u64, seq: u32| {
        let request = json!({
            "model": "m", "max_tokens": 9 + seq, "messages": [{"role": "user", "content": format!("hello {conversation}")}],
        });
        let start = match seq {
            1 => Start::At(Duration::from_millis(100 * conversation)),
            _ => Start::AfterAnswer(Duration::from_secs(1)),
        };
        let id = ExchangeId::new(&format!("s{conversation}"), &format!("{seq:04}")).unwrap();
        Turn::new(id, &serde_json::from_value(request).unwrap(), start)
    };
    let conversation = |nth| Conversation { turns: vec![turn(nth, 1).into(), turn(nth, 2).into()] };
    let lasts = Duration::from_millis(100 * conversations) + BUSY * 2 + Duration::from_secs(1);
    Workload { conversations: (0..conversations).map(conversation).collect(), lasts, ..Workload::default() }
}

const DICE: Dice = Dice { seed: 7, run: 1 };

async fn samples(pattern: Pattern, requests: usize, backend: Arc<Workers>) -> Vec<Sample> {
    let mut samples = Vec::new();
    run(schedule(&workload(50), pattern, Some(requests), Shard::WHOLE, DICE), backend, |sample| samples.push(sample)).await;
    samples
}

fn measured(samples: &[Sample], pattern: Pattern, budget: Budget) -> Measured {
    let target = LoadTarget { backend: "workers".into(), model: "mock".into(), host: "here".into() };
    Measured::of(samples, target, pattern, Shard::WHOLE, budget)
}

fn assert_near(found_us: u64, planted: Duration) {
    let (found, planted) = (found_us as f64, planted.as_micros() as f64);
    assert!((found - planted).abs() <= planted * 0.02, "{found} µs is not {planted} µs");
}

fn constant(per_s: f64) -> Pattern {
    Pattern::Rate { per_s, arrivals: Arrivals::Constant }
}

/// 100 requests a second take 40 of 64 workers, so none waits.
#[tokio::test(start_paused = true)]
async fn below_capacity_the_planted_latencies_are_reported() {
    let pattern = constant(100.0);
    let samples = samples(pattern, 1000, Workers::new(WORKERS)).await;
    let measured = measured(&samples, pattern, Budget::default());
    for (times, planted) in [(&measured.ttft, TTFT), (&measured.tpot, TPOT), (&measured.e2e, BUSY)] {
        for us in [times.distribution().median_us().unwrap(), times.distribution().range_us().unwrap().1] {
            assert_near(us, planted);
        }
    }
    assert_eq!((measured.requests, measured.answered, measured.errors.len()), (1000, 1000, 0));
    assert_eq!((measured.prompt_tokens, measured.cache_read_tokens), (1_000_000, Some(900_000)));
    // The last request comes after 9.99 s.
    assert_near(measured.wall_us, Duration::from_micros(9_990_000) + BUSY);
}

/// 64 workers that are taken for 400 ms each answer 160 requests a second. Of 320 a second, every further one waits 3.125 ms
/// more: the thousandth 3.1 s. A load generator that waited for answers would not see that.
#[tokio::test(start_paused = true)]
async fn above_capacity_the_queue_is_in_the_latencies() {
    let pattern = constant(320.0);
    // Conversations of one request, so that none is held back by an answer.
    let first_only = |conversation: Conversation| Conversation { turns: vec![conversation.turns[0].clone()] };
    let alone =
        Workload { conversations: workload(50).conversations.into_iter().map(first_only).collect(), ..Workload::default() };
    let mut samples = Vec::new();
    let planned = schedule(&alone, pattern, Some(1000), Shard::WHOLE, DICE);
    run(planned, Workers::new(WORKERS), |sample| samples.push(sample)).await;
    let patience = Duration::from_millis(300);
    let budget = Budget { ttft: Some(TTFT + patience), tpot: Some(TPOT * 2) };
    let measured = measured(&samples, pattern, budget);
    let waits: Vec<Duration> = (0..1000u32)
        .map(|nth| {
            // The workers are free in rounds of 64.
            let free = BUSY * (nth / WORKERS as u32) + Duration::from_secs_f64(f64::from(nth % WORKERS as u32) / 320.0);
            free.saturating_sub(Duration::from_secs_f64(f64::from(nth) / 320.0))
        })
        .collect();
    let longest = TTFT + *waits.iter().max().unwrap();
    assert_near(measured.ttft.distribution().range_us().unwrap().1, longest);
    let mut sorted = waits.clone();
    sorted.sort();
    assert_near(measured.ttft.distribution().median_us().unwrap(), TTFT + sorted[499]);
    let good = waits.iter().filter(|wait| **wait <= patience).count();
    assert_eq!(measured.within_budget, Some(good as u64));
}

/// Two conversations whose second requests are due before the answers to their first ones end.
/// Nobody asks on without an answer, so the server is not blamed for that, and the report says how long they were held back.
#[tokio::test(start_paused = true)]
async fn the_answer_before_is_no_delay_of_the_next_request() {
    let (pattern, mut samples) = (constant(100.0), Vec::new());
    let planned = schedule(&workload(2), pattern, Some(4), Shard::WHOLE, DICE);
    run(planned, Workers::new(WORKERS), |sample| samples.push(sample)).await;
    let measured = measured(&samples, pattern, Budget::default());
    for us in [measured.ttft.distribution().median_us().unwrap(), measured.ttft.distribution().range_us().unwrap().1] {
        assert_near(us, TTFT);
    }
    // The third request is due after 20 ms, and the answer to the first ends after 400.
    assert_near(measured.held.distribution().range_us().unwrap().1, BUSY - Duration::from_millis(20));
    // Tokio's clock goes by milliseconds.
    assert!(measured.late.distribution().range_us().unwrap().1 <= 1_000);
}

/// A rate that one conversation cannot send was not borne, however fast each answer is.
#[tokio::test(start_paused = true)]
async fn a_rate_at_which_requests_are_held_back_is_fallen_behind() {
    let turns: Vec<_> = workload(1).conversations[0].turns.iter().cycle().take(20).cloned().collect();
    let long = Workload { conversations: vec![Conversation { turns }], ..Workload::default() };
    for (per_s, behind) in [(2.0, false), (5.0, true)] {
        let mut samples = Vec::new();
        let planned = schedule(&long, constant(per_s), None, Shard::WHOLE, DICE);
        run(planned, Workers::new(WORKERS), |sample| samples.push(sample)).await;
        assert_eq!(falls_behind(&samples), behind, "{per_s}");
    }
}

/// A conversation goes on when the answer before is there, and as long after it as the user took.
#[tokio::test(start_paused = true)]
async fn recorded_conversations_keep_their_arrivals_and_their_thinking() {
    let samples = samples(Pattern::AsRecorded { speed: 1.0, longest_pause_us: 60_000_000 }, 100, Workers::new(WORKERS)).await;
    for sample in &samples {
        let (session, seq) = sample.id.split_once('/').unwrap();
        let begins = Duration::from_millis(100 * session[1..].parse::<u64>().unwrap());
        let planted = if seq == "0001" { begins } else { begins + BUSY + Duration::from_secs(1) };
        // Tokio's clock goes by milliseconds.
        assert!(sample.intended_us.abs_diff(planted.as_micros() as u64) <= 5_000, "{sample:?}");
    }
    assert_eq!(samples.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn twice_as_fast_takes_half_of_the_pauses() {
    let samples = samples(Pattern::AsRecorded { speed: 2.0, longest_pause_us: 60_000_000 }, 100, Workers::new(WORKERS)).await;
    let last = samples.iter().map(|sample| sample.intended_us).max().unwrap();
    assert_near(last, Duration::from_millis(2450) + BUSY + Duration::from_millis(500));
}

/// A second copy of the recording does not begin in the middle of the first one's last conversation.
#[tokio::test(start_paused = true)]
async fn a_copy_of_the_recording_begins_when_it_is_over() {
    let (pattern, mut samples) = (Pattern::AsRecorded { speed: 1.0, longest_pause_us: 60_000_000 }, Vec::new());
    let workload = workload(1);
    run(schedule(&workload, pattern, Some(4), Shard::WHOLE, DICE), Workers::new(WORKERS), |sample| samples.push(sample)).await;
    samples.sort_by_key(|sample| sample.intended_us);
    let begins: Vec<_> = samples.iter().map(|sample| sample.intended_us).collect();
    assert_near(begins[2], workload.lasts);
    assert_near(begins[3], workload.lasts + BUSY + Duration::from_secs(1));
}

/// Where nobody knows when an answer ended, a server that is slower than the recorded one still puts off what follows.
#[tokio::test(start_paused = true)]
async fn without_the_recorded_end_the_distance_of_the_requests_is_kept() {
    for (recorded, expected) in [(Duration::from_secs(3), Duration::from_secs(3)), (Duration::from_millis(1), BUSY)] {
        let mut workload = workload(1);
        Arc::make_mut(&mut workload.conversations[0].turns[1]).start = Start::AfterRequest(recorded);
        let (pattern, mut samples) = (Pattern::AsRecorded { speed: 1.0, longest_pause_us: 60_000_000 }, Vec::new());
        run(schedule(&workload, pattern, None, Shard::WHOLE, DICE), Workers::new(WORKERS), |sample| samples.push(sample)).await;
        assert_near(samples[1].intended_us, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn never_more_than_so_many_at_once() {
    let pattern = Pattern::Concurrency(8.try_into().unwrap());
    let samples = samples(pattern, 160, Workers::new(WORKERS)).await;
    let measured = measured(&samples, pattern, Budget::default());
    // 160 requests of 400 ms, 8 at a time: nobody thinks.
    assert_near(measured.wall_us, BUSY * 20);
    assert_near(measured.ttft.distribution().range_us().unwrap().1, TTFT);
}

#[tokio::test(start_paused = true)]
async fn errors_are_counted_by_kind_and_are_never_good() {
    let pattern = constant(100.0);
    let refusing = odd(11, Odd::Refused);
    let samples = samples(pattern, 100, refusing).await;
    let measured = measured(&samples, pattern, Budget { ttft: Some(Duration::from_secs(9)), tpot: None });
    assert_eq!((measured.answered, measured.errors["overloaded"].count, measured.within_budget), (50, 50, Some(50)));
    assert_eq!(measured.errors["overloaded"].example, "overloaded_error: no");
}

fn odd(max_tokens: u32, odd: Odd) -> Arc<Workers> {
    Arc::new(Workers { free: Arc::new(Semaphore::new(WORKERS)), odd: Some((max_tokens, odd)) })
}

/// A panic in the middle of a request is counted, and the rest of its conversation is sent.
#[tokio::test(start_paused = true)]
async fn a_request_that_panics_is_counted_as_such() {
    let pattern = constant(100.0);
    let samples = samples(pattern, 100, odd(10, Odd::Panic)).await;
    let measured = measured(&samples, pattern, Budget { ttft: Some(Duration::from_secs(9)), tpot: None });
    assert_eq!((measured.requests, measured.answered, measured.within_budget), (100, 50, Some(50)));
    let errors = &measured.errors["panicked"];
    assert_eq!((errors.count, errors.example.as_str()), (50, "a fault of the client"));
}

/// A server under load that gives nothing, quickly, is no good one; but what was empty when it was recorded may be.
#[tokio::test(start_paused = true)]
async fn an_answer_without_content_is_good_only_if_the_recorded_one_has_none() {
    let (pattern, budget) = (constant(100.0), Budget { ttft: Some(Duration::from_secs(9)), tpot: None });
    for (recorded_without_content, good) in [(false, 50), (true, 100)] {
        let mut workload = workload(50);
        for conversation in &mut workload.conversations {
            Arc::make_mut(&mut conversation.turns[1]).recorded_without_content = recorded_without_content;
        }
        let mut samples = Vec::new();
        let planned = schedule(&workload, pattern, None, Shard::WHOLE, DICE);
        run(planned, odd(11, Odd::Empty), |sample| samples.push(sample)).await;
        let measured = measured(&samples, pattern, budget);
        assert_eq!((measured.answered, measured.ttft.distribution().count()), (100, 50));
        assert_eq!(measured.within_budget, Some(good));
        let said = crate::report::load::to_terminal(&measured);
        assert!(said.contains("No content  50 of 100 answers ended before any came; good only where"), "{said}");
    }
}

/// Two load generators that come at the same moments are one that sends twice as much at once.
#[test]
fn no_shard_comes_when_one_of_the_seed_beside_it_does() {
    let pattern = Pattern::Rate { per_s: 50.0, arrivals: Arrivals::Poisson };
    let mut firsts = std::collections::HashSet::new();
    for seed in 0..4 {
        for nth in 1..=4 {
            let planned = schedule(&workload(8), pattern, Some(4), Shard { nth, of: 4 }, Dice { seed, run: 0 });
            let Start::At(first) = planned.conversations[0].turns[0].start else { panic!("{planned:?}") };
            firsts.insert(first);
        }
    }
    assert_eq!(firsts.len(), 16);
}

/// What two halves of a load measured is, together, what one generator of all of it measures.
#[tokio::test(start_paused = true)]
async fn the_reports_of_shards_merge_to_that_of_the_whole() {
    let pattern = constant(100.0);
    let whole = samples(pattern, 1000, Workers::new(WORKERS)).await;
    let mut parts = Vec::new();
    for nth in [1, 2] {
        let shard = Shard { nth, of: 2 };
        let mut samples = Vec::new();
        run(schedule(&workload(50), pattern, Some(500), shard, DICE), Workers::new(WORKERS), |sample| samples.push(sample)).await;
        let target = LoadTarget { backend: "workers".into(), model: "mock".into(), host: "here".into() };
        let part = Measured::of(&samples, target, pattern, shard, Budget::default());
        // As it comes back from a file.
        parts.push(Measured::parse(&part.to_json()).unwrap());
    }
    let merged = parts.into_iter().reduce(|one, other| one.merged(&other).unwrap()).unwrap();
    let whole = measured(&whole, pattern, Budget::default());
    assert_eq!((merged.requests, merged.answered), (whole.requests, whole.answered));
    assert_eq!(merged.target.host, "here");
    assert_eq!(merged.ttft.distribution().count(), 1000);
    assert_near(merged.e2e.distribution().median_us().unwrap(), BUSY);
    assert_near(merged.wall_us, Duration::from_micros(whole.wall_us));
}

/// A server may say any number, and the sum of two does not end the run.
#[test]
fn impossible_numbers_of_tokens_are_summed_up_too() {
    let answer = Answered {
        ttft_us: None,
        lacks_content: false,
        tpot_us: None,
        e2e_us: 1,
        prompt_tokens: u64::MAX,
        cache_read_tokens: Some(u64::MAX),
        output_tokens: u64::MAX,
    };
    let sample = Sample { id: "a".into(), intended_us: 0, held_us: 0, late_us: 0, answer: Ok(answer) };
    let measured = measured(&[sample.clone(), sample], constant(1.0), Budget::default());
    let sums = (measured.prompt_tokens, measured.cache_read_tokens, measured.output_tokens);
    assert_eq!(sums, (u64::MAX, Some(u64::MAX), u64::MAX));
}
