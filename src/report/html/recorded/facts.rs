//! What a page says of an exchange, as far as it came.

use maud::{Markup, html};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use super::super::exchange::Lane;
use crate::convert::usage_in;
use crate::report::units::duration;
use crate::trace::{ExchangeOutcome, Trace, spelled_texts};
use crate::wire::Usage;

/// The most calls that are marked in a course.
const MARKED: usize = 50;

/// The most characters of a gist.
const GIST: usize = 120;

/// How an exchange stands.
pub(super) fn state(outcome: ExchangeOutcome, is_open: bool) -> Markup {
    let (word, class) = match outcome.name() {
        _ if is_open => ("in flight", "flight"),
        "complete" => ("complete", "fine"),
        other => (other, "wrong"),
    };
    html! { span class=(class) { (word) } }
}

/// The model that the request asks for.
pub(super) fn model(trace: &Trace) -> Option<&str> {
    trace.request.body.get("model").and_then(Value::as_str)
}

/// The token counts of an answer of any protocol.
pub(super) fn usage(trace: &Trace) -> Option<Usage> {
    trace.response.body.get("usage").and_then(usage_in)
}

/// The calls of an answer.
fn calls(trace: &Trace) -> impl Iterator<Item = &Value> {
    let blocks = trace.response.body.get("content").and_then(Value::as_array);
    blocks.into_iter().flatten().filter(|block| is_call(block))
}

/// Whether a content block calls a tool.
pub(super) fn is_call(block: &Value) -> bool {
    block["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use"))
}

/// The names of the tools that an answer calls.
fn tool_names(trace: &Trace) -> Vec<&str> {
    calls(trace).map(|call| call["name"].as_str().unwrap_or("?")).collect()
}

/// An answer in a line: the tools that it calls, or else how its text or its error begins.
pub(super) fn gist(trace: &Trace) -> String {
    let tools = tool_names(trace);
    if !tools.is_empty() {
        return shortened(&tools.join(", "));
    }
    let body = &trace.response.body;
    let texts = body["content"].as_array().into_iter().flatten().filter_map(|block| block["text"].as_str());
    let said = texts.chain(body["error"]["message"].as_str()).chain(body.as_str()).next();
    let spelled = || spelled_texts(&trace.response.events).into_iter().next().map(|spelled| spelled.text);
    shortened(&said.map(str::to_owned).or_else(spelled).unwrap_or_default())
}

/// The beginning of a text, in one line.
pub(crate) fn shortened(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = words.char_indices().nth(GIST) {
        words.truncate(at);
        words.push('…');
    }
    words
}

/// A time as people read it.
pub(super) fn moment(time: OffsetDateTime) -> String {
    // The format has only parts that a time has.
    time.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC")).unwrap_or_default()
}

/// The course of an answer, as far as it came. All in microseconds from the request.
#[derive(Debug)]
pub(super) struct CourseSoFar {
    ttft_us: Option<u64>,
    /// Each of the first calls: when it began, and its tool.
    calls: Vec<(u64, String)>,
    /// The end, or the last event so far.
    pub end_us: u64,
}

impl CourseSoFar {
    /// `None` before anything of the answer came.
    pub(super) fn of(trace: &Trace) -> Option<Self> {
        let events = &trace.response.events;
        let end_us = trace.timing.e2e_us.or_else(|| events.last().map(|event| event.at_us))?;
        let begun = events.iter().filter(|event| is_call(&event.data["content_block"])).map(|event| event.at_us);
        let calls = begun.zip(tool_names(trace).into_iter().map(shortened)).take(MARKED).collect();
        Some(Self { ttft_us: trace.timing.ttft_us, calls, end_us })
    }

    /// The course as a bar, beside one that takes longest.
    pub(super) fn lane(&self, longest_us: u64) -> Lane {
        let mut words: Vec<String> = self.ttft_us.iter().map(|us| format!("first token after {}", duration(*us))).collect();
        words.extend(self.calls.iter().map(|(us, tool)| format!("{tool} at {}", duration(*us))));
        let call_us: Vec<u64> = self.calls.iter().map(|(us, _)| *us).collect();
        Lane::drawn("time".into(), self.ttft_us.unwrap_or(self.end_us), self.end_us, &call_us, longest_us, &words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_shortened_to_a_line() {
        assert_eq!(shortened(" a\n\n b\t"), "a b");
        assert_eq!(shortened(&"é".repeat(GIST)), "é".repeat(GIST));
        assert_eq!(shortened(&"é".repeat(GIST + 1)), format!("{}…", "é".repeat(GIST)));
    }
}
