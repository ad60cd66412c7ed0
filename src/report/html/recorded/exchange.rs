//! One exchange, as far as it came.

use maud::{Markup, html};
use serde_json::Value;

use super::super::article::{side_by_side, timeline};
use super::super::diff::SideBySide;
use super::super::exchange::Lane;
use super::lists::{calls, model, state, tool_names, usage};
use crate::replay::last_user_turn;
use crate::report::units::{duration, percent};
use crate::trace::{SpelledText, Trace, spelled_texts, streamed_arguments};

/// What a page shows of an exchange.
pub(crate) struct FollowedExchange {
    /// It, as far as it came.
    pub trace: Trace,
    /// Whether it is under way.
    pub is_open: bool,
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
    /// Where the earlier prompt says something else; `None` if all of it is repeated.
    pub broken: Option<BrokenAt>,
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
    let FollowedExchange { trace, is_open, beginning } = exchange;
    let asked = trace.messages_request().map(|request| last_user_turn(&request)).filter(|text| !text.is_empty());
    html! {
        p {
            strong { (state(trace, *is_open)) } " "
            code { (trace.request.method) " " (trace.request.path) } " → " (trace.response.status)
            @if let Some(model) = model(trace) { ", " (model) }
            ", " time datetime=(trace.recorded_at) { (trace.recorded_at) }
        }
        @if let Some(beginning) = beginning { section aria-labelledby="prompt" { h2 #prompt { "Prompt" } (begins(beginning)) } }
        @if let Some(asked) = asked { section aria-labelledby="asked" { h2 #asked { "Asked" } pre { (asked) } } }
        @if let Some(lane) = lane(trace, *is_open) {
            section aria-labelledby="timeline" { h2 #timeline { "Timeline" } ol.lanes { (timeline(&lane)) } }
        }
        section aria-labelledby="answer" { h2 #answer { "Answer" } (answer(trace)) }
        @if let Some(usage) = usage(trace) {
            section aria-labelledby="tokens" {
                h2 #tokens { "Tokens" }
                dl {
                    dt { "prompt" } dd { (usage.prompt_tokens()) }
                    dt { "from the cache" } dd { (usage.cache_read_input_tokens.unwrap_or(0)) }
                    dt { "into the cache" } dd { (usage.cache_creation_input_tokens.unwrap_or(0)) }
                    dt { "output" } dd { (usage.output_tokens) }
                }
            }
        }
    }
}

fn begins(Beginning { like, shared, broken }: &Beginning) -> Markup {
    let (like, shared) = (format!("{like:04}"), percent(*shared));
    html! {
        @match broken {
            None => { p { "Goes on from " (like) ", which has " (shared) " of it." } },
            Some(BrokenAt { part, old, new }) => {
                p { "Begins like " (like) " for " (shared) " of its length, up to " strong { (part) } ":" }
                (side_by_side(&SideBySide::of((like.clone(), old), ("this exchange".into(), new))))
            },
        }
    }
}

/// The course of the answer; `None` before anything of it came.
fn lane(trace: &Trace, is_open: bool) -> Option<Lane> {
    let events = &trace.response.events;
    let end = trace.timing.e2e_us.or_else(|| events.last().map(|event| event.at_us))?;
    let is_call = |data: &Value| data["content_block"]["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use"));
    let call_us: Vec<u64> = events.iter().filter(|event| is_call(&event.data)).map(|event| event.at_us).collect();
    let mut words: Vec<String> = trace.timing.ttft_us.iter().map(|us| format!("first token after {}", duration(*us))).collect();
    words.extend(call_us.iter().zip(tool_names(trace)).map(|(us, tool)| format!("{tool} at {}", duration(*us))));
    words.push(format!("{} {}", if is_open { "so far" } else { "end after" }, duration(end)));
    let first = trace.timing.ttft_us.unwrap_or(end);
    Some(Lane::drawn("answer".into(), first, end, &call_us, end.max(1), &words))
}

fn answer(trace: &Trace) -> Markup {
    let body = &trace.response.body;
    match body {
        Value::Null => texts(trace),
        body if body["content"].is_array() => message(trace),
        Value::String(text) => html! { pre { (text) } },
        body => html! { pre { (format!("{body:#}")) } },
    }
}

/// The texts that the events of another protocol spell.
fn texts(trace: &Trace) -> Markup {
    let texts = spelled_texts(&trace.response.events);
    html! {
        @if texts.is_empty() { p { "Nothing yet." } }
        @for SpelledText { name, text, .. } in &texts { h3 { (name) } pre { (text) } }
    }
}

/// The blocks of a message, a call with the arguments that its events have spelled so far.
fn message(trace: &Trace) -> Markup {
    let spelled = streamed_arguments(&trace.response.events);
    let blocks = trace.response.body["content"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if blocks.is_empty() { p { "Nothing yet." } }
        @for (index, block) in blocks.iter().enumerate() {
            @let text = |field: &str| block[field].as_str().unwrap_or_default().to_owned();
            @match block["type"].as_str().unwrap_or_default() {
                "text" => { pre { (text("text")) } },
                "thinking" => { details id={ "b" (index) } { summary { "thinking" } pre { (text("thinking")) } } },
                kind if kind.ends_with("tool_use") => {
                    h3 { "Call of " (text("name")) }
                    pre { (arguments(block, spelled.get(&(index as u64)))) }
                },
                kind => { p { "(" (kind) ")" } },
            }
        }
        @if calls(trace).next().is_none() && !blocks.is_empty() { p.words { "No tool is called." } }
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
        exchange_part(&FollowedExchange { trace, is_open, beginning }).into_string()
    }

    #[test]
    fn a_call_is_shown_as_far_as_it_is_spelled_and_no_text_becomes_html() {
        let part = followed(true, None);
        let spelled = "{&quot;path&quot;: &quot;a";
        for shown in ["in flight", "Call of Read", spelled, "Read at 1.00 ms, so far 3.00 ms", "&lt;script&gt;"] {
            assert!(part.contains(shown), "{shown}: {part}");
        }
        assert!(!part.contains("<script>") && !part.contains("Prompt"), "{part}");
        assert!(followed(false, None).contains("truncated"));
    }

    #[test]
    fn what_broke_the_prompts_beginning_stands_beside_what_was_there() {
        let broken = BrokenAt { part: "system block 2".into(), old: "Sunday".into(), new: "Monday".into() };
        let part = followed(false, Some(Beginning { like: 1, shared: 0.25, broken: Some(broken) }));
        for shown in ["Begins like 0001 for 25.0% of its length", "system block 2", "Sun", "Mon"] {
            assert!(part.contains(shown), "{shown}: {part}");
        }
        let part = followed(false, Some(Beginning { like: 1, shared: 0.9, broken: None }));
        assert!(part.contains("Goes on from 0001, which has 90.0% of it."), "{part}");
    }
}
