//! What is planned: when requests come, and what the copies of a recorded conversation share and must not.

use super::*;

/// By chance, and over many requests at the rate that was asked for.
#[test]
fn poisson_arrivals_come_at_their_rate() {
    let pattern = Pattern::Rate { per_s: 50.0, arrivals: Arrivals::Poisson };
    let starts = |seed| {
        let planned = schedule(&workload(50), pattern, Some(4000), Shard::WHOLE, Dice { seed, run: 0 });
        let mut starts: Vec<Duration> = planned
            .conversations
            .iter()
            .flat_map(|conversation| &conversation.turns)
            .map(|turn| {
                let Start::At(time) = turn.start else { panic!("{turn:?}") };
                time
            })
            .collect();
        starts.sort();
        starts
    };
    let times = starts(1);
    assert_eq!((times.len(), times == starts(1), times == starts(2)), (4000, true, false));
    assert!((times[3999].as_secs_f64() - 80.0).abs() < 4.0, "{:?}", times[3999]);
    // The gaps of a Poisson process are as wide as they vary.
    let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
    assert!((deviation / mean - 1.0).abs() < 0.1, "{deviation} {mean}");
}

/// A second copy of a conversation must not find the first one's turns in a cache.
#[test]
fn copies_of_a_conversation_differ_in_their_first_message() {
    let planned = schedule(&workload(1), constant(1.0), Some(4), Shard::WHOLE, DICE);
    let first = |nth: usize, turn: usize| {
        let conversation = &planned.conversations[nth];
        conversation.turns[turn].request(&conversation.mark).messages[0].clone()
    };
    assert_eq!(first(0, 0), first(0, 1));
    assert_ne!(first(0, 0), first(1, 0));
}

/// Sessions may begin with the same words, and are not each other's: what one sent is in no cache of the other.
#[test]
fn conversations_of_one_copy_have_marks_of_their_own() {
    let planned = schedule(&workload(3), constant(1.0), Some(12), Shard::WHOLE, DICE);
    let marks: std::collections::HashSet<_> = planned.conversations.iter().map(|conversation| &conversation.mark).collect();
    assert_eq!(marks.len(), 6);
}

/// A million requests of 100 kB are planned before the first is sent: all copies share what was recorded.
#[test]
fn copies_of_a_conversation_share_their_requests() {
    let workload = workload(1);
    let planned = schedule(&workload, constant(1.0), Some(1000), Shard::WHOLE, DICE);
    let recorded = &workload.conversations[0].turns[1];
    assert!(planned.conversations.iter().all(|conversation| Arc::ptr_eq(&conversation.turns[1].turn, recorded)));
}

/// One imported trace of which nobody knows when its answer ended has no length, and its copies come one after the other.
#[test]
fn copies_of_a_recording_without_a_length_do_not_come_at_once() {
    let one = Workload { lasts: Duration::ZERO, ..workload(1) };
    let pattern = Pattern::AsRecorded { speed: 1.0, longest_pause_us: 0 };
    let planned = schedule(&one, pattern, Some(6), Shard::WHOLE, DICE);
    let starts: Vec<Start> = planned.conversations.iter().map(|conversation| conversation.turns[0].start).collect();
    assert_eq!(starts, [0, 1, 2].map(|second| Start::At(Duration::from_secs(second))));
}
