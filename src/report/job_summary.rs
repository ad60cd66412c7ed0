//! A replay as Markdown, for the page that GitHub Actions shows of a job. Pure.

use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::backends::{figures, problems_of_all, verdict_of_all};
use super::problem::{Problem, problems};
use super::table::{Table, fidelity, percentiles, rates, speeds};
use super::units::count;
use super::words::{budget_text, counts, verdict, what_is_replayed};
use super::{Backends, Report};

/// The largest summary that is written, in bytes. GitHub takes 1,024 KiB of a step, and drops all of it if there is more.
pub const LARGEST: usize = 900 * 1024;

/// The room that is kept for the sentence on what is left out, in bytes.
const LAST_SENTENCE: usize = 200;

/// The summary, of at most this many bytes: what does not fit is left out by whole problems, and a sentence says how many.
pub fn to_markdown(report: &Report, most: usize) -> String {
    let mut out = format!("## Replay {}\n\n{}\n\n", verdict(&report.summary), text(&counts(report)));
    out.push_str(&text(&what_is_replayed(report.target, report.settings, report.cases.len())));
    out.push_str("\n\n");
    out.push_str(&times(report));
    add_problems(&mut out, &problems(report), most);
    out
}

/// The summary of several backends side by side, of at most this many bytes.
pub fn several_to_markdown(several: &Backends, most: usize) -> String {
    let figures = as_markdown(figures(&several.backends));
    let mut out = format!("## Replay {}\n\n{figures}\n\n", verdict_of_all(several));
    add_problems(&mut out, &problems_of_all(several), most);
    out
}

fn add_problems(out: &mut String, problems: &[Problem], most: usize) {
    if !problems.is_empty() {
        out.push_str("### What is not as it should be\n\n");
    }
    for (nth, problem) in problems.iter().enumerate() {
        let section = section(problem);
        if out.len() + section.len() + LAST_SENTENCE > most {
            let left = count(problems.len() - nth, "more problem");
            out.push_str(&format!("{left} left out here, because GitHub takes no larger summary: they are in the log.\n"));
            break;
        }
        out.push_str(&section);
    }
}

/// One problem; its details are folded away.
fn section(problem: &Problem) -> String {
    let Problem { kind, name, detail, .. } = problem;
    let title = format!("<code>{kind}</code> {}", text(name));
    match detail.as_str() {
        "" => format!("{title}\n\n"),
        detail => format!("<details><summary>{title}</summary>\n\n{}</details>\n\n", fenced(detail)),
    }
}

fn times(report: &Report) -> String {
    if report.latency.is_empty() {
        return String::new();
    }
    let mut tables = vec![percentiles(&report.latency), rates(&report.latency)];
    tables.extend(report.comparison.as_ref().map(speeds));
    tables.extend(report.free_fidelity.as_ref().map(fidelity));
    let tables: String = tables.into_iter().map(|table| format!("{}\n\n", as_markdown(table))).collect();
    let budgets: String = report.budgets.iter().map(|result| format!("- {}\n", text(&budget_text(result)))).collect();
    format!("<details><summary>Figures</summary>\n\n{tables}{budgets}</details>\n\n")
}

fn as_markdown(Table { header, rows, words }: Table) -> String {
    let cells = |row: Vec<String>| row.iter().map(|cell| text(cell)).collect::<Vec<_>>();
    let mut table = Builder::from_iter([header].into_iter().chain(rows).map(cells)).build();
    table.with(Style::markdown());
    table.modify(Columns::new(words..), Alignment::right());
    table.to_string()
}

/// A code block, whose fence is longer than any row of backquotes in it.
fn fenced(code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n\n", code.trim_end())
}

/// A text without a meaning for Markdown or HTML.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '@' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::replay::testing::{case_result, judged, measurement, outcome};
    use crate::replay::{CaseResult, Phase, Untested, Verdict, differences};
    use crate::report::States;
    use crate::report::testing::{settings, target};

    /// A trace that wrote this in place of reading.
    fn changed(seq: u32, content: &str) -> CaseResult {
        let accepted = outcome("Write", json!({ "content": content }));
        let fresh = case_result(seq, vec![measurement(Phase::Cold, 1230, Some(0))]);
        let found = fresh.outcome().unwrap().clone();
        let findings = differences(&accepted, &found, "");
        judged(CaseResult { verdict: Verdict::Changed { accepted, found }, findings, ..fresh })
    }

    fn markdown(cases: &[CaseResult], most: usize) -> String {
        let (target, settings) = (target(States::CacheControl), settings());
        to_markdown(&Report::new(&target, &settings, cases, Untested::default()), most)
    }

    #[test]
    fn the_summary_reads_well() {
        let cases = [case_result(1, vec![measurement(Phase::Cold, 1230, Some(0))]), changed(2, "```\n</details>\n")];
        insta::assert_snapshot!(markdown(&cases, LARGEST));
    }

    #[test]
    fn a_large_summary_is_cut_between_problems_and_says_so() {
        let cases: Vec<_> = (1..=100).map(|seq| changed(seq, &"x".repeat(20_000))).collect();
        let cut = markdown(&cases, LARGEST);
        assert!(cut.len() <= LARGEST && cut.len() > LARGEST * 9 / 10, "{}", cut.len());
        let shown = cut.matches("<code>").count();
        assert_eq!(cut.matches("</details>").count(), shown + 1);
        let left = format!(
            "{} more problems left out here, because GitHub takes no larger summary: they are in the log.\n",
            100 - shown
        );
        assert!(cut.ends_with(&left), "{}", &cut[cut.len() - 300..]);
        assert!(markdown(&cases, 4000).len() <= 4000);
    }

    #[test]
    fn names_have_no_meaning_for_markdown() {
        assert_eq!(text("a_b*[x](y) <b> & `c`\n#1"), r"a\_b\*\[x\](y) &lt;b&gt; &amp; \`c\` \#1");
    }
}
