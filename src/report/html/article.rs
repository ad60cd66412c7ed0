//! One exchange on the page, folded until somebody opens it.

use maud::{Markup, html};

use super::diff::{Line, Row, SideBySide};
use super::exchange::{Exchange, Lane};
use crate::report::units::count;
use crate::report::words::{phase_times, status_word, tools};

/// The exchange that has this number on the page.
pub(super) fn article(nth: usize, exchange: &Exchange) -> Markup {
    let case = exchange.case;
    let word = status_word(case.status);
    html! {
        details id={ "x" (nth) } data-status=(word) open[exchange.is_open] {
            summary {
                span class={ "status " (if exchange.is_fine() { "fine" } else { "wrong" }) } { (word) } " "
                strong { (case.id) } " " span.tools { (tools(case)) } " "
                span.medians { (phase_times(case).join(" · ")) }
            }
            @if !case.findings.is_empty() { ul { @for finding in &case.findings { li { (finding) } } } }
            @if let Some(agreement) = case.agreement.filter(|agreement| agreement.same < agreement.of) {
                p { (agreement) " measurements gave the accepted outcome" }
            }
            @if case.rules_needed > 0 { p { "equal under " (count(case.rules_needed, "rule")) } }
            @for diff in &exchange.diffs { (side_by_side(diff)) }
            @if !exchange.margins.is_empty() {
                h3 { "How sure the model was" }
                ul { @for margin in &exchange.margins { li { (margin) } } }
            }
            @if !exchange.lanes.is_empty() {
                h3 { "Timeline" }
                ol.lanes { @for lane in &exchange.lanes { (timeline(lane)) } }
            }
            p.files { code { (case.trace.display()) } " " code { (case.snapshot.display()) } }
        }
    }
}

/// The course of one answer, in a bar and in words.
pub(super) fn timeline(lane: &Lane) -> Markup {
    html! {
        li {
            span.phase { (lane.name) }
            (bar(lane))
            span.words { (lane.words) }
        }
    }
}

/// The course of one answer as a bar.
pub(super) fn bar(lane: &Lane) -> Markup {
    let percent = |share: &f64| format!("{:.2}%", share * 100.0);
    html! {
        span.bar aria-hidden="true" {
            span.prefill style={ "width:" (percent(&lane.prefill)) } {}
            span.answer style={ "width:" (percent(&lane.answer)) } {}
            @for call in &lane.calls { span.call style={ "left:" (percent(call)) } {} }
        }
    }
}

/// Two texts beside each other.
pub(super) fn side_by_side(diff: &SideBySide) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label={ (diff.old) " beside " (diff.new) } {
            table.diff {
                colgroup { col.number; col; col.number; col; }
                thead { tr { th colspan="2" scope="col" { (diff.old) } th colspan="2" scope="col" { (diff.new) } } }
                tbody {
                    @for row in &diff.rows {
                        @match row {
                            Row::Gap => { tr.gap { td colspan="4" { "⋮" } } },
                            Row::Lines(old, new) => { tr { (cells(old.as_ref(), "old")) (cells(new.as_ref(), "new")) } },
                        }
                    }
                }
            }
        }
    }
}

/// The number and the text of a line, or two empty cells.
fn cells(line: Option<&Line>, side: &str) -> Markup {
    let Some(line) = line else { return html! { td.number {} td.none {} } };
    let class = if line.is_changed { side } else { "same" };
    html! {
        td.number { (line.number) }
        td class=(class) {
            @for word in &line.words {
                @match (word.is_changed, side) {
                    (false, _) => (word.text),
                    (true, "old") => { del { (word.text) } },
                    (true, _) => { ins { (word.text) } },
                }
            }
        }
    }
}
