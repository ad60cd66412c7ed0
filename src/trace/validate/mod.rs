//! Checking trace files for everything that is wrong with them, not only the first thing.

mod answer;
mod chat_stream;
mod event_data;
mod messages_stream;
mod request;
mod responses_stream;
mod stream_problems;

pub(crate) use messages_stream::MessagesStream;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::trace::redact::Redactor;
use crate::trace::redact_trace::{assemble_redacted, parts_with_secrets};
use crate::trace::{Timing, Trace, assemble, came_at, is_session_name, read};

/// The result of a check.
#[derive(Debug, Default, PartialEq)]
pub struct Findings {
    /// What makes a trace unfit for use, a sentence each.
    pub problems: Vec<String>,
    /// What may be intended, a sentence each.
    pub warnings: Vec<String>,
}

/// Checks each file by itself, then all of them together. An id must belong to one exchange, of which another folder may have a
/// scrubbed copy. The numbers of a session should have no gaps.
pub fn check(paths: &[PathBuf], redactor: &Redactor) -> Findings {
    let mut findings = Findings::default();
    let mut ids: HashMap<String, (&Path, String, u32)> = HashMap::new();
    let mut sessions: BTreeMap<(&Path, String), Vec<u32>> = BTreeMap::new();
    for path in paths {
        let trace = match read(path) {
            Ok(trace) => trace,
            Err(error) => {
                findings.problems.push(error.to_string());
                continue;
            }
        };
        findings
            .problems
            .extend(problems_of(&trace, redactor).into_iter().map(|problem| format!("{}: {problem}", path.display())));
        if let Some((first, session, seq)) = ids.insert(trace.id.clone(), (path, trace.session.clone(), trace.seq))
            && (session, seq) != (trace.session.clone(), trace.seq)
        {
            findings.problems.push(format!("{}: its id {} is also that of {}", path.display(), trace.id, first.display()));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        sessions.entry((folder, trace.session)).or_default().push(trace.seq);
    }
    for ((folder, session), mut seqs) in sessions {
        seqs.sort_unstable();
        for pair in seqs.windows(2) {
            let place = format!("{}: session {session}", folder.display());
            match pair[1] - pair[0] {
                0 => findings.problems.push(format!("{place} has number {} twice", pair[0])),
                1 => {}
                _ => findings.warnings.push(format!("{place} has no numbers between {} and {}", pair[0], pair[1])),
            }
        }
    }
    findings
}

/// What is wrong with one trace, a sentence each.
pub fn problems_of(trace: &Trace, redactor: &Redactor) -> Vec<String> {
    let mut problems = Vec::new();
    let events = &trace.response.events;
    for (name, value) in [("id", &trace.id), ("session", &trace.session), ("request.method", &trace.request.method)] {
        if value.is_empty() {
            problems.push(format!("{name} is empty"));
        }
    }
    if !trace.session.is_empty() && !is_session_name(&trace.session) {
        problems.push(format!("session {:?} cannot be a folder's name", trace.session));
    }
    if trace.seq == 0 {
        problems.push("seq is 0; numbers begin at 1".into());
    }
    if came_at(trace).is_none() {
        problems.push(format!("recorded_at {:?} is no RFC 3339 time", trace.recorded_at));
    }
    if !trace.request.path.starts_with('/') {
        problems.push(format!("request.path {:?} does not begin with /", trace.request.path));
    }
    problems.extend(request::problem_of(trace));
    if !events.is_empty() {
        let body = &trace.response.body;
        if assemble(events) != *body && assemble_redacted(events, redactor) != *body {
            problems.push("response.body is not what response.events assemble to".into());
        }
        if let Some(late) = events.windows(2).position(|pair| pair[1].at_us < pair[0].at_us) {
            problems.push(format!("response.events[{}] came before the one that it follows", late + 1));
        }
        if trace.timing != Timing::of_events(events) {
            problems.push("timing is not what the events' at_us come to".into());
        }
    }
    problems.extend(answer::problems_of(trace));
    let secret = |part| format!("{part} holds what looks like a secret; do not share this file");
    problems.extend(parts_with_secrets(trace, redactor).into_iter().map(secret));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::opening;
    use crate::trace::{Draft, ExchangeOutcome, Opening, RecordedEvent, path_of, write};
    use serde_json::{Map, Value, json};

    /// A request to this path.
    pub(super) fn request_to(path: &str) -> Value {
        let messages = json!([{"role": "user", "content": "hi"}]);
        match path {
            "/v1/responses" => json!({"model": "m", "input": "hi"}),
            "/v1/completions" => json!({"model": "m", "prompt": "hi"}),
            _ => json!({"model": "m", "max_tokens": 5, "messages": messages}),
        }
    }

    /// What is wrong with a stream of these events, a line each.
    pub(super) fn problems_of_stream(path: &str, events: &[Value], outcome: ExchangeOutcome) -> String {
        let mut draft = Draft::new(opening(path, request_to(path)));
        draft.respond(200, Map::new());
        for data in events {
            let event = data["type"].as_str().unwrap_or("message").to_owned();
            draft.push(RecordedEvent { at_us: 1, event, data: data.clone() });
        }
        problems_of(&draft.to_trace(outcome, None), &Redactor::default()).join("\n")
    }

    fn message(content: &[Value]) -> Value {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content})
    }

    fn trace(id: &str, seq: u32) -> Trace {
        let mut draft =
            Draft::new(Opening { id: id.into(), seq, ..opening("/v1/messages?beta=true", request_to("/v1/messages")) });
        draft.respond(200, Map::new());
        for (at_us, data) in [
            (5, json!({"type":"message_start","message":message(&[])})),
            (8, json!({"type":"message_delta","delta":{"stop_reason":"end_turn"}})),
            (9, json!({"type":"message_stop"})),
        ] {
            draft.push(RecordedEvent { at_us, event: data["type"].as_str().unwrap().into(), data });
        }
        draft.to_trace(ExchangeOutcome::Complete, None)
    }

    #[test]
    fn a_recorded_trace_has_no_problems() {
        assert_eq!(problems_of(&trace("a", 1), &Redactor::default()), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named() {
        let spoil = |spoil: &dyn Fn(&mut Trace)| {
            let mut trace = trace("a", 1);
            spoil(&mut trace);
            problems_of(&trace, &Redactor::default()).join("; ")
        };
        insta::assert_snapshot!(spoil(&|t| t.id.clear()), @"id is empty");
        insta::assert_snapshot!(spoil(&|t| t.session = "../../pwn\n".into()), @r#"session "../../pwn\n" cannot be a folder's name"#);
        insta::assert_snapshot!(spoil(&|t| t.recorded_at = "yesterday".into()), @r#"recorded_at "yesterday" is no RFC 3339 time"#);
        insta::assert_snapshot!(spoil(&|t| t.response.body = Value::Null), @"response.body is not what response.events assemble to; response.body is null, no JSON object");
        insta::assert_snapshot!(spoil(&|t| t.response.events[0].at_us = 10), @"response.events[1] came before the one that it follows");
        insta::assert_snapshot!(spoil(&|t| t.timing.e2e_us = Some(1)), @"timing is not what the events' at_us come to");
        insta::assert_snapshot!(spoil(&|t| t.response.status = 529), @"outcome is complete, but the answer is an error");
        insta::assert_snapshot!(spoil(&|t| t.request.body = json!([])), @"request.body is a list, no JSON object");
        insta::assert_snapshot!(spoil(&|t| t.request.body = json!("{\"model\": }")), @"request.body is no JSON: expected value at line 1 column 11");
        insta::assert_snapshot!(spoil(&|t| t.request.body["messages"][0]["content"] = json!([{"type": "text"}])), @"request.body.messages[0].content[0]: missing field `text`");
        insta::assert_snapshot!(spoil(&|t| t.request.body["messages"] = json!([])), @"request.body: messages: at least one message is required");
        insta::assert_snapshot!(spoil(&|t| t.request.body["tools"] = json!([{"name": "bad name!"}])), @"request.body: tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'");
        insta::assert_snapshot!(spoil(&|t| t.request.body["tools"] = json!([{"name": "a"}, {"name": "a"}])), @"request.body: tools: Tool names must be unique.");
        insta::assert_snapshot!(spoil(&|t| t.request.body["temperature"] = json!(5)), @"request.body: temperature: range: 0..1");
        insta::assert_snapshot!(spoil(&|t| t.request.body["messages"] = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b "}])), @"request.body: messages: final assistant content cannot end with trailing whitespace");
        for (kind, input) in
            [("tool_use", json!("{}")), ("tool_use", json!(5)), ("tool_use", json!(null)), ("server_tool_use", json!([]))]
        {
            let call = json!({"type": kind, "id": "t", "name": "Read", "input": input});
            let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": [call]}, {"role": "user", "content": "b"}]);
            let reason = format!("request.body: messages.1.content.0.{kind}.input: Input should be a valid dictionary");
            assert_eq!(spoil(&|t| t.request.body["messages"] = messages.clone()), reason);
        }
        insta::assert_snapshot!(spoil(&|t| (t.response.events, t.response.body, t.timing) = (vec![], json!("<html>"), Timing::default())), @"response.body is no JSON: expected value at line 1 column 1");
        insta::assert_snapshot!(spoil(&|t| t.request.body["x"] = json!("sk-ant-api03-abc")), @"request.body holds what looks like a secret; do not share this file");
        insta::assert_snapshot!(spoil(&|t| drop(t.request.headers.insert("x-api-key".into(), json!("k")))), @"request.headers holds what looks like a secret; do not share this file");
    }

    /// What is wrong with an answer that calls with these arguments and stops for this reason: streamed, then in one piece.
    fn problems_of_call(arguments: &str, reason: &str) -> [String; 2] {
        let block = |input: Value| json!({"type": "tool_use", "id": "t", "name": "Read", "input": input});
        let mut streamed = Draft::new(opening("/v1/messages", trace("a", 1).request.body));
        streamed.respond(200, Map::new());
        for data in [
            json!({"type":"message_start","message":message(&[])}),
            json!({"type":"content_block_start","index":0,"content_block":block(json!({}))}),
            json!({"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":arguments}}),
            json!({"type":"content_block_stop","index":0}),
            json!({"type":"message_delta","delta":{"stop_reason":reason},"usage":{}}),
            json!({"type":"message_stop"}),
        ] {
            streamed.push(RecordedEvent { at_us: 1, event: data["type"].as_str().unwrap().into(), data });
        }
        let mut whole = Draft::new(opening("/v1/messages", trace("a", 1).request.body));
        whole.respond(200, Map::new());
        let input = serde_json::from_str(arguments).unwrap_or_else(|_| arguments.into());
        let mut answer = message(&[block(input)]);
        answer["stop_reason"] = json!(reason);
        whole.set_body(answer);
        [streamed, whole]
            .map(|draft| problems_of(&draft.to_trace(ExchangeOutcome::Complete, None), &Redactor::default()).join("; "))
    }

    #[test]
    fn malformed_arguments_are_those_of_finished_calls_that_are_no_object() {
        let cases = [
            ("{\"a\": 1}", "tool_use", None),
            ("{\"a\":", "tool_use", Some("EOF while parsing a value at line 1 column 5")),
            ("[1]", "tool_use", Some("they are a list")),
            ("5", "end_turn", Some("they are 5")),
            ("{\"a\":", "max_tokens", None),
            ("{\"a\": [1", "model_context_window_exceeded", None),
            ("[1]", "max_tokens", Some("they are a list")),
            ("{\"a\": }", "max_tokens", Some("expected value at line 1 column 7")),
        ];
        for (arguments, reason, fault) in cases {
            let expected = fault.map_or_else(String::new, |fault| {
                format!("response.body: the arguments of content block 0 are no JSON object: {fault}")
            });
            assert_eq!(problems_of_call(arguments, reason), [expected.clone(), expected], "{arguments} {reason}");
        }
    }

    #[test]
    fn a_whole_message_says_why_it_ended() {
        let mut draft = Draft::new(opening("/v1/messages", request_to("/v1/messages")));
        draft.respond(200, Map::new());
        draft.set_body(message(&[]));
        let found = problems_of(&draft.to_trace(ExchangeOutcome::Complete, None), &Redactor::default());
        assert_eq!(found, ["response.body.stop_reason is null, but the answer came whole"]);
    }

    #[test]
    fn only_the_last_block_may_be_cut() {
        let block = |index: u64, kind: &str| json!({"type": "content_block_start", "index": index, "content_block": {"type": kind, "id": "t", "name": "Read", "input": {}, "text": ""}});
        let piece = |index: u64, json: &str| json!({"type": "content_block_delta", "index": index, "delta": {"type": "input_json_delta", "partial_json": json}});
        let end = |index: u64| json!({"type": "content_block_stop", "index": index});
        let found = |following: &str| {
            let events = [
                json!({"type": "message_start", "message": message(&[])}),
                block(0, "tool_use"),
                piece(0, "{\"a\": \"b"),
                end(0),
                block(1, following),
                end(1),
                json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}),
                json!({"type": "message_stop"}),
            ];
            problems_of_stream("/v1/messages", &events, ExchangeOutcome::Complete)
        };
        for following in ["tool_use", "text"] {
            assert_eq!(
                found(following),
                "response.body: the arguments of content block 0 are no JSON object: EOF while parsing a string at line 1 column 8"
            );
        }
    }

    #[test]
    fn the_calls_of_other_protocols_are_judged_in_whole_answers_too() {
        let whole = |path: &str, body: Value| {
            let mut draft = Draft::new(opening(path, request_to(path)));
            draft.respond(200, Map::new());
            draft.set_body(body);
            problems_of(&draft.to_trace(ExchangeOutcome::Complete, None), &Redactor::default()).join("\n")
        };
        let chat = |reason: &str| json!({"choices": [{"message": {"tool_calls": [{"function": {"name": "a", "arguments": "{\"a"}}]}, "finish_reason": reason}]});
        insta::assert_snapshot!(whole("/v1/chat/completions", chat("tool_calls")), @"response.body.choices[0]: the arguments of call 0 are no JSON object: EOF while parsing a string at line 1 column 3");
        assert_eq!(whole("/v1/chat/completions", chat("length")), "");
        let response = |status: &str| json!({"status": status, "output": [{"type": "reasoning"}, {"type": "function_call", "arguments": "{\"a"}]});
        insta::assert_snapshot!(whole("/v1/responses", response("completed")), @"response.body.output[1]: the arguments are no JSON object: EOF while parsing a string at line 1 column 3");
        assert_eq!(whole("/v1/responses", response("incomplete")), "");
    }

    #[test]
    fn requests_of_other_protocols_have_what_their_servers_ask_for() {
        let found = |path: &str, body: Value| {
            let mut draft = Draft::new(opening(path, body));
            draft.respond(200, Map::new());
            problems_of(&draft.to_trace(ExchangeOutcome::ClientClosed, None), &Redactor::default()).join("\n")
        };
        insta::assert_snapshot!(found("/v1/chat/completions", json!({"model": "m"})), @"request.body: missing field `messages`");
        insta::assert_snapshot!(found("/v1/completions", json!("{")), @"request.body is no JSON: EOF while parsing an object at line 1 column 1");
        insta::assert_snapshot!(found("/v1/responses", Value::Null), @"request.body is null, no JSON object");
        assert_eq!(found("/v1/messages/count_tokens", Value::Null), "");
    }

    #[test]
    fn ids_and_numbers_are_compared_across_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (id, seq) in [("a", 1), ("b", 2), ("b", 4)] {
            paths.push(path_of(folder.path(), "s", seq));
            write(paths.last().unwrap(), &trace(id, seq)).unwrap();
        }
        let root = folder.path().display().to_string();
        let clean = |lines: Vec<String>| lines.join("\n").replace(&root, "T");
        let Findings { problems, warnings } = check(&paths, &Redactor::default());
        insta::assert_snapshot!(clean(problems), @"T/s/0004.json: its id b is also that of T/s/0002.json");
        insta::assert_snapshot!(clean(warnings), @"T/s: session s has no numbers between 2 and 4");
    }
}
