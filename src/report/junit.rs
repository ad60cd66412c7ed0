//! The results of a replay as JUnit XML, which GitLab, Jenkins and others show: a suite for each session, a case for each
//! trace.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{FlakyOrRerun, NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::sureness::in_words;
use super::terminal::detail;
use super::words::fidelity_text;
use super::{Backends, Comparison, Report, SpeedVerdict};
use crate::replay::{CaseResult, Kind, SkippedTrace, Status};

/// The suite of cases that belong to no session.
const OTHERS: &str = "files that are not tested";

/// The suite of times and of fidelity beside what is asked for.
const SPEED: &str = "figures";

/// The suite of margins beside a baseline.
const MARGINS: &str = "margins";

/// The report as JUnit XML.
///
/// A changed outcome is a failure, and so is a file that keeps something from being tested; a backend that failed is an error.
/// The text of a failure is what the terminal shows, with the diff.
///
/// # Errors
/// The XML cannot be written. Characters that XML forbids are no reason: they are left out.
pub fn to_junit(report: &Report) -> Result<String, SerializeError> {
    let mut junit = quick_junit::Report::new("anyclaude replay");
    junit.add_test_suites(suites(report, ""));
    junit.to_string().map(without_forbidden)
}

/// The reports of several backends as JUnit XML, under the names of the backends.
///
/// # Errors
/// As [`to_junit`].
pub fn several_to_junit(several: &Backends) -> Result<String, SerializeError> {
    let mut junit = quick_junit::Report::new("anyclaude replay");
    for backend in &several.backends {
        junit.add_test_suites(suites(&backend.report, &format!("{}: ", backend.name)));
    }
    junit.to_string().map(without_forbidden)
}

/// The text without the characters that no XML may have (XML 1.0, 2.2): one of them, and no parser reads the file. The writer
/// leaves out those below the space, and not the two at the end of the first plane.
fn without_forbidden(mut xml: String) -> String {
    xml.retain(|c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..));
    xml
}

/// The suites of one report; what comes before their names tells those of several backends apart.
fn suites(report: &Report, prefix: &str) -> Vec<TestSuite> {
    let mut suites: BTreeMap<&str, Vec<TestCase>> = BTreeMap::new();
    for case in report.cases {
        suites.entry(case.id.session()).or_default().push(test_case(case, report));
    }
    for id in &report.untested.not_run {
        suites.entry(id.session()).or_default().push(named(id.session(), &id.to_string(), skipped("not run")));
    }
    for SkippedTrace { trace, reason } in &report.untested.skipped {
        suites.entry(OTHERS).or_default().push(named(OTHERS, &trace.to_string_lossy(), skipped(reason)));
    }
    for SkippedTrace { trace, reason } in &report.untested.unreadable {
        let status = failed(NonSuccessKind::Failure, Kind::Unreadable.name(), reason);
        suites.entry(OTHERS).or_default().push(named(OTHERS, &trace.to_string_lossy(), status));
    }
    for snapshot in &report.untested.without_trace {
        let status = failed(NonSuccessKind::Failure, Kind::TraceLost.name(), "the snapshot's trace is gone");
        suites.entry(OTHERS).or_default().push(named(OTHERS, &snapshot.to_string_lossy(), status));
    }
    for drop in report.comparison.iter().flat_map(|comparison| &comparison.margins) {
        let past = report.comparison.iter().flat_map(Comparison::less_sure).any(|past| past.id == drop.id);
        let status = match past {
            true => failed(NonSuccessKind::Failure, Kind::LessSure.name(), &in_words(&drop.tool, &drop.now)),
            false => TestCaseStatus::success(),
        };
        suites.entry(MARGINS).or_default().push(named(MARGINS, &drop.id, status));
    }
    for (name, status) in speeds(report) {
        suites.entry(SPEED).or_default().push(named(SPEED, &name, status));
    }
    let suite = |(name, mut cases): (&str, Vec<TestCase>)| {
        for class in cases.iter_mut().filter_map(|case| case.classname.as_mut()) {
            *class = format!("{prefix}{}", class.as_str()).into();
        }
        let mut suite = TestSuite::new(format!("{prefix}{name}"));
        suite.add_property(("backend", report.target.backend.as_str()));
        suite.add_property(("model", report.target.model.as_str()));
        suite.add_test_cases(cases);
        suite
    };
    suites.into_iter().map(suite).collect()
}

fn test_case(case: &CaseResult, report: &Report) -> TestCase {
    let kind = case.kind().map_or("", Kind::name);
    let failure = |message: &str| failed(NonSuccessKind::Failure, kind, message);
    let error = |message: &str| failed(NonSuccessKind::Error, kind, message);
    let mut status = match case.status {
        Status::AsAccepted | Status::Updated => TestCaseStatus::success(),
        Status::Changed => failure("the tool calls or the prompt are not as accepted"),
        Status::New => failure("nothing is accepted yet"),
        Status::MalformedArguments => failure("a call's arguments are no JSON object"),
        Status::Flaky => failure("repeats of one phase gave different tool calls"),
        Status::CacheFailure => failure("the phases gave different tool calls"),
        Status::PhaseFailure => error("a phase did not happen"),
        Status::Failed => error("the backend failed"),
        Status::Interrupted => skipped("stopped"),
    };
    let detail = console::strip_ansi_codes(&detail(case, report.target.states)).into_owned();
    if case.kind() == Some(Kind::Flaky) {
        let mut run = TestRerun::new(NonSuccessKind::Failure);
        let agreement = case.agreement.map(|agreement| format!("{agreement} measurements agree")).unwrap_or_default();
        run.set_type(Kind::Flaky.name()).set_message(agreement).set_description(detail.as_str());
        status.add_rerun(run);
        if let TestCaseStatus::NonSuccess { reruns, .. } = &mut status {
            reruns.kind = FlakyOrRerun::Flaky;
        }
    }
    if !detail.is_empty() && !matches!(status, TestCaseStatus::Success { .. }) {
        status.set_description(detail);
    }
    let mut test_case = named(case.id.session(), &case.id.to_string(), status);
    let microseconds = case.measurements.iter().map(|measurement| measurement.e2e_us).sum();
    test_case.set_time(Duration::from_micros(microseconds));
    test_case.extra.insert("file".into(), case.trace.to_string_lossy().as_ref().into());
    test_case
}

/// The times beside their baseline and their budgets; skipped where there is no verdict.
fn speeds(report: &Report) -> Vec<(String, TestCaseStatus)> {
    let speeds = report.comparison.iter().flat_map(|comparison| &comparison.speeds).map(|speed| {
        let ratio = format!("{:.2} times the baseline, {:.2} to {:.2}", speed.ratio, speed.low, speed.high);
        let status = match speed.verdict {
            SpeedVerdict::Slower => failed(NonSuccessKind::Failure, Kind::Slower.name(), &ratio),
            SpeedVerdict::WithinLimit => TestCaseStatus::success(),
            SpeedVerdict::Unlimited | SpeedVerdict::TooFewRepeats | SpeedVerdict::Undecided { .. } => skipped(&ratio),
        };
        (format!("{} {} to baseline", speed.phase, speed.metric.name()), status)
    });
    let fidelity = report.free_fidelity.iter().map(|summary| {
        let status = match (summary.is_too_low(), summary.least) {
            (true, _) => failed(NonSuccessKind::Failure, Kind::LowFidelity.name(), &fidelity_text(summary)),
            (false, Some(_)) => TestCaseStatus::success(),
            (false, None) => skipped(&fidelity_text(summary)),
        };
        ("fidelity with no tool forced".to_owned(), status)
    });
    let budgets = report.budgets.iter().map(|result| {
        let status = match result.is_over() {
            Some(true) => failed(NonSuccessKind::Failure, Kind::OverBudget.name(), "the time is over its budget"),
            Some(false) => TestCaseStatus::success(),
            None => skipped("too few times"),
        };
        (format!("{} {} {}", result.phase, result.metric.name(), result.percentile.name()), status)
    });
    speeds.chain(fidelity).chain(budgets).collect()
}

fn failed(kind: NonSuccessKind, word: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_message(message);
    status
}

fn skipped(reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(reason);
    status
}

/// GitLab and Jenkins tell cases apart by class and name.
fn named(class: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(class);
    case
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::replay::testing::{case_result, judged, measurement, outcome};
    use crate::replay::{Finding, Measurement, Phase, Untested, Verdict, differences};
    use crate::report::States;
    use crate::report::testing::{settings, target};
    use crate::snapshot::ExchangeId;

    #[test]
    fn each_session_is_a_suite_and_each_trace_a_case() {
        let (target, settings) = (target(States::CacheControl), settings());
        let cold = || vec![measurement(Phase::Cold, 1230, Some(0))];
        let accepted = outcome("Write", json!({"file_path": "\u{1}\u{fffe}\u{ffff}<hello>.txt"}));
        let fresh = case_result(2, cold());
        let findings = differences(&accepted, fresh.outcome().unwrap(), "");
        let verdict = Verdict::Changed { accepted, found: fresh.outcome().unwrap().clone() };
        let changed = CaseResult { verdict, findings, ..fresh };
        let broken = CaseResult {
            verdict: Verdict::Unfinished,
            error: Some("overloaded_error: busy".into()),
            findings: vec![Finding::said(Kind::Overloaded, "overloaded_error: busy")],
            ..case_result(3, vec![])
        };
        let mut repeats = [1, 2, 3].map(|repeat| Measurement { repeat, ..measurement(Phase::Cold, 1230, Some(0)) });
        repeats[1].outcome = outcome("Read", json!({"file_path": "hallo.txt"}));
        let flaky = case_result(4, repeats.to_vec());
        let tolerated = CaseResult { status: flaky.judged(true), ..case_result(5, repeats.to_vec()) };
        let cases = [case_result(1, cold()), judged(changed), judged(broken), flaky, tolerated];
        let untested = Untested {
            not_run: vec![ExchangeId::new("other", "0001").unwrap()],
            unreadable: vec![SkippedTrace { trace: "traces/a/0001.json".into(), reason: "messages.0: no".into() }],
            skipped: vec![SkippedTrace { trace: "traces/a/0002.json".into(), reason: "not a request for a message".into() }],
            without_trace: vec!["snapshots/gone__0001.snap".into()],
            unused_rules: Vec::new(),
        };
        let report = Report::new(&target, &settings, &cases, untested);
        insta::assert_snapshot!(to_junit(&report).unwrap());
    }
}
