//! The page as a whole.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::article::article;
use super::chart::{Curves, percentile_chart};
use super::exchange::exchanges;
use crate::replay::{CaseResult, Status};
use crate::report::problem::{Problem, problems};
use crate::report::table::{Table, fidelity, percentiles, rates, speeds};
use crate::report::units::count;
use crate::report::words::{budget_text, counts, fidelity_text, status_word, verdict, what_is_replayed};
use crate::report::{Metric, Report};

pub(super) const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the page may load: nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// What a page that follows a recorder may load: its own changes.
pub(super) const FOLLOWING_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; connect-src 'self'";

/// The most problems that are listed above the times. All are with their exchanges.
const LISTED: usize = 50;

/// The report as one HTML file, made at this time.
pub fn to_html(report: &Report, made_at: OffsetDateTime) -> String {
    let what = what_is_replayed(report.target, report.settings, report.cases.len());
    let verdict = verdict(&report.summary);
    let body = html! {
        a.skip href="#exchanges" { "To the exchanges" }
        header {
            h1 { "Replay " span class=(verdict) { (verdict) } }
            (scheme())
            p { (what) }
            p { strong { (counts(report)) } }
            (made(made_at))
        }
        main {
            (problem_list(report))
            (times(report))
            (exchange_list(report))
            (settings(report))
        }
        script { (PreEscaped(SCRIPT)) }
    };
    whole(&format!("Replay {verdict}: {}", report.target.model), &body)
}

/// A whole page, which loads nothing.
pub(super) fn whole(title: &str, body: &Markup) -> String {
    whole_under(POLICY, STYLE, title, body)
}

/// A whole page, which may load what this policy allows and looks as this style sheet says.
pub(super) fn whole_under(policy: &str, style: &str, title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy);
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(style)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// When the report was made.
pub(super) fn made(made_at: OffsetDateTime) -> Markup {
    // The format has only parts that a time has.
    let machine = made_at.format(&Rfc3339).unwrap_or_default();
    let people = made_at.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).unwrap_or_default();
    html! { p { "Made " time datetime=(machine) { (people) } } }
}

/// The choice of light and dark, which the style sheet alone carries out.
pub(super) fn scheme() -> Markup {
    html! {
        fieldset.scheme {
            legend { "Colours" }
            @for (value, name) in [("system", "as the system"), ("light", "light"), ("dark", "dark")] {
                label { input type="radio" name="scheme" value=(value) checked[value == "system"]; " " (name) }
            }
        }
    }
}

fn problem_list(report: &Report) -> Markup {
    let problems = problems(report);
    let number_of = |name: &str| report.cases.iter().position(|case| case.id.to_string() == name);
    let line = |Problem { kind, name, text, .. }: &Problem| {
        html! {
            code { (kind) } " "
            @match number_of(name) {
                Some(nth) => a href={ "#x" (nth) } { (name) },
                None => (name),
            }
            @if let Some(line) = text.lines().next() { ": " (line.strip_prefix(kind.name()).unwrap_or(line).trim_start_matches(": ")) }
        }
    };
    html! {
        @if !problems.is_empty() {
            section aria-labelledby="problems" {
                h2 #problems { "What is not as it should be" }
                ul { @for problem in problems.iter().take(LISTED) { li { (line(problem)) } } }
                @if problems.len() > LISTED { p { (count(problems.len() - LISTED, "more problem")) " below" } }
            }
        }
    }
}

fn times(report: &Report) -> Markup {
    html! {
        @if !report.latency.is_empty() {
            section aria-labelledby="times" {
                h2 #times { "Times" }
                div.charts { @for metric in [Metric::Ttft, Metric::E2e] { (chart(report, metric)) } }
                details {
                    summary { "Figures" }
                    (table("Percentiles", percentiles(&report.latency)))
                    (table("Rates", rates(&report.latency)))
                    @if let Some(comparison) = &report.comparison { (table("Beside the baseline", speeds(comparison))) }
                    @if let Some(summary) = &report.free_fidelity {
                        (table("Fidelity with no tool forced", fidelity(summary)))
                        p { (fidelity_text(summary)) }
                    }
                    @if !report.budgets.is_empty() {
                        h3 { "Budgets" }
                        ul { @for budget in &report.budgets { li { (budget_text(budget)) } } }
                    }
                }
            }
        }
    }
}

fn chart(report: &Report, metric: Metric) -> Markup {
    let before = |phase| report.comparison.as_ref().and_then(|comparison| comparison.before.get(&(phase, metric)));
    let curves = report.latency.iter().map(|latency| {
        let now = latency.distribution(metric);
        Curves { phase: latency.phase, now, before: before(latency.phase) }
    });
    let curves: Vec<_> = curves.filter(|curves| curves.now.count() > 0).collect();
    let has_baseline = curves.iter().any(|curves| curves.before.is_some());
    let label = format!("{} by percentile, a curve for each phase; the figures below have the percentiles", metric.name());
    html! {
        @if let Some(svg) = percentile_chart(&curves) {
            figure {
                figcaption {
                    strong { (metric.name()) } " by percentile"
                    @for curves in &curves { " " span class={ "key " (curves.phase) } { (curves.phase) } }
                    @if has_baseline { " " span.key.baseline { "baseline" } }
                }
                div role="img" aria-label=(label) { (PreEscaped(svg)) }
            }
        }
    }
}

pub(super) fn table(caption: &str, Table { header, rows, words }: Table) -> Markup {
    html! {
        // Wide tables scroll by themselves, with the keyboard too.
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for (column, name) in header.into_iter().enumerate() { th.words[column < words] scope="col" { (name) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (column, cell) in row.iter().enumerate() {
                                @if column < words { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn exchange_list(report: &Report) -> Markup {
    let statuses = statuses(report.cases);
    html! {
        section aria-labelledby="exchanges" {
            h2 #exchanges tabindex="-1" { "Exchanges" }
            form.filter role="search" {
                label { "Verdict " select #verdict {
                    option value="" { "all" }
                    @for (status, n) in statuses { option value=(status_word(status)) { (status_word(status)) " (" (n) ")" } }
                } }
                label { "Search " input #search type="search" placeholder="name, tool, kind, text" autocomplete="off"; }
                button #unfold type="button" { "Unfold all" }
                button #fold type="button" { "Fold all" }
                output #shown for="verdict search" { (count(report.cases.len(), "exchange")) }
            }
            p.words { "In a timeline grey is the time until the first token, blue the answer; a mark is where a call begins." }
            div #list {
                @for (nth, exchange) in exchanges(report).iter().enumerate() { (article(nth, exchange)) }
            }
        }
    }
}

/// How many traces came to what, in the order in which that came up.
fn statuses(cases: &[CaseResult]) -> Vec<(Status, usize)> {
    let mut counts: Vec<(Status, usize)> = Vec::new();
    for case in cases {
        match counts.iter_mut().find(|(status, _)| *status == case.status) {
            Some((_, n)) => *n += 1,
            None => counts.push((case.status, 1)),
        }
    }
    counts
}

fn settings(report: &Report) -> Markup {
    let (target, settings) = (report.target, report.settings);
    let rows = [
        ("backend", target.backend.clone()),
        ("model", target.model.clone()),
        ("weights", target.digest.as_ref().map(|digest| digest.weights.clone()).unwrap_or_default()),
        ("template", target.digest.as_ref().map(|digest| digest.template.clone()).unwrap_or_default()),
        ("tool calls", target.tool_format.clone()),
        ("host", target.host.clone()),
        ("tool choice", settings.tool_choice.name().into()),
        ("longest answer", count(settings.max_tokens as usize, "token")),
        ("match rules", settings.matching.rules.len().to_string()),
    ];
    html! {
        section aria-labelledby="settings" {
            h2 #settings { "How it was asked" }
            dl { @for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) { dt { (name) } dd { (value) } } }
        }
    }
}
