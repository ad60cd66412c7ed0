//! Two replays as they are shown.

use serde_json::json;

use super::*;
use crate::replay::testing::{case_result, judged, measurement, outcome};
use crate::replay::{CaseResult, Measurement, Phase, ReplaySettings, Untested, Verdict, differences};
use crate::report::testing::{settings, target};
use crate::report::{FiguresError, ReplayTarget, Report, States};

fn measured(file: &str, ttft_ms: u64) -> Vec<Measurement> {
    let outcome = outcome("Read", json!({ "file_path": file }));
    let cold = Measurement { outcome: outcome.clone(), ..measurement(Phase::Cold, ttft_ms, Some(0)) };
    vec![cold, Measurement { outcome, ..measurement(Phase::Cached, ttft_ms / 10, Some(990)) }]
}

fn accepted(seq: u32, ttft_ms: u64) -> CaseResult {
    case_result(seq, measured("hello.txt", ttft_ms))
}

fn changed(seq: u32, file: &str) -> CaseResult {
    let accepted = outcome("Read", json!({"file_path": "hello.txt"}));
    let case = case_result(seq, measured(file, 900));
    let found = case.outcome().unwrap().clone();
    let findings = differences(&accepted, &found, "");
    judged(CaseResult { verdict: Verdict::Changed { accepted, found }, findings, ..case })
}

fn new(seq: u32, file: &str) -> CaseResult {
    judged(CaseResult { verdict: Verdict::New, ..case_result(seq, measured(file, 900)) })
}

/// As it comes back from a file.
fn run(cases: &[CaseResult], target: &ReplayTarget, settings: &ReplaySettings) -> FinishedRun {
    FinishedRun::parse(&Report::new(target, settings, cases, Untested::default()).to_json()).unwrap()
}

fn shown(before: &FinishedRun, now: &FinishedRun) -> (u8, String) {
    let flips = Flips::between(before, now);
    (flips.exit_code(), console::strip_ansi_codes(&to_terminal(before, now, &flips)).into_owned())
}

#[test]
fn flips_come_first_and_then_the_figures() {
    let (here, settings) = (target(States::CacheControl), settings());
    let there = ReplayTarget { model: "other".into(), host: "there".into(), ..here.clone() };
    let failed = judged(CaseResult { error: Some("gone".into()), usual: None, ..case_result(7, vec![]) });
    let before = [
        accepted(1, 100),
        accepted(2, 100),
        accepted(3, 100),
        changed(4, "a"),
        changed(5, "a"),
        new(6, "a"),
        new(7, "a"),
        new(8, "a"),
    ];
    let now =
        [accepted(1, 150), changed(2, "b"), accepted(4, 100), changed(5, "b"), new(6, "b"), failed, new(8, "a"), new(9, "a")];
    let fewer = ReplaySettings { max_tokens: 64, ..settings.clone() };
    let (code, text) = shown(&run(&before, &here, &settings), &run(&now, &there, &fewer));
    assert_eq!(code, 1);
    insta::assert_snapshot!(text, @r#"
      A  mlx (model tiny) on here
      B  mlx (model other) on there

      Lost
        demo/0002  PASS → CHANGED
            argument-changed: tool_use[0].input.file_path: "hello.txt" is accepted, "b" came
        demo/0003  PASS → not replayed
        demo/0007  NEW → FAIL
            A: Read {"file_path":"a"}
            B: no answer

      Won
        demo/0004  CHANGED → PASS
            A: Read {"file_path":"a"}
            B: Read {"file_path":"hello.txt"}

      Changed
        demo/0005  CHANGED → CHANGED
            argument-changed: tool_use[0].input.file_path: "hello.txt" is accepted, "b" came
        demo/0006  NEW → NEW
            A: Read {"file_path":"a"}
            B: Read {"file_path":"b"}

                                A         B   B to A
      cold TTFT p50        900 ms    900 ms    1.00x
      cold TPOT p50       11.1 ms   11.1 ms    1.00x
      cold cache hits        0.0%      0.0%        –
      cached TTFT p50     90.0 ms   90.0 ms    1.00x
      cached TPOT p50     11.1 ms   11.1 ms    1.00x
      cached cache hits     99.0%     99.0%        –

    The times are of two machines.

    These settings differ: max_tokens.

         Summary 3 lost, 1 won, 2 changed, 2 the same, 1 only in B
    "#);
}

#[test]
fn the_same_twice_has_lost_nothing() {
    let (target, settings) = (target(States::CacheControl), settings());
    let run = run(&[accepted(1, 100), changed(2, "a")], &target, &settings);
    let (code, text) = shown(&run, &run);
    assert_eq!(code, 0);
    insta::assert_snapshot!(text, @"
    A  mlx (model tiny) on here
    B  mlx (model tiny) on here

                              A         B   B to A
    cold TTFT p50        100 ms    100 ms    1.00x
    cold TPOT p50       11.1 ms   11.1 ms    1.00x
    cold cache hits        0.0%      0.0%        –
    cached TTFT p50     10.0 ms   10.0 ms    1.00x
    cached TPOT p50     11.1 ms   11.1 ms    1.00x
    cached cache hits     99.0%     99.0%        –

       Summary 0 lost, 0 won, 0 changed, 2 the same
    ");
}

/// Against a replay that was stopped or did nothing, winning says nothing.
#[test]
fn a_replay_that_did_not_finish_is_said() {
    let (target, settings) = (target(States::CacheControl), settings());
    let whole = run(&[accepted(1, 100)], &target, &settings);
    let stopped = judged(CaseResult { verdict: Verdict::Unfinished, ..case_result(1, vec![]) });
    let (stopped, empty) = (run(&[stopped], &target, &settings), run(&[], &target, &settings));
    for (unfinished, code_as_b) in [(&stopped, 1), (&empty, 1)] {
        let (code, text) = shown(unfinished, &whole);
        assert!(code == 3 && text.contains("A did not finish"), "{code} {text}");
        let (code, text) = shown(&whole, unfinished);
        assert!(code == code_as_b && text.contains("B did not finish"), "{code} {text}");
    }
    assert_eq!(shown(&empty, &empty).0, 3);
}

/// A file may have been made by anybody.
#[test]
fn no_name_writes_escapes_to_the_terminal() {
    let (target, settings) = (target(States::CacheControl), settings());
    let named = |id: &str| {
        let report = Report::new(&target, &settings, &[accepted(1, 100)], Untested::default()).to_json();
        let mut report: serde_json::Value = serde_json::from_str(&report).unwrap();
        report["cases"][0]["id"] = json!(id);
        FinishedRun::parse(&report.to_string()).unwrap()
    };
    let (hostile, other) = (named("a\u{1b}[2J\nPASS"), named("b"));
    let text = to_terminal(&hostile, &other, &Flips::between(&hostile, &other));
    let plain = console::strip_ansi_codes(&text);
    assert!(!plain.contains('\u{1b}') && plain.contains("    a [2J PASS  PASS → not replayed\n"), "{plain:?}");
    assert!(!text.contains("\u{1b}[2J"), "{text:?}");
}

/// Times of a trace that only one of them measured would make the other look slow.
#[test]
fn figures_are_of_the_traces_that_both_measured() {
    let (target, settings) = (target(States::CacheControl), settings());
    let both = run(&[accepted(1, 100), accepted(2, 9000)], &target, &settings);
    let one = run(&[accepted(1, 100)], &target, &settings);
    let figures = super::figures::figures(&both, &one);
    assert!(!figures.is_empty() && figures.iter().all(|figure| figure.a == figure.b), "{figures:?}");
}

#[test]
fn what_is_no_finished_replay_is_refused() {
    let refused = |text: &str| FinishedRun::parse(text).unwrap_err();
    assert!(matches!(refused("{"), FiguresError::Json { .. }));
    assert!(matches!(refused(r#"{"version": 2, "cases": []}"#), FiguresError::Version { .. }));
    assert!(matches!(refused(r#"{"version": 1, "backends": []}"#), FiguresError::Several));
    let others = [
        r#"{"version": 2, "shards": []}"#,
        r#"{"version": 1, "lost": []}"#,
        r#"{"version": 3, "cases": 5}"#,
        r#"{"cases": []}"#,
        "{}",
    ];
    insta::assert_snapshot!(others.map(|text| refused(text).to_string()).join("\n"), @"
    the figures of a load, not of a replay
    the figures of a comparison of two replays, not of a replay
    not the figures of a replay: cases: invalid type: integer `5`, expected a sequence
    not the figures of a replay
    not the figures of a replay
    ");
}
