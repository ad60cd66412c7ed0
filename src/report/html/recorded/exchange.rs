//! One exchange, as far as it came.

use maud::{Markup, html};
use serde_json::Value;

use super::super::article::{side_by_side, timeline};
use super::super::diff::SideBySide;
use super::facts::{CourseSoFar, is_call, model, moment, state, usage};
use super::lists::share;
use super::long_text::long_text;
use crate::replay::last_user_turn;
use crate::report::units::{count, duration, grouped, percent};
use crate::trace::{SpelledText, Trace, came_at, messages_request, spelled_texts, streamed_arguments};

/// What a page shows of an exchange.
pub(crate) struct FollowedExchange {
    /// It, as far as it came.
    pub trace: Trace,
    /// Whether it is under way.
    pub is_open: bool,
    /// The numbers of those before and behind it.
    pub beside: [Option<u32>; 2],
    /// How its prompt begins; `None` if no earlier one of its session is known.
    pub beginning: Option<Beginning>,
}

/// What a prompt begins with that an earlier one had.
#[derive(Debug, PartialEq)]
pub(crate) struct Beginning {
    /// The number of the earlier exchange.
    pub like: u32,
    /// How much of the prompt the earlier one has, too: a share of its characters.
    pub shared: f64,
    /// How it goes on from there.
    pub sequel: Sequel,
}

/// How a prompt goes on from what an earlier one had.
#[derive(Debug, PartialEq)]
pub(crate) enum Sequel {
    /// It has all of the earlier one, and perhaps more.
    GoesOn,
    /// The earlier one has more.
    Shorter,
    /// The earlier one says something else.
    Broken(BrokenAt),
}

/// The first part in which a prompt differs from an earlier one.
#[derive(Debug, PartialEq)]
pub(crate) struct BrokenAt {
    /// What it is, such as `message 1 (user), block 2`.
    pub part: String,
    /// What the earlier one had there, as much as is shown.
    pub old: String,
    /// What this one has.
    pub new: String,
}

/// The exchange, from what it was asked to what it answered.
pub(crate) fn exchange_part(exchange: &FollowedExchange) -> Markup {
    let FollowedExchange { trace, is_open, beside, beginning } = exchange;
    let asked = messages_request(trace).map(|request| last_user_turn(&request)).filter(|text| !text.is_empty());
    let course = CourseSoFar::of(trace);
    html! {
        (ways(*beside))
        p {
            strong { (state(trace.outcome, *is_open)) } " "
            code { (trace.request.method) " " (trace.request.path) } " → " (trace.response.status)
            @if let Some(model) = model(trace) { ", " (model) }
            @if let Some(time) = came_at(trace) {
                ", " time datetime=(trace.recorded_at) { (moment(time)) }
            }
        }
        dl.facts { @for (name, value) in facts(trace, *is_open) { div { dt { (name) } dd { (value) } } } }
        @if let Some(course) = course { ol.lanes aria-label="Timeline" { (timeline(&course.lane(course.end_us.max(1)))) } }
        @if let Some(asked) = asked {
            section aria-labelledby="asked" { h2 #asked { "Asked" } (long_text("what was asked", &asked)) }
        }
        section aria-labelledby="answer" { h2 #answer { "Answer" } (answer(trace)) }
        @if let Some(beginning) = beginning { section aria-labelledby="prompt" { h2 #prompt { "Prompt" } (begins(beginning)) } }
    }
}

fn ways([before, behind]: [Option<u32>; 2]) -> Markup {
    html! {
        nav.ways aria-label="Exchanges" {
            @if let Some(seq) = before { a rel="prev" href={ "../" (seq) "/" } { "‹ " (format!("{seq:04}")) } " " }
            @if let Some(seq) = behind { a rel="next" href={ "../" (seq) "/" } { (format!("{seq:04}")) " ›" } }
        }
    }
}

/// Times and token counts, as far as they are known.
fn facts(trace: &Trace, is_open: bool) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(trace.timing.ttft_us.map(|us| ("TTFT", duration(us))));
    let end_us = CourseSoFar::of(trace).map(|course| course.end_us);
    facts.extend(end_us.map(|us| (if is_open { "so far" } else { "E2E" }, duration(us))));
    if let Some(usage) = usage(trace) {
        let of_prompt = |tokens: Option<u64>| {
            let tokens = tokens.unwrap_or(0);
            format!("{} ({})", grouped(tokens), share(tokens, usage.prompt_tokens()))
        };
        facts.push(("prompt tokens", grouped(usage.prompt_tokens())));
        facts.push(("from the cache", of_prompt(usage.cache_read_input_tokens)));
        facts.push(("into the cache", of_prompt(usage.cache_creation_input_tokens)));
        facts.push(("output tokens", grouped(usage.output_tokens)));
    }
    facts.extend(trace.response.body["stop_reason"].as_str().map(|reason| ("stop reason", reason.to_owned())));
    facts
}

fn begins(Beginning { like, shared, sequel }: &Beginning) -> Markup {
    let (like, shared) = (format!("{like:04}"), percent(*shared));
    html! {
        @match sequel {
            Sequel::GoesOn => {
                p { strong.fine { "A prefix cache goes on. " } "The prompt has all of " (like) ", which is " (shared) " of it." }
            },
            Sequel::Shorter => {
                p { "The prompt is a beginning of " (like) ", which has more: nothing in it is new to a prefix cache." }
            },
            Sequel::Broken(BrokenAt { part, old, new }) => {
                p {
                    strong.wrong { "A prefix cache ends here. " }
                    "The prompt begins like " (like) " for " (shared) " of its length, up to " strong { (part) } ":"
                }
                (side_by_side(&SideBySide::of((like.clone(), old), ("this exchange".into(), new))))
            },
        }
    }
}

fn answer(trace: &Trace) -> Markup {
    let body = &trace.response.body;
    match body {
        Value::Null => texts(trace),
        body if body["content"].is_array() => message(trace),
        Value::String(text) => long_text("the answer", text),
        body => long_text("the answer", &format!("{body:#}")),
    }
}

/// The most texts or blocks of an answer that are shown.
const SHOWN: usize = 50;

/// What is said of those before the ones that are shown; nothing if there are none.
fn before_shown(skipped: usize, noun: &str) -> Markup {
    html! { @if skipped > 0 { p { (count(skipped, noun)) " before these are not shown here; all are in the trace." } } }
}

/// The texts that the events of another protocol spell.
fn texts(trace: &Trace) -> Markup {
    let texts = spelled_texts(&trace.response.events);
    let skipped = texts.len().saturating_sub(SHOWN);
    html! {
        @if texts.is_empty() { p { "Nothing yet." } }
        (before_shown(skipped, "text"))
        @for SpelledText { name, text, .. } in &texts[skipped..] { h3 { (name) } (long_text(name, text)) }
    }
}

/// The blocks of a message, a call with the arguments that its events have spelled so far.
fn message(trace: &Trace) -> Markup {
    let spelled = streamed_arguments(&trace.response.events);
    let blocks = trace.response.body["content"].as_array().map_or(&[][..], Vec::as_slice);
    let skipped = blocks.len().saturating_sub(SHOWN);
    html! {
        @if blocks.is_empty() { p { "Nothing yet." } }
        (before_shown(skipped, "block"))
        @for (index, block) in blocks.iter().enumerate().skip(skipped) {
            @let text = |field: &str| block[field].as_str().unwrap_or_default();
            @match text("type") {
                "text" => { (long_text("text", text("text"))) },
                "thinking" => { details id={ "b" (index) } { summary { "thinking" } (long_text("thinking", text("thinking"))) } },
                _ if is_call(block) => {
                    h3 { "Call of " (text("name")) }
                    (long_text(text("name"), &arguments(block, spelled.get(&(index as u64)))))
                },
                kind => { p { "(" (kind) ")" } },
            }
        }
    }
}

/// The arguments of a call: as an object once they are one, before that as far as they are spelled.
fn arguments(block: &Value, spelled: Option<&String>) -> String {
    match (&block["input"], spelled) {
        (Value::Object(input), Some(spelled)) if input.is_empty() => spelled.clone(),
        (input, _) => format!("{input:#}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An exchange whose answer calls Read, as far as it came.
    fn followed(is_open: bool, beginning: Option<Beginning>) -> String {
        let said = "</pre><script>bad()</script>";
        let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": said}]});
        let call = json!({"type": "tool_use", "id": "t", "name": "Read", "input": {}});
        let piece = json!({"type": "input_json_delta", "partial_json": "{\"path\": \"a"});
        let events = json!([
            {"at_us": 1000, "event": "content_block_start", "data": {"type": "content_block_start", "index": 0, "content_block": call}},
            {"at_us": 3000, "event": "content_block_delta", "data": {"type": "content_block_delta", "index": 0, "delta": piece}},
        ]);
        let answer = json!({"type": "message", "content": [call], "usage": {"input_tokens": 7, "output_tokens": 3}});
        let trace = json!({"version": 1, "id": "i", "session": "s", "seq": 2, "recorded_at": "2026-01-02T03:04:05Z",
            "client": "c", "mode": "m", "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": body},
            "response": {"status": 200, "headers": {}, "events": events, "body": answer},
            "timing": {"ttft_us": 1000, "e2e_us": null, "itl_us": null}, "outcome": "truncated"});
        let trace = serde_json::from_value(trace).unwrap();
        exchange_part(&FollowedExchange { trace, is_open, beside: [Some(1), None], beginning }).into_string()
    }

    #[test]
    fn a_call_is_shown_as_far_as_it_is_spelled_and_no_text_becomes_html() {
        let part = followed(true, None);
        let spelled = "{&quot;path&quot;: &quot;a";
        for shown in [
            "in flight",
            "Call of Read",
            spelled,
            "Read at 1.00 ms",
            "<dt>so far</dt><dd>3.00 ms</dd>",
            "href=\"../1/\"",
            "&lt;script&gt;",
        ] {
            assert!(part.contains(shown), "{shown}: {part}");
        }
        assert!(!part.contains("<script>") && !part.contains("Prompt"), "{part}");
        assert!(followed(false, None).contains("truncated"));
    }

    #[test]
    fn what_broke_the_prompts_beginning_stands_beside_what_was_there() {
        let broken = BrokenAt { part: "system block 2".into(), old: "Sunday".into(), new: "Monday".into() };
        let part = followed(false, Some(Beginning { like: 1, shared: 0.25, sequel: Sequel::Broken(broken) }));
        for shown in ["begins like 0001 for 25.0% of its length", "system block 2", "Sun", "Mon"] {
            assert!(part.contains(shown), "{shown}: {part}");
        }
        let part = followed(false, Some(Beginning { like: 1, shared: 0.9, sequel: Sequel::GoesOn }));
        assert!(part.contains("The prompt has all of 0001, which is 90.0% of it."), "{part}");
        let part = followed(false, Some(Beginning { like: 1, shared: 1.0, sequel: Sequel::Shorter }));
        assert!(part.contains("The prompt is a beginning of 0001") && !part.contains("goes on"), "{part}");
    }
}
