//! Measurements and results for tests.

use serde_json::{Value, json};

use super::compare::{inconsistency, most_frequent};
use super::{
    Acceptance, CaseResult, Fidelity, Finding, Kind, Measurement, Phase, Status, Verdict, agreement, check, disagreements,
    malformed_arguments,
};
use crate::snapshot::{ExchangeId, Outcome, ToolUse};
use crate::trace::CallEnd;
use crate::wire::StopReason;

/// An answer with one tool call.
pub fn outcome(name: &str, input: Value) -> Outcome {
    Outcome { stop_reason: Some(StopReason::ToolUse), tool_use: vec![ToolUse { name: name.into(), input }] }
}

/// The first measurement of a phase, with a prompt of 1000 tokens and an answer of 10 that takes another 100 ms: it reads a file.
pub fn measurement(phase: Phase, ttft_ms: u64, cache_read_tokens: Option<u64>) -> Measurement {
    let ttft_us = ttft_ms * 1000;
    Measurement {
        phase,
        repeat: 1,
        ttft_us: Some(ttft_us),
        e2e_us: ttft_us + 100_000,
        gap_us: vec![10_000; 9],
        call_us: vec![ttft_us],
        prompt_tokens: 1000,
        cache_read_tokens,
        output_tokens: 10,
        outcome: outcome("Read", json!({"file_path": "hello.txt"})),
        last_call: CallEnd::Finished,
        text: String::new(),
        retries: 0,
    }
}

/// The result of a case of session `demo` that is as accepted, and as recorded.
pub fn case_result(seq: u32, measurements: Vec<Measurement>) -> CaseResult {
    let exact = Acceptance::default();
    let usual = most_frequent(&measurements, &exact).map(|usual| usual.outcome.clone());
    let phase_failures = check(&measurements, 0);
    let missing = phase_failures.iter().map(|failure| Finding::said(Kind::PhaseMissing, failure.to_string()));
    judged(CaseResult {
        id: ExchangeId::new("demo", &format!("{seq:04}")).unwrap(),
        trace: format!("traces/demo/{seq:04}.json").into(),
        snapshot: format!("snapshots/demo__{seq:04}.snap").into(),
        pending: None,
        status: Status::AsAccepted,
        findings: missing.chain(inconsistency(&measurements, &exact)).collect(),
        agreement: usual.as_ref().map(|usual| agreement(&measurements, usual, &exact)),
        usual,
        rules_needed: 0,
        retries: 0,
        verdict: Verdict::AsAccepted,
        disagreements: disagreements(&measurements, &exact),
        malformed_arguments: malformed_arguments(&measurements),
        phase_failures,
        error: None,
        fidelity: Some(Fidelity { same_tools: true, same_arguments: seq % 2 == 1 }),
        free_fidelity: None,
        margins: None,
        measurements,
    })
}

/// The same with the status that its verdict and its findings come to.
pub fn judged(case: CaseResult) -> CaseResult {
    CaseResult { status: case.judged(false), ..case }
}
