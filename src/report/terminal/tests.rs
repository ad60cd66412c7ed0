//! What the report prints, as a whole.

use serde_json::json;

use super::*;
use crate::replay::Phase;
use crate::replay::testing::{case_result, judged, measurement, outcome};
use crate::replay::{Finding, Measurement, SkippedTrace, Untested, differences};
use crate::report::testing::{settings, target};
use crate::snapshot::ToolUse;

fn all_phases() -> Vec<Measurement> {
    vec![
        measurement(Phase::Cold, 1230, Some(0)),
        measurement(Phase::Cached, 12, Some(999)),
        measurement(Phase::Warm, 230, Some(800)),
    ]
}

fn plain(text: String) -> String {
    console::strip_ansi_codes(&text).into_owned()
}

/// Everything replay prints, in its order.
fn rendered(cases: &[CaseResult], states: States, policy: Policy) -> String {
    let (target, settings) = (target(states), settings());
    let skipped = SkippedTrace { trace: "traces/demo/0009.json".into(), reason: "not a request for a message".into() };
    let untested = Untested { skipped: vec![skipped], ..Untested::default() };
    let report = Report::new(&target, &settings, cases, untested);
    let lines: String = cases.iter().map(|case| case_line(case, 9)).collect();
    let header = header(&target, &settings, cases.len());
    plain(header + &lines + &latency(&report) + &histograms(&report) + &details(&report, 9) + &closing(&report, policy))
}

#[test]
fn a_green_report() {
    let cases = [case_result(1, all_phases()), case_result(2, all_phases())];
    insta::assert_snapshot!(rendered(&cases, States::CacheControl, Policy::Pend));
}

#[test]
fn a_report_of_everything_that_can_be_wrong() {
    let accepted = outcome("Write", json!({"file_path": "hello.txt"}));
    let read = outcome("Read", json!({"file_path": "hello.txt"}));
    let mut findings = differences(&accepted, &read, "");
    findings.push(Finding::at(Kind::ModelChanged, "info.model", Some(&json!("small")), Some(&json!("tiny"))));
    let changed = CaseResult {
        findings: findings.clone(),
        verdict: Verdict::Changed { accepted, found: read },
        pending: Some("snapshots/demo__0001.snap.new".into()),
        ..case_result(1, all_phases())
    };
    let new = CaseResult {
        verdict: Verdict::New,
        findings: vec![Finding::said(Kind::NoSnapshot, "nothing is accepted yet")],
        pending: Some("snapshots/demo__0002.snap.new".into()),
        ..case_result(2, all_phases())
    };
    let mut measurements = all_phases();
    measurements[1].outcome = outcome("Read", json!({"file_path": "hallo.txt"}));
    let cache = case_result(3, measurements);
    let phase = case_result(4, vec![measurement(Phase::Cold, 1230, Some(0)), measurement(Phase::Cached, 1230, Some(0))]);
    let failed = CaseResult {
        verdict: Verdict::Unfinished,
        error: Some("overloaded_error: busy".into()),
        findings: vec![Finding::said(Kind::Overloaded, "overloaded_error: busy")],
        retries: 3,
        fidelity: None,
        ..case_result(5, vec![measurement(Phase::Cold, 1230, Some(0))])
    };
    let stopped = CaseResult { verdict: Verdict::Unfinished, fidelity: None, ..case_result(6, vec![]) };
    let cases = [changed, new, cache, phase, failed, stopped].map(judged);
    insta::assert_snapshot!(rendered(&cases, States::CacheControl, Policy::Pend));
}

#[test]
fn salts_and_missing_cache_figures_are_said() {
    let cases = [case_result(1, vec![measurement(Phase::Cold, 1230, None)])];
    insta::assert_snapshot!(rendered(&cases, States::Salt, Policy::Check));
}

#[test]
fn calls_of_one_tool_in_a_row_are_counted() {
    let call = |name: &str| ToolUse { name: name.into(), input: json!({}) };
    let table = [(vec![], "(no tool)"), (vec!["Read"], "Read"), (vec!["Read", "Read", "Bash", "Read"], "Read ×2, Bash, Read")];
    for (names, expected) in table {
        let mut case = case_result(1, vec![measurement(Phase::Cold, 1230, Some(0))]);
        case.usual.as_mut().unwrap().tool_use = names.into_iter().map(call).collect();
        assert_eq!(tools(&case), expected);
    }
}
