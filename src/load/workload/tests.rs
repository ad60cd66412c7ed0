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
    Workload::of(traces.into_iter().map(Ok), Changes::default(), Duration::from_secs(60)).unwrap()
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
        [vec![Start::At(s(0)), Start::AfterAnswer(s(20)), Start::AfterAnswer(s(60))], vec![Start::At(s(105 + 60))],]
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

#[test]
fn a_conversation_goes_on_with_other_tools_and_not_beside_itself() {
    let tools = |names: &[&str]| {
        json!(names.iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}})).collect::<Vec<_>>())
    };
    let marked =
        json!([{"role": "user", "content": [{"type": "text", "text": "Read it", "cache_control": {"type": "ephemeral"}}]}]);
    let plain = json!([{"role": "user", "content": [{"type": "text", "text": "Read it"}]}]);
    let agent = json!({"x-claude-code-agent-id": "7"});
    let workload = of(vec![
        trace("a", 1, 0, Some(1), &[("/request/body/messages", marked)]),
        // The title of the session, which the client asks for beside it.
        trace("a", 2, 0, Some(1), &[("/request/body/messages", plain.clone()), ("/request/body/tools", json!([]))]),
        trace("a", 3, 0, Some(1), &[("/request/body/messages", plain.clone()), ("/request/headers", agent)]),
        trace(
            "a",
            4,
            5,
            Some(1),
            &[("/request/body/messages", plain), ("/request/body/tools", tools(&["Read", "mcp__late__find"]))],
        ),
    ]);
    let ids =
        workload.conversations.iter().map(|conversation| conversation.turns.iter().map(|turn| turn.id.to_string()).collect());
    assert_eq!(ids.collect::<Vec<Vec<String>>>(), [&["a/001", "a/004"][..], &["a/002"], &["a/003"]]);
}

#[test]
fn only_an_answer_that_came_whole_says_how_long_it_is() {
    let workload = of(vec![
        trace("a", 1, 0, Some(1), &[]),
        trace("a", 2, 5, Some(1), &[("/outcome", json!("truncated"))]),
        trace("a", 3, 9, Some(1), &[("/outcome", json!("client_closed"))]),
    ]);
    let most: Vec<_> = workload.conversations[0].turns.iter().map(|turn| turn.request().max_tokens).collect();
    assert_eq!(most, [7, 64000, 64000]);
}

/// A server that does not know a beta of a request that is not sent would refuse all others.
#[test]
fn a_trace_that_is_skipped_asks_for_no_beta() {
    let betas = |names: &str| json!({"anthropic-beta": names});
    let workload = of(vec![
        trace("a", 1, 0, Some(1), &[("/request/headers", betas("one, two"))]),
        trace("a", 2, 1, Some(1), &[("/request/headers", betas("two,three"))]),
        trace(
            "a",
            3,
            2,
            Some(1),
            &[("/request/headers", betas("counting")), ("/request/path", json!("/v1/messages/count_tokens"))],
        ),
        trace("a", 4, 3, Some(1), &[("/request/headers", betas("refused")), ("/response/status", json!(400))]),
    ]);
    assert_eq!((workload.betas, workload.skipped), (["one", "two", "three"].map(str::to_owned).to_vec(), 2));
}

/// Two people may have called their sessions alike, and asked the same.
#[test]
fn sessions_of_the_same_name_in_two_folders_are_two() {
    let (_, one) = trace("a", 1, 0, Some(1), &[]);
    let traces = ["mine/a/001.json", "yours/a/001.json"].map(|path| (PathBuf::from(path), one.clone()));
    assert_eq!(of(traces.to_vec()).conversations.len(), 2);
}

/// A title that the client asks for may be empty, and such an answer is then as good.
#[test]
fn an_answer_is_known_to_have_no_content_if_it_came_whole() {
    let (nothing, empty) = (json!([]), json!([{"type": "text", "text": ""}]));
    let workload = of(vec![
        trace("a", 1, 0, Some(1), &[]),
        trace("a", 2, 1, Some(1), &[("/response/body/content", nothing.clone())]),
        trace("a", 3, 2, Some(1), &[("/response/body/content", empty)]),
        trace("a", 4, 3, Some(1), &[("/response/body/content", nothing), ("/outcome", json!("truncated"))]),
    ]);
    let known: Vec<_> = workload.conversations[0].turns.iter().map(|turn| turn.recorded_without_content).collect();
    assert_eq!(known, [false, true, true, false]);
}

#[test]
fn requests_are_changed_as_the_user_wants() {
    let changes = Changes { model: Some("other"), max_tokens: Some(3) };
    let workload = Workload::of([Ok(trace("a", 1, 0, Some(1), &[]))], changes, Duration::ZERO).unwrap();
    let request = workload.conversations[0].turns[0].request();
    assert_eq!((request.model.as_str(), request.max_tokens, request.stream), ("other", 3, true));
}
