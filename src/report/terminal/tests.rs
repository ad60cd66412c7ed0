use serde_json::{Value, json};

use super::*;
use crate::replay::{Fidelity, Run, check, disagreements};
use crate::snapshot::{ExchangeId, Outcome, ToolCall};
use crate::wire::StopReason;

fn outcome(name: &str, input: Value) -> Outcome {
    Outcome { stop_reason: Some(StopReason::ToolUse), tool_use: vec![ToolCall { name: name.into(), input }] }
}

/// A run with a prompt of 1000 tokens that reads a file in 10 tokens, 100 ms after the first.
pub fn run(phase: Phase, ttft_ms: u64, cache_read_tokens: Option<u64>) -> Run {
    let ttft_us = ttft_ms * 1000;
    Run {
        phase,
        repeat: 1,
        ttft_us: Some(ttft_us),
        e2e_us: ttft_us + 100_000,
        itl_us: vec![10_000; 9],
        prompt_tokens: 1000,
        cache_read_tokens,
        output_tokens: 10,
        outcome: outcome("Read", json!({"file_path": "hello.txt"})),
    }
}

/// A case of session `demo` that is as accepted, and as recorded.
pub fn case(seq: u32, runs: Vec<Run>) -> CaseResult {
    CaseResult {
        id: ExchangeId::new("demo", seq).unwrap(),
        trace: format!("traces/demo/{seq:03}.json").into(),
        snapshot: format!("snapshots/demo__{seq:03}.snap").into(),
        pending: None,
        verdict: Verdict::AsAccepted,
        disagreements: disagreements(&runs),
        phase_failures: check(&runs, 0),
        error: None,
        fidelity: Some(Fidelity { same_tools: true, same_arguments: seq % 2 == 1 }),
        runs,
    }
}

fn all_phases() -> Vec<Run> {
    vec![run(Phase::Cold, 1230, Some(0)), run(Phase::Cached, 12, Some(999)), run(Phase::Warm, 230, Some(800))]
}

fn settings() -> Settings {
    Settings { phases: Phase::ALL.into(), repeat: 1, max_tokens: 256, tool_choice: ToolChoiceMode::Recorded, filter: vec![] }
}

fn target(states: States) -> Target {
    Target { backend: "mlx".into(), model: "tiny".into(), states }
}

fn plain(text: String) -> String {
    console::strip_ansi_codes(&text).into_owned()
}

/// Everything replay prints, in its order.
fn rendered(cases: &[CaseResult], states: States, policy: Policy) -> String {
    let (target, settings) = (target(states), settings());
    let report = Report::new(&target, &settings, Summary::new(cases, cases.len(), 1), cases);
    let lines: String = cases.iter().map(|case| case_line(case, 8)).collect();
    let header = header(&target, &settings, cases.len());
    plain(header + &lines + &latency(&report) + &details(&report, 8) + &closing(&report, policy))
}

#[test]
fn a_green_report() {
    let cases = [case(1, all_phases()), case(2, all_phases())];
    insta::assert_snapshot!(rendered(&cases, States::CacheControl, Policy::Pend));
}

#[test]
fn a_report_of_everything_that_can_be_wrong() {
    let changed = CaseResult {
        verdict: Verdict::Changed { accepted: outcome("Write", json!({"file_path": "hello.txt"})) },
        pending: Some("snapshots/demo__001.snap.new".into()),
        ..case(1, all_phases())
    };
    let new = CaseResult { verdict: Verdict::New, pending: Some("snapshots/demo__002.snap.new".into()), ..case(2, all_phases()) };
    let mut runs = all_phases();
    runs[1].outcome = outcome("Read", json!({"file_path": "hallo.txt"}));
    let cache = case(3, runs);
    let phase = case(4, vec![run(Phase::Cold, 1230, Some(0)), run(Phase::Cached, 1230, Some(0))]);
    let failed = CaseResult {
        verdict: Verdict::Unfinished,
        error: Some("overloaded_error: busy".into()),
        fidelity: None,
        ..case(5, vec![run(Phase::Cold, 1230, Some(0))])
    };
    let stopped = CaseResult { verdict: Verdict::Unfinished, fidelity: None, ..case(6, vec![]) };
    let cases = [changed, new, cache, phase, failed, stopped];
    insta::assert_snapshot!(rendered(&cases, States::CacheControl, Policy::Pend));
}

#[test]
fn salts_and_missing_cache_figures_are_said() {
    let cases = [case(1, vec![run(Phase::Cold, 1230, None)])];
    let text = rendered(&cases, States::Salt, Policy::Check);
    assert!(text.contains("cold and warm were made by salting the prompt's start"), "{text}");
    assert!(text.contains("UNVERIFIED: the backend reports no cache figures"), "{text}");
}

#[test]
fn calls_of_one_tool_in_a_row_are_counted() {
    let call = |name: &str| ToolCall { name: name.into(), input: json!({}) };
    let table = [(vec![], "(no tool)"), (vec!["Read"], "Read"), (vec!["Read", "Read", "Bash", "Read"], "Read ×2, Bash, Read")];
    for (names, expected) in table {
        let mut case = case(1, all_phases());
        case.runs[0].outcome.tool_use = names.into_iter().map(call).collect();
        assert_eq!(tools(&case), expected);
    }
}
