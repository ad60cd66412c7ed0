//! What a load measured, for people.

use super::{BudgetUs, Errors, Measured, Times};
use crate::replay::one_line;
use crate::report::Percentile;
use crate::report::table::{NONE, Table};
use crate::report::tables::as_text;
use crate::report::units::{duration, number, percent};

/// The longest text of an error in a line, in characters. The `--json` file has it whole.
const SHOWN: usize = 160;

/// A table of times, and lines on throughput, errors and goodput.
pub fn to_terminal(measured: &Measured) -> String {
    let mut out = format!("{}\n", as_text(times(measured)));
    let rate = |amount| measured.per_s(amount).map_or_else(|| NONE.into(), number);
    let mut say = |what: &str, text: String| out.push_str(&format!("  {what:<11} {text}\n"));
    let answered = format!("{} of {} in {}", measured.answered, measured.requests, duration(measured.wall_us));
    say(
        "Answered",
        format!("{answered}: {} requests/s, {} output tokens/s", rate(measured.answered), rate(measured.output_tokens)),
    );
    if let (Some(read), true) = (measured.cache_read_tokens, measured.prompt_tokens > 0) {
        say("Cache hits", percent(read as f64 / measured.prompt_tokens as f64));
    }
    let empty = measured.e2e.distribution().count().saturating_sub(measured.ttft.distribution().count());
    if empty > 0 {
        let good = if measured.within_budget.is_some() { "; good only where the recorded one has none either" } else { "" };
        say("No content", format!("{empty} of {} answers ended before any came{good}", measured.answered));
    }
    for (nth, (kind, Errors { count, example })) in measured.errors.iter().enumerate() {
        let example = one_line(example, SHOWN);
        say(if nth == 0 { "Errors" } else { "" }, format!("{count} {kind}, such as: {example}"));
    }
    if let (Some(share), Some(good)) = (measured.good_share(), measured.within_budget) {
        let limits = limits(measured.budget);
        say("Goodput", format!("{} within {limits}: {} good requests/s", percent(share), rate(good)));
    }
    out
}

/// A line on which shards' figures are in here.
pub fn shards_line(measured: &Measured) -> String {
    let (here, missing) = measured.shards_here_and_missing();
    let missing_too = if missing.is_empty() { String::new() } else { format!("; {} missing", list(&missing)) };
    format!("  Shards      {} of {}{missing_too}\n", list(&here), here.len() + missing.len())
}

/// A line on one of the rates that are tried.
pub fn rate_line(per_s: f64, measured: &Measured, kept_up: bool) -> String {
    let share = measured.good_share().map_or_else(|| NONE.into(), percent);
    let ttft = measured.ttft.distribution().percentile_us(Percentile::P99).map_or_else(|| NONE.into(), duration);
    let errors = measured.errors.iter().map(|(kind, errors)| format!(", {} {kind}", errors.count)).collect::<String>();
    let behind = if kept_up { "" } else { ", later and later" };
    format!("  {:>8} requests/s  {share:>6} within the budget, TTFT p99 {ttft}{behind}{errors}\n", number(per_s))
}

/// A line on what a search for the highest rate has come to: the highest that went well, and the lowest that did not.
pub fn search_line(found: Option<f64>, too_much: Option<f64>) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| NONE.into(), number);
    let line = match (found, too_much) {
        (Some(_), Some(_)) => format!("Between {} and {} requests/s", rate(found), rate(too_much)),
        (Some(_), None) => format!("At least {} requests/s: no higher rate was tried", rate(found)),
        (None, _) => format!("No rate went well, down to {} requests/s", rate(too_much)),
    };
    format!("\n  {line}\n")
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn limits(BudgetUs { ttft_us, tpot_us }: BudgetUs) -> String {
    let limits = [("TTFT", ttft_us), ("TPOT", tpot_us)].into_iter().filter_map(|(name, us)| Some((name, us?)));
    limits.map(|(name, us)| format!("{name} {}", duration(us))).collect::<Vec<_>>().join(" and ")
}

fn times(measured: &Measured) -> Table {
    let Measured { ttft, tpot, e2e, held, late, .. } = measured;
    let row = |(name, times): (&str, &Times)| {
        let times = times.distribution();
        let (min, max) = times.range_us().unzip();
        let percentiles = Percentile::ALL.map(|percentile| times.percentile_us(percentile));
        let cells = [min].into_iter().chain(percentiles).chain([max]);
        let cells = cells.map(|us| us.map_or_else(|| NONE.into(), duration));
        [name.to_owned(), times.count().to_string()].into_iter().chain(cells).collect()
    };
    let header = ["", "count", "min", "p50", "p90", "p95", "p99", "max"].map(str::to_owned).into();
    let rows = [("TTFT", ttft), ("TPOT", tpot), ("E2E", e2e), ("held back", held), ("sent late", late)].map(row).into();
    Table { header, rows, words: 1 }
}
