//! Transcripts written by hand: what is whole is rebuilt, what is not is named.

use std::path::Path;

use serde_json::{Value, json};

use super::canonical::{message_digest, request_digest, uncached_digest};
use super::*;
use crate::formats::Import;
use crate::trace::ExchangeOutcome;
use crate::trace::redact::Redactor;

/// The lines of a transcript.
struct Script(Vec<Value>);

impl Script {
    fn new() -> Self {
        let shape = json!({"system": [{"type": "text", "text": "Help."}], "tools": []});
        Self(vec![json!({"type": "api-request-shape", "sessionId": "s", "shapeHash": uncached_digest(&shape), "shape": shape})])
    }

    fn user(mut self, content: Value) -> Self {
        self.0.push(json!({"type": "user", "sessionId": "s", "message": {"role": "user", "content": content}}));
        self
    }

    /// A block of the answer to a request.
    fn answer(mut self, request: &str, index: usize, text: &str, stop_reason: Option<&str>) -> Self {
        let message = json!({"id": format!("msg_{request}"), "type": "message", "role": "assistant", "model": "m",
            "content": [text_block(text)], "stop_reason": stop_reason, "usage": {"input_tokens": 1, "output_tokens": 2}});
        let line = json!({"type": "assistant", "sessionId": "s", "requestRef": request, "requestId": format!("req_{request}"),
            "apiBlockIndex": index, "message": message});
        self.0.push(line);
        self
    }

    /// A request for these messages, of which it keeps some of another's.
    fn request(mut self, id: &str, base: Option<(&str, usize)>, messages: &[(&str, Value)], change: Value) -> Self {
        let shape = &self.0[0];
        let keep = base.map_or(0, |(_, keep)| keep);
        let tail: Vec<_> =
            messages[keep..].iter().map(|(role, content)| message_digest(role, content.as_array().unwrap())).collect();
        let sent: Vec<_> = messages.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
        let params = json!({"model": "m", "betas": ["one", "two"], "max_tokens": 9});
        let mut body = json!({"messages": sent, "system": shape["shape"]["system"], "tools": []});
        body.as_object_mut().unwrap().extend(params.as_object().unwrap().clone());
        let mut line = json!({"type": "api-request", "sessionId": "s", "id": id, "timestamp": "2026-01-02T03:04:05.678Z",
            "version": "2.1.331", "shapeHash": shape["shapeHash"], "params": params, "keep": keep, "tail": tail,
            "cacheControl": [], "requestDigest": request_digest(body.as_object().unwrap(), |_| None)});
        let fields = line.as_object_mut().unwrap();
        fields.extend(base.map(|(base, _)| ("base".to_owned(), json!(base))));
        fields.extend(change.as_object().unwrap().clone());
        self.0.push(line);
        self
    }

    /// The traces that it makes, and what is said of the rest.
    fn import(&self) -> (Vec<ImportedExchange>, Vec<String>) {
        import(&self.text())
    }

    fn text(&self) -> String {
        let lines: Vec<String> =
            self.0.iter().map(|line| if line.is_string() { "{\"type".into() } else { line.to_string() }).collect();
        lines.join("\n")
    }
}

fn import(text: &str) -> (Vec<ImportedExchange>, Vec<String>) {
    let (mut exchanges, mut said) = (Vec::new(), Vec::new());
    let source = Source { path: Path::new("t.jsonl"), reader: &mut text.as_bytes() };
    let read = Transcript.import(source, &mut |found| {
        match found {
            Found::Unrelated => {}
            Found::Exchange(exchange) => exchanges.push(*exchange),
            Found::Passed(passed) => said.push(format!("{}: {}", passed.place, passed.reason)),
        }
        Ok(())
    });
    said.extend(read.err().map(|error| error.to_string()));
    (exchanges, said)
}

fn text_block(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn texts(texts: &[&str]) -> Value {
    texts.iter().map(|text| text_block(text)).collect()
}

#[test]
fn requests_and_answers_are_put_together_from_their_lines() {
    let (one, two) = (texts(&["Hi"]), texts(&["Hello.", "What?"]));
    let joined = texts(&["A result", "And this"]);
    let (exchanges, said) = Script::new()
        .user(json!("Hi"))
        .request("a", None, &[("user", one.clone())], json!({}))
        .answer("a", 0, "Hello.", Some("tool_use"))
        .user(texts(&["A result"]))
        .answer("a", 1, "What?", Some("tool_use"))
        .user(json!("And this"))
        .request("b", Some(("a", 1)), &[("user", one), ("assistant", two.clone()), ("user", joined)], json!({"agentId": "x"}))
        .import();
    assert_eq!(said, [""; 0]);
    let [first, second] = &exchanges[..] else { panic!("{}", exchanges.len()) };
    assert_eq!(
        first.trace.request.body,
        json!({"model": "m", "messages": [{"role": "user", "content": texts(&["Hi"])}],
            "system": texts(&["Help."]), "tools": [], "max_tokens": 9})
    );
    assert_eq!(first.trace.request.headers["anthropic-beta"], "one,two");
    assert_eq!(first.trace.response.body["content"], two);
    assert_eq!(first.trace.response.headers["request-id"], "req_a");
    assert_eq!((first.trace.outcome, &first.missing[..]), (ExchangeOutcome::Complete, &[][..]));
    assert_eq!(second.trace.request.body["messages"].as_array().unwrap().len(), 3);
    assert_eq!((second.trace.session.as_str(), second.trace.response.status), ("s-agent-x", 0));
    assert_eq!((second.trace.outcome, &second.missing[..]), (ExchangeOutcome::Truncated, &["the answer".to_owned()][..]));
}

#[test]
fn what_cannot_be_rebuilt_is_named_with_all_that_begins_like_it() {
    let (hi, ho) = (("user", texts(&["Hi"])), ("user", texts(&["Ho"])));
    let one = std::slice::from_ref(&hi);
    let mut script = Script::new()
        .user(json!("Hi"))
        .request("a", None, &[hi.clone(), ho.clone()], json!({}))
        .request("b", Some(("a", 2)), &[hi.clone(), ho.clone(), hi.clone()], json!({}))
        .request("c", Some(("a", 1)), one, json!({}))
        .request("d", Some(("nobody", 1)), one, json!({}))
        .request("e", None, one, json!({"shapeHash": "0123456789abcdef"}))
        .request("f", None, one, json!({"cut": {"kind": "too-large"}, "requestDigest": null}))
        .request("g", None, one, json!({"params": {"model": "other"}}))
        .request("h", None, one, json!({"cacheControl": [{"path": ["messages", 7], "value": {}}]}))
        .request("i", None, one, json!({"withheld": ["extra"]}))
        .request("j", None, one, json!({"requestDigest": null}))
        .request("k", None, one, json!({"keep": usize::MAX}));
    script.0.push(json!({"type": "api-request-blob", "hash": "0", "message": {"role": "user", "content": "Ho"}}));
    script.0.push(json!({"type": "api-request", "id": 7}));
    script.0.push("a line that broke off".into());
    let (exchanges, said) = script.import();
    let ids: Vec<_> = exchanges.iter().map(|exchange| (&exchange.trace.id[..], exchange.missing.join(", "))).collect();
    assert_eq!(
        ids,
        [("c", "the answer".to_owned()), ("i", "the answer, `extra` of the request, which Claude Code keeps back".into())]
    );
    insta::assert_snapshot!(said.join("\n"), @"
    line 14: what it holds is not what its digest says
    line 15: no line of a transcript: invalid type: integer `7`, expected a string at line 1 column 28
    line 16: no line of a transcript: EOF while parsing a string at line 1 column 6
    line 3: message 2 of 2 is not in the transcript (its digest begins 6c228337dc78)
    line 4: message 2 of 3 is not in the transcript (its digest begins 6c228337dc78)
    line 6: the request begins like one that is not in the transcript (nobody)
    line 7: its system prompt and tools are not in the transcript (their digest begins 0123456789ab)
    line 8: a part that was too large is not in the transcript (too-large)
    line 9: what was rebuilt is not what was sent: the digests differ
    line 10: it marks a place for caching that it does not have
    line 12: it has no digest, so what is rebuilt cannot be checked
    line 13: it keeps more messages than there can be
    ");
}

#[test]
fn an_answer_that_is_not_whole_says_so() {
    let request = |script: Script| script.user(json!("Hi")).request("a", None, &[("user", texts(&["Hi"]))], json!({}));
    let mut unplaced = request(Script::new()).answer("a", 0, "b", Some("end_turn")).answer("a", 1, "c", Some("end_turn"));
    unplaced.0.last_mut().unwrap()["apiBlockIndex"] = Value::Null;
    let mut far = request(Script::new()).answer("a", usize::MAX, "b", Some("end_turn"));
    far.0.last_mut().unwrap()["message"]["content"].as_array_mut().unwrap().push(text_block("c"));
    let cases = [
        (unplaced, "blocks of the answer"),
        (far, "blocks of the answer"),
        (request(Script::new()).answer("a", 1, "b", Some("end_turn")), "blocks of the answer"),
        (request(Script::new()).answer("a", 0, "b", None), "the answer's end"),
    ];
    for (script, missing) in cases {
        let (exchanges, _) = script.import();
        assert_eq!(
            (exchanges[0].trace.outcome, exchanges[0].missing.join(", ")),
            (ExchangeOutcome::Truncated, missing.to_owned())
        );
        assert_eq!(exchanges[0].trace.response.body["content"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn an_answer_that_is_a_text_is_the_block_that_it_stands_for() {
    let mut script = Script::new().user(json!("Hi")).request("a", None, &[("user", texts(&["Hi"]))], json!({})).answer(
        "a",
        0,
        "",
        Some("end_turn"),
    );
    script.0.last_mut().unwrap()["message"]["content"] = json!("Hello.");
    assert_eq!(script.import().0[0].trace.response.body["content"], texts(&["Hello."]));
}

#[test]
fn a_folder_of_sub_agents_that_cannot_be_read_is_named_and_the_session_imported() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::new().user(json!("Hi")).request("a", None, &[("user", texts(&["Hi"]))], json!({}));
    let session = folder.path().join("s.jsonl");
    std::fs::write(&session, script.text()).unwrap();
    std::fs::create_dir(folder.path().join("s")).unwrap();
    // No folder at all.
    std::fs::write(folder.path().join("s/subagents"), "").unwrap();
    let (out, redactor) = (folder.path().join("traces"), Redactor::default());
    let mut import = Import::into(&out, &redactor);
    let error = import.file(&session, None).unwrap_err().to_string();
    assert!(error.contains("s/subagents: ") && error.starts_with("cannot read "), "{error}");
    assert_eq!(import.sessions["s"].exchanges, 1);
}

#[test]
fn a_transcript_without_requests_is_no_corpus() {
    let (exchanges, said) =
        Script(vec![json!({"type": "user", "sessionId": "s", "message": {"role": "user", "content": "Hi"}})]).import();
    assert!(exchanges.is_empty());
    insta::assert_snapshot!(said.join("\n"), @"t.jsonl: it holds no requests; Claude Code 2.1.331 and later write them");
}

#[test]
fn a_sub_agents_transcript_without_requests_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let agents = folder.path().join("s/subagents");
    std::fs::create_dir_all(&agents).unwrap();
    let asks = |id: &str, change: Value| {
        let script = Script::new().user(json!("Hi")).request(id, None, &[("user", texts(&["Hi"]))], change);
        script.text()
    };
    let session = folder.path().join("s.jsonl");
    std::fs::write(&session, asks("a", json!({}))).unwrap();
    std::fs::write(agents.join("agent-a.jsonl"), Script::new().text()).unwrap();
    std::fs::write(agents.join("agent-b.jsonl"), asks("b", json!({"agentId": "b"}))).unwrap();
    let (out, redactor) = (folder.path().join("traces"), Redactor::default());
    let mut import = Import::into(&out, &redactor);
    import.file(&session, None).unwrap();
    assert_eq!(import.sessions.keys().collect::<Vec<_>>(), ["s", "s-agent-b"]);
    let [(file, passed)] = &import.passed[..] else { panic!("{:?}", import.passed) };
    assert!(file.ends_with("agent-a.jsonl"));
    insta::assert_snapshot!(format!("{}: {}", passed.place, passed.reason),
        @"the whole file: it holds no requests; Claude Code 2.1.331 and later write them");
}

proptest::proptest! {
    #[test]
    fn whatever_a_line_holds_it_is_read_or_named(text in "\\PC{0,80}", kind in "(user|assistant|api-request|api-request-blob)") {
        import(&text);
        import(&json!({"type": kind, "sessionId": text, "message": {"role": text, "content": text}}).to_string());
    }
}
