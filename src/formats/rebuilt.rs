//! Calls as tools log them that know the protocol, and not what went over the wire: requests and answers are rebuilt.

use std::path::Path;

use serde_json::{Value, json};

use super::chat_words::TokenCounts;
use super::http::{Body, Headers, HttpAnswer, HttpExchange, Started, micros};
use super::importer::{Found, Importer, Passed};
use super::session_name;
use crate::trace::{ExchangeOutcome, read_messages_request, session_in_headers};
use crate::wire::Endpoint;

/// A call, rebuilt.
pub(super) struct RebuiltCall {
    /// Where in its file it stands.
    pub place: String,
    /// The session, going by the tool's ids. What the client's headers say goes before.
    pub session: Option<String>,
    /// When the request was made, in seconds since 1970.
    pub start: f64,
    /// The same of the answer's end, if that is known.
    pub end: Option<f64>,
    /// Where it was sent.
    pub path: &'static str,
    pub headers: Headers,
    /// The request's body.
    pub request: Value,
    pub answer: Answered,
}

/// What came of a call.
pub(super) enum Answered {
    /// This body, as far as the tool has it.
    With(Value),
    /// An answer that the file does not hold.
    Unknown,
    /// A failure, with this status if the file says it.
    Failed(Option<u16>),
}

/// The answer to a Messages request, as far as it is known.
pub(super) struct RebuiltMessage<'a> {
    pub id: Option<&'a Value>,
    pub model: Option<&'a Value>,
    /// Blocks.
    pub content: Value,
    pub stop_reason: Option<&'a str>,
    pub counts: TokenCounts,
}

impl RebuiltCall {
    /// The call as a trace. `file`: the name of its session, if nothing else tells it.
    pub(super) fn into_found(self, importer: &dyn Importer, file: &Path) -> Found {
        if let Some(reason) = self.request_lack() {
            return Found::Passed(Passed { place: self.place, reason });
        }
        let Self { place, session, start, end, path, headers, request, answer } = self;
        let has_failed = matches!(answer, Answered::Failed(_));
        let (status, body) = match answer {
            Answered::With(body) => (Some(200), Some(body)),
            Answered::Unknown => (Some(200), None),
            Answered::Failed(status) => (status, None),
        };
        let started = match Started::at_seconds(start) {
            Ok(started) => started,
            Err(reason) => return Found::Passed(Passed { place, reason }),
        };
        let exchange = HttpExchange {
            place,
            started,
            method: "POST".to_owned(),
            url: path.to_owned(),
            headers,
            body: Some(Body::Json(request)),
            answer: status.map(|status| HttpAnswer {
                status,
                headers: Vec::new(),
                body: body.map(Body::Json),
                e2e_us: end.and_then(|end| micros(end - start)),
            }),
        };
        let mut found = exchange.into_found(importer, file);
        if let Found::Exchange(exchange) = &mut found {
            let trace = &mut exchange.trace;
            if has_failed {
                trace.outcome = ExchangeOutcome::UpstreamError;
            }
            let in_headers = session_in_headers(|name| trace.request.headers.get(name).and_then(Value::as_str));
            if let (None, Some(session)) = (in_headers, session) {
                trace.session = session_name(&session);
            }
        }
        found
    }

    /// Why this is not the request that was sent, if that shows.
    fn request_lack(&self) -> Option<String> {
        if Endpoint::of_path(self.path) != Endpoint::Messages {
            return None;
        }
        if let Some(field) = ["model", "max_tokens"].into_iter().find(|field| self.request[*field].is_null()) {
            return Some(format!("the file does not hold `{field}`, which every request has"));
        }
        // A request that is wrong is answered with an error: then it may be just what was sent.
        if matches!(self.answer, Answered::Failed(_)) {
            return None;
        }
        let fault = read_messages_request(&self.request).err()?;
        Some(format!("what the file holds is not the request that was answered: request.body{fault}"))
    }
}

impl RebuiltMessage<'_> {
    /// The message. What is not known is left out.
    pub(super) fn into_value(self) -> Value {
        let Self { id, model, content, stop_reason, counts } = self;
        let fields = [
            ("id", id.cloned()),
            ("type", Some(json!("message"))),
            ("role", Some(json!("assistant"))),
            ("model", model.cloned()),
            ("content", Some(content)),
            ("stop_reason", Some(json!(stop_reason))),
            ("stop_sequence", Some(Value::Null)),
            ("usage", counts.usage()),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::importer::ImportedExchange;
    use crate::formats::litellm::LiteLlm;
    use crate::trace::redact::Redactor;
    use crate::trace::validate::problems_of;

    const UNKNOWN: TokenCounts = TokenCounts { prompt: None, cache_read: None, cache_written: None, output: None };

    #[test]
    fn a_length_that_was_not_measured_is_not_known() {
        let e2e_us = |end: Option<f64>| {
            let mut call = call(request(), Answered::With(message(Some("end_turn"), UNKNOWN)));
            call.end = end;
            imported(call).trace.timing.e2e_us
        };
        assert_eq!(e2e_us(Some(1_000_000_001.0)), Some(500_000));
        for end in [None, Some(1_000_000_000.5), Some(1_000_000_000.0), Some(0.0), Some(f64::NAN)] {
            assert_eq!(e2e_us(end), None, "{end:?}");
        }
    }

    fn call(request: Value, answer: Answered) -> RebuiltCall {
        let (start, end) = (1_000_000_000.5, Some(1_000_000_002.0));
        let (place, session, headers) = ("line 1".to_owned(), Some("s".to_owned()), Vec::new());
        RebuiltCall { place, session, start, end, path: "/v1/messages", headers, request, answer }
    }

    fn request() -> Value {
        json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]})
    }

    fn message(stop_reason: Option<&str>, counts: TokenCounts) -> Value {
        let id = json!("msg_1");
        let content = json!([{"type": "text", "text": "Hello"}]);
        RebuiltMessage { id: Some(&id), model: Some(&json!("m")), content, stop_reason, counts }.into_value()
    }

    fn imported(call: RebuiltCall) -> ImportedExchange {
        let Found::Exchange(mut exchange) = call.into_found(&LiteLlm, Path::new("calls.jsonl")) else {
            panic!("it is no exchange");
        };
        exchange.trace.seq = 1;
        assert_eq!(problems_of(&exchange.trace, &Redactor::default()), Vec::<String>::new());
        *exchange
    }

    #[test]
    fn a_request_that_is_not_what_was_sent_is_no_trace() {
        let reason = |request: Value, answer: Answered| match call(request, answer).into_found(&LiteLlm, Path::new("calls.jsonl"))
        {
            Found::Passed(passed) => passed.reason,
            _ => String::new(),
        };
        let with = |field: &str, value: Value| {
            let mut request = request();
            request[field] = value;
            request
        };
        insta::assert_snapshot!(reason(with("max_tokens", Value::Null), Answered::Unknown), @"the file does not hold `max_tokens`, which every request has");
        insta::assert_snapshot!(reason(with("model", Value::Null), Answered::Failed(Some(400))), @"the file does not hold `model`, which every request has");
        insta::assert_snapshot!(reason(with("messages", json!([])), Answered::Unknown), @"what the file holds is not the request that was answered: request.body: messages: at least one message is required");
        assert_eq!(reason(with("messages", json!([])), Answered::Failed(Some(400))), "");
    }

    #[test]
    fn the_outcome_says_what_is_known_of_the_answer() {
        let outcome = |answer: Answered| {
            let ImportedExchange { trace, missing, .. } = imported(call(request(), answer));
            format!("{} {:?} {:?} [{}]", trace.response.status, trace.outcome, trace.timing.e2e_us, missing.join(", "))
        };
        let without_id = RebuiltMessage { id: None, model: None, content: json!([]), stop_reason: None, counts: UNKNOWN };
        insta::assert_snapshot!(outcome(Answered::With(message(Some("end_turn"), UNKNOWN))), @"200 Complete Some(1500000) []");
        insta::assert_snapshot!(outcome(Answered::With(message(None, UNKNOWN))), @"200 Truncated None [the reason why the answer ended]");
        insta::assert_snapshot!(outcome(Answered::With(without_id.into_value())), @"200 Truncated None [a whole answer: missing field `id`]");
        insta::assert_snapshot!(outcome(Answered::Unknown), @"200 Truncated None [the answer's body]");
        insta::assert_snapshot!(outcome(Answered::Failed(Some(529))), @"529 UpstreamError None [the answer's body]");
        insta::assert_snapshot!(outcome(Answered::Failed(None)), @"0 UpstreamError None [the answer]");
    }

    #[test]
    fn a_call_without_a_time_is_no_trace() {
        for start in [0.0, -1.0, f64::NAN, 1e300, 253_402_300_800.0] {
            let mut timeless = call(request(), Answered::Unknown);
            timeless.start = start;
            assert!(matches!(timeless.into_found(&LiteLlm, Path::new("calls.jsonl")), Found::Passed(_)), "{start}");
        }
    }

    #[test]
    fn a_call_whose_arguments_are_no_object_is_not_whole() {
        let outcome = |input: Value, reason: &str| {
            let mut answer = message(Some(reason), UNKNOWN);
            answer["content"] = json!([{"type": "tool_use", "id": "t", "name": "Read", "input": input}]);
            let ImportedExchange { trace, missing, .. } = imported(call(request(), Answered::With(answer)));
            (trace.outcome, missing)
        };
        assert_eq!(outcome(json!({}), "tool_use"), (ExchangeOutcome::Complete, Vec::new()));
        assert_eq!(outcome(json!("{\"a"), "max_tokens"), (ExchangeOutcome::Complete, Vec::new()));
        let lack = vec!["the whole arguments of a call".to_owned()];
        assert_eq!(outcome(json!("{\"a"), "tool_use"), (ExchangeOutcome::Truncated, lack));
    }

    #[test]
    fn the_clients_own_name_of_its_session_goes_before_the_tools() {
        let mut named = call(request(), Answered::Unknown);
        assert_eq!(imported(call(request(), Answered::Unknown)).trace.session, "s");
        named.headers = vec![("x-claude-code-session-id".to_owned(), "own".to_owned())];
        assert_eq!(imported(named).trace.session, "own");
        let mut unnamed = call(request(), Answered::Unknown);
        unnamed.session = None;
        assert_eq!(imported(unnamed).trace.session, "calls");
    }
}
