//! The list of sessions, and that of a session's exchanges.

use std::sync::Arc;

use maud::{Markup, html};
use time::OffsetDateTime;

use super::super::article::bar;
use super::facts::{CourseSoFar, gist, model, moment, shortened, state, usage};
use crate::report::units::{count, duration, grouped};
use crate::trace::{ExchangeOutcome, Trace};
use crate::wire::{Usage, percent_of, total_tokens};

/// A session in the list.
pub(crate) struct SessionLine {
    /// Its name.
    pub name: String,
    /// What it is about: the beginning of what was asked first; empty if that is not known.
    pub topic: String,
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
    /// What is said of it, as far as it came; why it cannot be read.
    pub outline: Arc<Result<ExchangeOutline, String>>,
    /// Whether it is under way.
    pub is_open: bool,
}

/// What the list says of an exchange: little, however long the exchange is.
#[derive(Debug)]
pub(crate) struct ExchangeOutline {
    outcome: ExchangeOutcome,
    model: Option<String>,
    gist: String,
    course: Option<CourseSoFar>,
    ttft_us: Option<u64>,
    e2e_us: Option<u64>,
    usage: Option<Counts>,
}

/// The token counts of an answer.
#[derive(Clone, Copy, Debug)]
struct Counts {
    prompt: u64,
    cached: u64,
    output: u64,
}

impl ExchangeOutline {
    /// Of an exchange, as far as it came.
    pub(crate) fn of(trace: &Trace) -> Self {
        Self {
            outcome: trace.outcome,
            model: model(trace).map(shortened),
            gist: gist(trace),
            course: CourseSoFar::of(trace),
            ttft_us: trace.timing.ttft_us,
            e2e_us: trace.timing.e2e_us,
            usage: usage(trace).as_ref().map(Counts::of),
        }
    }
}

impl Counts {
    fn of(usage: &Usage) -> Self {
        let (prompt, cached) = (usage.prompt_tokens(), usage.cache_read_input_tokens.unwrap_or(0));
        Self { prompt, cached, output: usage.output_tokens }
    }
}

/// Some exchanges of a session, one after another.
pub(crate) struct ExchangesPage {
    /// The newest first.
    pub exchanges: Vec<ListedExchange>,
    /// How many are older.
    pub older: usize,
    /// The number before which the page ends; `None` if it has the newest.
    pub before: Option<u32>,
}

/// The sessions, the newest first. `more`: how many are not listed.
pub(crate) fn sessions_part(sessions: &[SessionLine], more: usize) -> Markup {
    html! {
        @if sessions.is_empty() { p { "No session yet." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Sessions" {
                table {
                    thead { tr {
                        @for name in ["session", "what was asked first", "last"] { th.text scope="col" { (name) } }
                        @for name in ["exchanges", "in flight"] { th scope="col" { (name) } }
                    } }
                    tbody {
                        @for session in sessions {
                            tr id={ "s-" (session.name) } {
                                th.text scope="row" { a href={ "s/" (session.name) "/" } { (session.name) } }
                                td.text.gist title=(session.topic) { (session.topic) }
                                td.text { (moment(session.last)) }
                                td { (session.recorded) }
                                td { @if session.open > 0 { span.flight { (session.open) } } @else { "–" } }
                            }
                        }
                    }
                }
            }
            @if more > 0 { p { "and " (count(more, "older session")) } }
        }
    }
}

/// Some exchanges of a session, and what they came to.
pub(crate) fn session_part(page: &ExchangesPage) -> Markup {
    let words = ["number", "state", "model", "answer"];
    let figures = ["TTFT", "E2E", "prompt", "from cache", "output"];
    // Seen from the page of the newest ones.
    let up = if page.before.is_some() { "../../" } else { "" };
    let outlines = || page.exchanges.iter().filter_map(|exchange| exchange.outline.as_ref().as_ref().ok());
    let longest_us = outlines().filter_map(|outline| Some(outline.course.as_ref()?.end_us)).max().unwrap_or(0).max(1);
    html! {
        p { (sums(page.exchanges.len(), outlines())) }
        div.scroll tabindex="0" role="region" aria-label="Exchanges" {
            table {
                thead { tr {
                    @for name in words { th.text scope="col" { (name) } }
                    th.text scope="col" { "time" }
                    @for name in figures { th scope="col" { (name) } }
                } }
                tbody { @for exchange in &page.exchanges { (row(exchange, up, longest_us)) } }
            }
        }
        p.ways {
            @if page.before.is_some() { a href=(up) { "the newest" } " " }
            @if let Some(oldest) = page.exchanges.last() && page.older > 0 {
                a href={ (up) "before/" (oldest.seq) "/" } { (count(page.older, "older exchange")) }
            }
        }
        p.words { "Grey is the time until the first token, blue the answer; a mark is where a call begins." }
    }
}

/// What exchanges came to.
fn sums<'a>(listed: usize, outlines: impl Iterator<Item = &'a ExchangeOutline>) -> String {
    let counts: Vec<Counts> = outlines.filter_map(|outline| outline.usage).collect();
    let sum = |of: fn(&Counts) -> u64| total_tokens(counts.iter().map(of));
    let (prompt, cached) = (sum(|counts| counts.prompt), sum(|counts| counts.cached));
    let output = grouped(sum(|counts| counts.output));
    let (share, prompt) = (share(cached, prompt), grouped(prompt));
    format!("{}: {prompt} prompt tokens ({share} from the cache), {output} output tokens", count(listed, "exchange"))
}

fn row(exchange: &ListedExchange, up: &str, longest_us: u64) -> Markup {
    let number = format!("{:04}", exchange.seq);
    html! {
        tr id={ "e" (exchange.seq) } {
            th.text scope="row" { a href={ (up) (exchange.seq) "/" } { (number) } }
            @match exchange.outline.as_ref() {
                Err(reason) => { td.text.wrong colspan="9" { (reason) } },
                Ok(outline) => {
                    td.text { (state(outline.outcome, exchange.is_open)) }
                    td.text { (outline.model.as_deref().unwrap_or("–")) }
                    td.text.gist { (outline.gist) }
                    td.course { @if let Some(course) = &outline.course { (bar(&course.lane(longest_us))) } }
                    @for figure in figures(outline) { td { (figure) } }
                },
            }
        }
    }
}

/// TTFT, E2E and token counts; a dash for what is not known.
fn figures(outline: &ExchangeOutline) -> [String; 5] {
    let time = |us: Option<u64>| us.map_or_else(|| "–".into(), duration);
    let tokens = |of: fn(Counts) -> String| outline.usage.map_or_else(|| "–".into(), of);
    [
        time(outline.ttft_us),
        time(outline.e2e_us),
        tokens(|counts| grouped(counts.prompt)),
        tokens(|counts| share(counts.cached, counts.prompt)),
        tokens(|counts| grouped(counts.output)),
    ]
}

/// A part of tokens in percent, rounded down.
pub(super) fn share(part: u64, all: u64) -> String {
    format!("{}%", percent_of(part, all))
}
