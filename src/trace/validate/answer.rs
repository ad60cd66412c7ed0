//! Whether an answer is one of its protocol, and ended as its outcome says.

use serde::Deserialize;
use serde_json::Value;

use super::chat_stream::call_end;
use super::responses_stream::function_call_fault;
use super::{chat_stream, messages_stream, responses_stream};
use crate::trace::arguments::{CallEnd, argument_fault, spelled_arguments, unparsed_arguments};
use crate::trace::body::read_body;
use crate::trace::{ExchangeOutcome, Trace};
use crate::wire::{Endpoint, Message, StopReason};

/// What is wrong with the answer, a sentence each.
pub(super) fn problems_of(trace: &Trace) -> Vec<String> {
    let is_stream = !trace.response.events.is_empty();
    let mut problems = match Endpoint::of_path(&trace.request.path) {
        Endpoint::Messages if is_stream => messages_stream::problems_of(trace),
        Endpoint::ChatCompletions | Endpoint::Completions if is_stream => chat_stream::problems_of(trace),
        Endpoint::Responses if is_stream => responses_stream::problems_of(trace),
        _ => Vec::new(),
    };
    if is_whole(trace) {
        match Endpoint::of_path(&trace.request.path) {
            Endpoint::Messages => problems.extend(message_problems(trace)),
            Endpoint::ChatCompletions => problems.extend(completion_faults(&trace.response.body)),
            Endpoint::Responses => problems.extend(response_faults(&trace.response.body)),
            Endpoint::CountTokens | Endpoint::Completions | Endpoint::Other => {}
        }
    }
    problems.extend(outcome_problem(trace).map(str::to_owned));
    problems
}

/// Whether the trace says that an answer came, and came whole.
fn is_whole(trace: &Trace) -> bool {
    trace.outcome == ExchangeOutcome::Complete && (200..300).contains(&trace.response.status)
}

fn outcome_problem(trace: &Trace) -> Option<&'static str> {
    match trace.outcome {
        ExchangeOutcome::Complete if trace.response.status == 0 => Some("outcome is complete, but no answer came"),
        ExchangeOutcome::Complete if trace.response.status >= 400 => Some("outcome is complete, but the answer is an error"),
        _ => None,
    }
}

/// What is wrong with a message, assembled or as it came.
fn message_problems(trace: &Trace) -> Vec<String> {
    let body = &trace.response.body;
    let mut problems = match read_body::<Message>(body) {
        Err(fault) => vec![format!("response.body{fault}")],
        // Of a stream's events it is said already.
        Ok(Message { stop_reason: None, .. }) if trace.response.events.is_empty() => {
            vec!["response.body.stop_reason is null, but the answer came whole".to_owned()]
        }
        Ok(_) => Vec::new(),
    };
    let blocks = body["content"].as_array().map_or(&[][..], Vec::as_slice);
    let reason = StopReason::deserialize(&body["stop_reason"]).ok();
    let unparsed = unparsed_arguments(&trace.response.events);
    for (index, block) in (0..).zip(blocks) {
        if !block["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use")) {
            continue;
        }
        let end = CallEnd::of(reason.as_ref(), index + 1 == blocks.len() as u64);
        let fault = match unparsed.get(&index) {
            Some(text) => argument_fault(&text.as_str().into(), end),
            None => argument_fault(&block["input"], end),
        };
        problems.extend(fault.map(|fault| format!("response.body: the arguments of content block {index} {fault}")));
    }
    problems
}

/// The calls of a chat completion with malformed arguments.
fn completion_faults(body: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for (at, choice) in body["choices"].as_array().into_iter().flatten().enumerate() {
        let calls = choice["message"]["tool_calls"].as_array().map_or(&[][..], Vec::as_slice);
        for (call, called) in calls.iter().enumerate() {
            let Some(arguments) = called["function"]["arguments"].as_str() else { continue };
            let end = call_end(choice["finish_reason"].as_str(), call + 1 == calls.len());
            let fault = argument_fault(&spelled_arguments(arguments), end);
            problems.extend(fault.map(|fault| format!("response.body.choices[{at}]: the arguments of call {call} {fault}")));
        }
    }
    problems
}

/// The calls of a response with malformed arguments.
fn response_faults(body: &Value) -> Vec<String> {
    let items = body["output"].as_array().map_or(&[][..], Vec::as_slice);
    let is_cut = body["status"] == "incomplete";
    let faults = items.iter().enumerate().filter(|(_, item)| item["type"] == "function_call").filter_map(|(at, item)| {
        let fault = function_call_fault(&item["arguments"], is_cut && at + 1 == items.len())?;
        Some(format!("response.body.output[{at}]: the arguments {fault}"))
    });
    faults.collect()
}
