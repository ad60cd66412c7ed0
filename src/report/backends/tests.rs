//! Several backends as they are shown.

use serde_json::json;

use super::*;
use crate::replay::testing::{case_result, judged, measurement, outcome};
use crate::replay::{CaseResult, Measurement, Phase, ReplaySettings, Untested, Verdict, differences};
use crate::report::States;
use crate::report::testing::{settings, target};

fn measured(file: &str, ttft_ms: u64, read: Option<u64>) -> Vec<Measurement> {
    let outcome = outcome("Read", json!({ "file_path": file }));
    let cold = Measurement { outcome: outcome.clone(), ..measurement(Phase::Cold, ttft_ms, read.map(|_| 0)) };
    vec![cold, Measurement { outcome, ..measurement(Phase::Cached, ttft_ms / 10, read) }]
}

/// A case that is not as accepted.
fn changed(seq: u32, file: &str) -> CaseResult {
    let accepted = outcome("Read", json!({"file_path": "hello.txt"}));
    let case = case_result(seq, measured(file, 900, None));
    let found = case.outcome().unwrap().clone();
    let findings = differences(&accepted, &found, "");
    judged(CaseResult { verdict: Verdict::Changed { accepted, found }, findings, ..case })
}

fn named<'a>(
    name: &str,
    target: &'a crate::report::ReplayTarget,
    settings: &'a ReplaySettings,
    cases: &'a [CaseResult],
) -> NamedReport<'a> {
    NamedReport { name: name.into(), report: Report::new(target, settings, cases, Untested::default()) }
}

#[test]
fn a_column_for_each_backend_and_below_what_differs() {
    let (controlled, salted, settings) = (target(States::CacheControl), target(States::Salt), settings());
    let engine = [1, 2, 3].map(|seq| case_result(seq, measured("hello.txt", 120, Some(990))));
    let there = [case_result(1, measured("hello.txt", 900, None)), changed(2, "hallo.txt"), changed(3, "hullo.txt")];
    let third = [case_result(1, measured("hello.txt", 700, None)), changed(2, "hallo.txt")];
    let side = Backends::new(vec![
        named("engine", &controlled, &settings, &engine),
        named("mlx-lm", &salted, &settings, &there),
        named("llama.cpp", &salted, &settings, &third),
    ]);
    let shared: Vec<Vec<&[String]>> =
        side.differing.iter().map(|exchange| exchange.answers.iter().map(|answer| &answer.backends[..]).collect()).collect();
    assert_eq!(shared[0], [&["engine".to_owned()][..], &["mlx-lm".to_owned(), "llama.cpp".to_owned()]]);
    assert_eq!(side.exit_code(), 1);
    insta::assert_snapshot!(console::strip_ansi_codes(&to_terminal(&side)), @r#"
                                      engine    mlx-lm   llama.cpp
      model                             tiny      tiny        tiny
      as accepted                     3 of 3    1 of 3      1 of 2
      changed                              –         2           1
      same tools as recorded          3 of 3    3 of 3      2 of 2
      same arguments as recorded      2 of 3    2 of 3      1 of 2
      cold TTFT p50                   120 ms    900 ms      700 ms
      cold TPOT p50                  11.1 ms   11.1 ms     11.1 ms
      cold cache hits                   0.0%         –           –
      cached TTFT p50                12.0 ms   90.0 ms     70.0 ms
      cached TPOT p50                11.1 ms   11.1 ms     11.1 ms
      cached cache hits                99.0%         –           –
      cold and warm made by        its cache     salts       salts

    UNVERIFIED: no cache figures from mlx-lm, llama.cpp, so whether cold, warm and cached happened is not known.

    The first tool was forced, as recorded; --tool-choice auto lets the models choose.

    Exchanges that are answered differently, or not as accepted

      demo/0002
             PASS engine: Read {"file_path":"hello.txt"}
          CHANGED mlx-lm, llama.cpp: Read {"file_path":"hallo.txt"}
                  argument-changed: tool_use[0].input.file_path: "hello.txt" is accepted, "hallo.txt" came

      demo/0003
             PASS engine: Read {"file_path":"hello.txt"}
          CHANGED mlx-lm: Read {"file_path":"hullo.txt"}
                  argument-changed: tool_use[0].input.file_path: "hello.txt" is accepted, "hullo.txt" came

         Summary 2 exchanges answered differently by 3 backends
    "#);
}

/// With no snapshots, two backends that answer alike are nothing to tell of.
#[test]
fn what_no_snapshot_knows_is_compared_between_the_backends() {
    let (target, settings) = (target(States::CacheControl), settings());
    let new = |seq, file: &str| judged(CaseResult { verdict: Verdict::New, ..case_result(seq, measured(file, 100, Some(990))) });
    let (one, other) = ([new(1, "a.txt"), new(2, "a.txt")], [new(1, "a.txt"), new(2, "b.txt")]);
    let side = Backends::new(vec![named("a", &target, &settings, &one), named("b", &target, &settings, &other)]);
    assert_eq!(side.differing.iter().map(|exchange| exchange.id.to_string()).collect::<Vec<_>>(), ["demo/0002"]);
}

/// A backend that broke down, or was stopped, did not answer otherwise than the others.
#[test]
fn no_answer_is_no_other_answer() {
    let (target, settings) = (target(States::CacheControl), settings());
    let answered = [1, 2].map(|seq| case_result(seq, measured("hello.txt", 120, Some(990))));
    let failed = judged(CaseResult { error: Some("gone".into()), usual: None, ..case_result(1, vec![]) });
    let stopped = judged(CaseResult { verdict: Verdict::Unfinished, usual: None, ..case_result(2, vec![]) });
    let there = [failed, stopped];
    let side = Backends::new(vec![named("engine", &target, &settings, &answered), named("there", &target, &settings, &there)]);
    let listed: Vec<_> = side.differing.iter().map(|exchange| (exchange.id.to_string(), exchange.answered_differently)).collect();
    assert_eq!(listed, [("demo/0001".to_owned(), false)]);
    let shown = to_terminal(&side);
    let shown = console::strip_ansi_codes(&shown);
    assert!(
        shown.ends_with("Summary 0 exchanges answered differently by 2 backends, 1 exchange not answered by all\n"),
        "{shown}"
    );
}

/// A figure that is missing decides nothing; wrong answers weigh more than slow ones.
#[test]
fn the_exit_code_is_that_of_the_worst_backend() {
    let (target, settings) = (target(States::CacheControl), settings());
    let (fine, wrong) = ([case_result(1, measured("hello.txt", 1, None))], [changed(1, "b.txt")]);
    let failed = [judged(CaseResult { error: Some("gone".into()), ..case_result(1, vec![]) })];
    let code = |sides: &[&[CaseResult]]| {
        Backends::new(sides.iter().map(|cases| named("a", &target, &settings, cases)).collect()).exit_code()
    };
    assert_eq!([code(&[&fine, &fine]), code(&[&fine, &wrong]), code(&[&wrong, &failed])], [0, 1, 3]);
}
