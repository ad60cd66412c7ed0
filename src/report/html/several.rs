//! The page of a replay on several backends: the table with a column for each, and the exchanges that they do not answer alike.

use maud::{Markup, html};
use time::OffsetDateTime;

use super::page::{made, scheme, table, whole};
use crate::report::backends::{answer_line, figures, summary, verdict_of_all};
use crate::report::units::count;
use crate::report::words::{status_word, what_is_replayed};
use crate::report::{Backends, SharedAnswer};

/// The replays as one HTML file, made at this time.
pub fn several_to_html(several: &Backends, made_at: OffsetDateTime) -> String {
    let verdict = verdict_of_all(several);
    let body = html! {
        header {
            h1 { "Replay " span class=(verdict) { (verdict) } }
            (scheme())
            ul {
                @for backend in &several.backends {
                    @let report = &backend.report;
                    li { strong { (backend.name) } ": " (what_is_replayed(report.target, report.settings, report.cases.len())) }
                }
            }
            (made(made_at))
        }
        main {
            section aria-labelledby="figures" {
                h2 #figures { "Side by side" }
                (table("A column for each backend", figures(&several.backends)))
            }
            section aria-labelledby="exchanges" {
                h2 #exchanges { "Answered differently, or not as accepted" }
                p { (summary(several)) }
                @for exchange in &several.differing {
                    h3 { (exchange.id) }
                    ul { @for shared in &exchange.answers { (answer(shared)) } }
                }
            }
        }
    };
    whole(&format!("Replay {verdict}: {}", count(several.backends.len(), "backend")), &body)
}

fn answer(answer: &SharedAnswer) -> Markup {
    html! {
        li {
            strong { (status_word(answer.status)) } " " (answer_line(answer))
            @if !answer.findings.is_empty() { ul { @for finding in &answer.findings { li { (finding) } } } }
        }
    }
}
