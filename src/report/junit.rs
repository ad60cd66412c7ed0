//! The results of a replay as JUnit XML, which GitLab, Jenkins and others show: a suite for each session, a case for each
//! trace.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::Report;
use super::terminal::detail;
use crate::replay::{CaseResult, Status, UnreadableTrace};

/// The suite of cases that belong to no session.
const OTHERS: &str = "files that are not tested";

/// The report as JUnit XML.
///
/// A changed outcome is a failure, and so is a file that keeps something from being tested; a backend that failed is an error.
/// The text of a failure is what the terminal shows, with the diff.
///
/// # Errors
/// The XML cannot be written. Characters that XML forbids are no reason: they are left out.
pub fn to_junit(report: &Report) -> Result<String, SerializeError> {
    let mut suites: BTreeMap<&str, Vec<TestCase>> = BTreeMap::new();
    for case in report.cases {
        suites.entry(case.id.session()).or_default().push(test_case(case, report));
    }
    for id in &report.untested.not_run {
        suites.entry(id.session()).or_default().push(named(id.session(), &id.to_string(), skipped("not run")));
    }
    for UnreadableTrace { trace, reason } in &report.untested.unreadable {
        let status = failed(NonSuccessKind::Failure, "unreadable", reason);
        suites.entry(OTHERS).or_default().push(named(OTHERS, &trace.to_string_lossy(), status));
    }
    for snapshot in &report.untested.without_trace {
        let status = failed(NonSuccessKind::Failure, "without_trace", "the snapshot's trace is gone");
        suites.entry(OTHERS).or_default().push(named(OTHERS, &snapshot.to_string_lossy(), status));
    }
    let mut junit = quick_junit::Report::new("anyclaude replay");
    for (name, cases) in suites {
        let mut suite = TestSuite::new(name);
        suite.add_property(("backend", report.target.backend.as_str()));
        suite.add_property(("model", report.target.model.as_str()));
        suite.add_test_cases(cases);
        junit.add_test_suite(suite);
    }
    junit.to_string()
}

fn test_case(case: &CaseResult, report: &Report) -> TestCase {
    let failure = |word: &str, message: &str| failed(NonSuccessKind::Failure, word, message);
    let error = |word: &str, message: &str| failed(NonSuccessKind::Error, word, message);
    // The words of the JSON file.
    let mut status = match case.status() {
        Status::AsAccepted | Status::Updated => TestCaseStatus::success(),
        Status::Changed => failure("changed", "the tool calls are not as accepted"),
        Status::New => failure("new", "nothing is accepted yet"),
        Status::MalformedArguments => failure("malformed_arguments", "a call's arguments are no JSON object"),
        Status::CacheFailure => failure("cache_failure", "the measurements gave different tool calls"),
        Status::PhaseFailure => error("phase_failure", "a phase did not happen"),
        Status::Failed => error("failed", "the backend failed"),
        Status::Interrupted => skipped("stopped"),
    };
    let detail = detail(case, report.target.states);
    if !detail.is_empty() {
        status.set_description(console::strip_ansi_codes(&detail));
    }
    let mut test_case = named(case.id.session(), &case.id.to_string(), status);
    let microseconds = case.measurements.iter().map(|measurement| measurement.e2e_us).sum();
    test_case.set_time(Duration::from_micros(microseconds));
    test_case.extra.insert("file".into(), case.trace.to_string_lossy().as_ref().into());
    test_case
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
    use crate::replay::testing::{case_result, measurement, outcome};
    use crate::replay::{Phase, Untested, Verdict};
    use crate::report::States;
    use crate::report::testing::{settings, target};
    use crate::snapshot::ExchangeId;

    #[test]
    fn each_session_is_a_suite_and_each_trace_a_case() {
        let (target, settings) = (target(States::CacheControl), settings());
        let cold = || vec![measurement(Phase::Cold, 1230, Some(0))];
        let accepted = outcome("Write", json!({"file_path": "\u{1}<hello>.txt"}));
        let changed = CaseResult { verdict: Verdict::Changed { accepted }, ..case_result(2, cold()) };
        let broken =
            CaseResult { verdict: Verdict::Unfinished, error: Some("overloaded_error: busy".into()), ..case_result(3, vec![]) };
        let cases = [case_result(1, cold()), changed, broken];
        let untested = Untested {
            not_run: vec![ExchangeId::new("other", 1).unwrap()],
            unreadable: vec![UnreadableTrace { trace: "traces/a/0001.json".into(), reason: "messages.0: no".into() }],
            without_trace: vec!["snapshots/gone__001.snap".into()],
        };
        let report = Report::new(&target, &settings, &cases, untested, 0);
        insta::assert_snapshot!(to_junit(&report).unwrap());
    }
}
