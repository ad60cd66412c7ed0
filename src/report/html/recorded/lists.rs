//! The list of sessions, and that of a session's exchanges.

use maud::{Markup, html};
use time::OffsetDateTime;

use super::super::article::bar;
use super::facts::{Facts, moment, state};
use crate::report::units::{count, duration, grouped};
use crate::wire::{Usage, total_tokens};

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
#[derive(Clone, Debug)]
pub(crate) struct ListedExchange {
    /// Its number.
    pub seq: u32,
    /// What is said of it, as far as it came; why it cannot be read.
    pub facts: Result<Facts, String>,
    /// Whether it is under way.
    pub is_open: bool,
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
                            tr {
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
    let facts = || page.exchanges.iter().filter_map(|exchange| exchange.facts.as_ref().ok());
    let longest_us = facts().filter_map(|facts| Some(facts.course.as_ref()?.end_us)).max().unwrap_or(0).max(1);
    html! {
        p { (sums(page.exchanges.len(), facts())) }
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
fn sums<'a>(listed: usize, facts: impl Iterator<Item = &'a Facts>) -> String {
    let usages: Vec<&Usage> = facts.filter_map(|facts| facts.usage.as_ref()).collect();
    let sum = |of: fn(&Usage) -> u64| total_tokens(usages.iter().map(|usage| of(usage)));
    let (prompt, cached) = (sum(Usage::prompt_tokens), sum(|usage| usage.cache_read_input_tokens.unwrap_or(0)));
    let output = grouped(sum(|usage| usage.output_tokens));
    let (share, prompt) = (share(cached, prompt), grouped(prompt));
    format!("{}: {prompt} prompt tokens ({share} from the cache), {output} output tokens", count(listed, "exchange"))
}

fn row(exchange: &ListedExchange, up: &str, longest_us: u64) -> Markup {
    let number = format!("{:04}", exchange.seq);
    html! {
        tr {
            th.text scope="row" { a href={ (up) (exchange.seq) "/" } { (number) } }
            @match &exchange.facts {
                Err(reason) => { td.text.wrong colspan="9" { (reason) } },
                Ok(facts) => {
                    td.text { (state(facts.outcome, exchange.is_open)) }
                    td.text { (facts.model.as_deref().unwrap_or("–")) }
                    td.text.gist { (facts.gist) }
                    td.course { @if let Some(course) = &facts.course { (bar(&course.lane(longest_us))) } }
                    @for figure in figures(facts) { td { (figure) } }
                },
            }
        }
    }
}

/// TTFT, E2E and token counts; a dash for what is not known.
fn figures(facts: &Facts) -> [String; 5] {
    let time = |us: Option<u64>| us.map_or_else(|| "–".into(), duration);
    let tokens = |of: fn(&Usage) -> String| facts.usage.as_ref().map_or_else(|| "–".into(), of);
    [
        time(facts.course.as_ref().and_then(|course| course.ttft_us)),
        time(facts.e2e_us),
        tokens(|usage| grouped(usage.prompt_tokens())),
        tokens(|usage| share(usage.cache_read_input_tokens.unwrap_or(0), usage.prompt_tokens())),
        tokens(|usage| grouped(usage.output_tokens)),
    ]
}

/// A part of tokens in percent, rounded down.
pub(super) fn share(part: u64, all: u64) -> String {
    format!("{}%", 100 * u128::from(part) / u128::from(all.max(1)))
}
