//! What becomes of recorded traces.

use super::*;

/// A trace of a session that was recorded so many seconds after midnight and took so many, if that is known.
fn trace(session: &str, seq: u32, at_s: u32, took_s: Option<u64>, more: &[(&str, Value)]) -> (PathBuf, Trace) {
    let mut trace = json!({
        "version": 1, "id": "x", "session": session, "seq": seq, "client": "c", "mode": "anthropic", "outcome": "complete",
        "recorded_at": format!("2026-01-{:02}T{:02}:{:02}:{:02}Z", 1 + at_s / 86_400, at_s / 3600 % 24, at_s / 60 % 60, at_s % 60),
        "timing": {"ttft_us": null, "e2e_us": took_s.map(|s| s * 1_000_000), "itl_us": null},
        "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": {
            "model": "m", "max_tokens": 64000, "messages": [{"role": "user", "content": "Read it"}], "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
        }},
        "response": {"status": 200, "headers": {}, "events": [], "body": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": null,
            "content": [{"type": "text", "text": "It."}], "usage": {"input_tokens": 9, "output_tokens": 7},
        }},
    });
    for (pointer, value) in more {
        *trace.pointer_mut(pointer).unwrap() = value.clone();
    }
    (PathBuf::from(format!("traces/{session}/{seq:03}.json")), serde_json::from_value(trace).unwrap())
}

fn of(traces: Vec<(PathBuf, Trace)>) -> Workload {
    Workload::of(traces, Duration::from_secs(60)).unwrap()
}

fn starts(workload: &Workload) -> Vec<Vec<Start>> {
    workload.conversations.iter().map(|conversation| conversation.turns.iter().map(|turn| turn.start).collect()).collect()
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A session, its user's lunch in it, and one of two days later.
#[test]
fn nobody_sleeps_through_the_days_between_sessions() {
    let day = 86_400;
    let workload = of(vec![
        trace("a", 1, 0, Some(10), &[]),
        trace("a", 2, 30, Some(10), &[]),
        trace("a", 3, 3640, Some(5), &[]),
        trace("b", 1, 2 * day, Some(20), &[]),
    ]);
    assert_eq!(
        starts(&workload),
        [
            vec![Start::At(s(0)), Start::AfterAnswer(s(20)), Start::AfterAnswer(s(60))],
            vec![Start::At(s(105 + 60))],
        ]
    );
    let left_out = s(u64::from(2 * day) - 165);
    assert_eq!(workload.pauses, CutPauses { count: 2, left_out });
    // The last answer's end, so that a copy does not begin before it.
    assert_eq!((workload.lasts, workload.without_end), (s(185), 0));
}

#[test]
fn a_request_after_an_answer_without_an_end_keeps_its_distance_from_the_one_before() {
    let without_times = json!([{"at_us": 0, "event": "message_stop", "data": {"type": "message_stop"}}]);
    let cut_off = json!([{"at_us": 4_000_000, "event": "ping", "data": {"type": "ping"}}]);
    let workload = of(vec![
        trace("a", 1, 0, None, &[]),
        trace("a", 2, 30, None, &[("/response/events", without_times)]),
        trace("a", 3, 50, None, &[("/response/events", cut_off)]),
        trace("a", 4, 60, Some(1), &[]),
    ]);
    let expected = [Start::At(s(0)), Start::AfterRequest(s(30)), Start::AfterRequest(s(20)), Start::AfterAnswer(s(6))];
    assert_eq!(starts(&workload), [expected]);
    assert_eq!(workload.without_end, 2);
}
