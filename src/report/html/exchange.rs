//! What the page has to say of one exchange.

use super::diff::SideBySide;
use crate::replay::{CaseResult, Disagreement, Margins, Measurement, Phase, Status, Verdict};
use crate::report::sureness::in_words;
use crate::report::units::duration;
use crate::report::{MarginDrop, Report};

/// What the page has to say of one exchange, besides its result.
pub(super) struct Exchange<'a> {
    pub case: &'a CaseResult,
    /// Whether it is unfolded from the beginning.
    pub is_open: bool,
    /// One of each phase that was measured.
    pub lanes: Vec<Lane>,
    /// What is accepted beside what came, and measurements that disagree.
    pub diffs: Vec<SideBySide>,
    /// How sure the model was of each call, in words.
    pub margins: Vec<String>,
}

/// The course of one answer, drawn as a bar: shares of the longest E2E of the exchange.
pub(super) struct Lane {
    /// What it is of: a phase of a replay, or an exchange.
    pub name: String,
    /// Until the first token.
    pub prefill: f64,
    /// From then on to the end.
    pub answer: f64,
    /// Where each call begins.
    pub calls: Vec<f64>,
    /// The same in words.
    pub words: String,
}

/// The most exchanges that are unfolded from the beginning.
const OPEN: usize = 20;

/// What the page has to say of each exchange. The first of those that are not as accepted are unfolded.
pub(super) fn exchanges<'a>(report: &Report<'a>) -> Vec<Exchange<'a>> {
    let mut exchanges: Vec<_> = report.cases.iter().map(|case| Exchange::of(case, report)).collect();
    exchanges.iter_mut().filter(|exchange| !exchange.is_fine()).take(OPEN).for_each(|exchange| exchange.is_open = true);
    exchanges
}

impl<'a> Exchange<'a> {
    /// Whether nothing is wrong with it.
    pub(super) fn is_fine(&self) -> bool {
        matches!(self.case.status, Status::AsAccepted | Status::Updated)
    }

    fn of(case: &'a CaseResult, report: &Report) -> Self {
        let shown: Vec<_> = Phase::ALL.into_iter().filter_map(|phase| median(case, phase)).collect();
        let longest = shown.iter().map(|one| one.e2e_us).max().unwrap_or(1).max(1);
        Self {
            case,
            is_open: false,
            lanes: shown.into_iter().map(|one| Lane::of(one, longest)).collect(),
            diffs: diffs(case),
            margins: margins(case, report),
        }
    }
}

/// The valid measurement of this phase that took the middle time of all its repeats.
fn median(case: &CaseResult, phase: Phase) -> Option<&Measurement> {
    let mut repeats: Vec<_> = case.valid_measurements().filter(|one| one.phase == phase).collect();
    repeats.sort_by_key(|one| one.e2e_us);
    repeats.get(repeats.len().saturating_sub(1) / 2).copied()
}

impl Lane {
    /// An answer that begins and ends at these times, beside one that takes longest, which is not 0. All in microseconds.
    pub(super) fn drawn(name: String, first_us: u64, end_us: u64, call_us: &[u64], longest_us: u64, words: &[String]) -> Self {
        let share = |us: u64| us.min(longest_us) as f64 / longest_us as f64;
        Self {
            name,
            prefill: share(first_us),
            answer: (share(end_us) - share(first_us)).max(0.0),
            calls: call_us.iter().map(|us| share(*us)).collect(),
            words: words.join(", "),
        }
    }

    fn of(one: &Measurement, longest_us: u64) -> Self {
        let first = one.ttft_us.unwrap_or(one.e2e_us);
        let tools = one.outcome.tool_names();
        let mut words: Vec<_> = one.ttft_us.iter().map(|us| format!("first token after {}", duration(*us))).collect();
        words.extend(one.call_us.iter().zip(&tools).map(|(us, tool)| format!("{tool} at {}", duration(*us))));
        words.push(format!("end after {}", duration(one.e2e_us)));
        words.push(format!(
            "{} of {} prompt tokens cached",
            one.cache_read_tokens.map_or("?".into(), |n| n.to_string()),
            one.prompt_tokens
        ));
        words.push(format!("{} tokens answered", one.output_tokens));
        Self::drawn(one.phase.to_string(), first, one.e2e_us, &one.call_us, longest_us, &words)
    }
}

fn diffs(case: &CaseResult) -> Vec<SideBySide> {
    let mut diffs = Vec::new();
    if let Verdict::Changed { accepted, found } = &case.verdict {
        diffs.push(SideBySide::of(("accepted".into(), &accepted.to_text()), ("this replay".into(), &found.to_text())));
    }
    for Disagreement { first, other, first_outcome, other_outcome } in &case.disagreements {
        let old = (first.to_string(), &*first_outcome.to_text());
        diffs.push(SideBySide::of(old, (other.to_string(), &other_outcome.to_text())));
    }
    diffs
}

fn margins(case: &CaseResult, report: &Report) -> Vec<String> {
    let id = case.id.to_string();
    let drops = report.comparison.iter().flat_map(|comparison| &comparison.margins).filter(|drop| drop.id == id);
    let dropped = drops.map(|MarginDrop { drop, before, tool, now, .. }| {
        format!("{} ({:+.2}, {before:.2} in the baseline)", in_words(tool, now), -drop)
    });
    let dropped: Vec<_> = dropped.collect();
    match (&case.margins, dropped.is_empty()) {
        (_, false) => dropped,
        (Some(Margins::Known(answer)), true) => {
            let calls = answer.calls.iter().filter_map(|call| Some(in_words(&call.tool, call.least.as_ref()?)));
            calls.collect()
        }
        (Some(Margins::Missing { missing }), true) => vec![format!("not known: {missing}")],
        (None, true) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::testing::{case_result, measurement};

    #[test]
    fn a_lane_shows_the_middle_repeat_as_shares_of_the_longest_answer() {
        let repeat = |repeat: u32, ttft_ms: u64| Measurement { repeat, ..measurement(Phase::Cold, ttft_ms, Some(0)) };
        let case =
            case_result(1, vec![repeat(1, 900), repeat(2, 100), repeat(3, 300), measurement(Phase::Cached, 100, Some(999))]);
        let shown: Vec<_> = Phase::ALL.into_iter().filter_map(|phase| median(&case, phase)).collect();
        let [cold, cached] = shown[..] else { panic!("{shown:?}") };
        let (cold, cached) = (Lane::of(cold, 400_000), Lane::of(cached, 400_000));
        assert_eq!((cold.prefill, cold.answer, cold.calls), (0.75, 0.25, vec![0.75]));
        assert_eq!((cached.prefill, cached.answer), (0.25, 0.25));
        insta::assert_snapshot!(cold.words, @"first token after 300 ms, Read at 300 ms, end after 400 ms, 0 of 1000 prompt tokens cached, 10 tokens answered");
    }
}
