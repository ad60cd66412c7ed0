//! The list of sessions, and that of a session's exchanges.

use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::report::units::{count, duration};
use crate::trace::Trace;
use crate::wire::Usage;

/// A session in the list.
pub(crate) struct SessionLine {
    /// Its name.
    pub name: String,
    /// How many of its exchanges are recorded.
    pub recorded: usize,
    /// How many are under way.
    pub open: usize,
    /// When the last one began or ended.
    pub last: OffsetDateTime,
}

/// An exchange in the list of a session.
pub(crate) struct ListedExchange {
    /// Its number.
    pub seq: u32,
    /// It, as far as it came; why it cannot be read.
    pub trace: Result<Trace, String>,
    /// Whether it is under way.
    pub is_open: bool,
}

/// The sessions, the newest first. `more`: how many are not listed.
pub(crate) fn sessions_part(sessions: &[SessionLine], more: usize) -> Markup {
    html! {
        @if sessions.is_empty() { p { "No session yet." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Sessions" {
                table {
                    thead { tr { @for name in ["session", "last"] { th.words scope="col" { (name) } }
                        @for name in ["exchanges", "in flight"] { th scope="col" { (name) } } } }
                    tbody {
                        @for session in sessions {
                            tr {
                                th scope="row" { a href={ "s/" (session.name) "/" } { (session.name) } }
                                td { (moment(session.last)) }
                                td { (session.recorded) }
                                td { (session.open) }
                            }
                        }
                    }
                }
            }
            @if more > 0 { p { "and " (count(more, "older session")) } }
        }
    }
}

/// The exchanges of a session, the newest first. `more`: how many are not listed.
pub(crate) fn session_part(exchanges: &[ListedExchange], more: usize) -> Markup {
    let words = ["number", "state", "model", "calls"];
    let figures = ["TTFT", "E2E", "prompt tokens", "from the cache", "output tokens"];
    html! {
        div.scroll tabindex="0" role="region" aria-label="Exchanges" {
            table {
                thead { tr {
                    @for name in words { th.words scope="col" { (name) } }
                    @for name in figures { th scope="col" { (name) } }
                } }
                tbody { @for exchange in exchanges { (row(exchange, figures.len())) } }
            }
        }
        @if more > 0 { p { "and " (count(more, "older exchange")) } }
    }
}

fn row(exchange: &ListedExchange, figures: usize) -> Markup {
    let number = format!("{:04}", exchange.seq);
    html! {
        tr {
            th scope="row" { a href={ (exchange.seq) "/" } { (number) } }
            @match &exchange.trace {
                Err(reason) => { td.words colspan=(figures + 3) { (reason) } },
                Ok(trace) => {
                    td.words { (state(trace, exchange.is_open)) }
                    td.words { (model(trace).unwrap_or("-")) }
                    td.words { (tool_names(trace).join(", ")) }
                    @for figure in self::figures(trace) { td { (figure) } }
                },
            }
        }
    }
}

/// How an exchange stands.
pub(super) fn state(trace: &Trace, is_open: bool) -> Markup {
    let word = if is_open { "in flight" } else { trace.outcome.name() };
    let class = if is_open || word == "complete" { "fine" } else { "wrong" };
    html! { span class=(class) { (word) } }
}

/// The model that the request asks for.
pub(super) fn model(trace: &Trace) -> Option<&str> {
    trace.request.body.get("model").and_then(Value::as_str)
}

/// The token counts of an answer.
pub(super) fn usage(trace: &Trace) -> Option<Usage> {
    trace.response.body.get("usage").and_then(|usage| Usage::deserialize(usage).ok())
}

/// The calls of an answer.
pub(super) fn calls(trace: &Trace) -> impl Iterator<Item = &Value> {
    let blocks = trace.response.body.get("content").and_then(Value::as_array);
    let is_call = |block: &&Value| block["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use"));
    blocks.into_iter().flatten().filter(is_call)
}

/// The names of the tools that an answer calls.
pub(super) fn tool_names(trace: &Trace) -> Vec<&str> {
    calls(trace).map(|call| call["name"].as_str().unwrap_or("?")).collect()
}

/// TTFT, E2E and token counts; a dash for what is not known.
fn figures(trace: &Trace) -> [String; 5] {
    let time = |us: Option<u64>| us.map_or_else(|| "-".into(), duration);
    let usage = usage(trace);
    let tokens = |of: fn(&Usage) -> u64| usage.as_ref().map_or_else(|| "-".into(), |usage| of(usage).to_string());
    [
        time(trace.timing.ttft_us),
        time(trace.timing.e2e_us),
        tokens(Usage::prompt_tokens),
        tokens(|usage| usage.cache_read_input_tokens.unwrap_or(0)),
        tokens(|usage| usage.output_tokens),
    ]
}

fn moment(time: OffsetDateTime) -> String {
    // The format has only parts that a time has.
    time.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC")).unwrap_or_default()
}
