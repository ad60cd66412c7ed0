//! Which backends answered an exchange alike. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use super::NamedReport;
use crate::replay::{Acceptance, CaseResult, Finding, Status};
use crate::snapshot::{ExchangeId, Outcome};

/// The different answers to one exchange.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExchangeAnswers {
    /// The exchange's name.
    pub id: ExchangeId,
    /// Whether two backends answered and the answers are not the same. One that failed did not answer otherwise.
    pub answered_differently: bool,
    /// Each answer once, in the order of the backends.
    pub answers: Vec<SharedAnswer>,
}

/// What one or several backends answered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SharedAnswer {
    /// Who answered so.
    pub backends: Vec<String>,
    /// How it compares with the accepted answer.
    pub status: Status,
    /// The tool calls and the reason for the end; `None` if the backend failed before it had answered.
    pub outcome: Option<Outcome>,
    /// What is not as it should be or as before, notices aside; that of the first of these backends.
    pub findings: Vec<Finding>,
}

/// The exchanges that were answered differently by two backends, or not as accepted by one, in the order of the traces.
pub(super) fn differing(backends: &[NamedReport]) -> Vec<ExchangeAnswers> {
    let Some(first) = backends.iter().max_by_key(|backend| backend.report.cases.len()) else { return Vec::new() };
    // Each backend has the same traces in the same order, and may have come less far.
    let ids = first.report.cases.iter().map(|case| &case.id);
    ids.enumerate().filter_map(|(nth, id)| of_exchange(id, nth, backends)).collect()
}

fn of_exchange(id: &ExchangeId, nth: usize, backends: &[NamedReport]) -> Option<ExchangeAnswers> {
    let cases = backends.iter().filter_map(|backend| Some((backend, backend.report.cases.get(nth)?)));
    // What the user stopped says nothing.
    let cases = cases.filter(|(_, case)| case.status != Status::Interrupted);
    let mut groups: Vec<(Vec<String>, &CaseResult)> = Vec::new();
    for (backend, case) in cases {
        let rules = Acceptance::new(None, &backend.report.settings.matching);
        match groups.iter_mut().find(|(_, other)| is_alike(case, other, &rules)) {
            Some((names, _)) => names.push(backend.name.clone()),
            None => groups.push((vec![backend.name.clone()], case)),
        }
    }
    let is_fine = |case: &CaseResult| matches!(case.status, Status::AsAccepted | Status::New);
    if groups.len() < 2 && groups.iter().all(|(_, case)| is_fine(case)) {
        return None;
    }
    let outcomes: Vec<&Outcome> = groups.iter().filter_map(|(_, case)| case.outcome()).collect();
    let rules = Acceptance::new(None, &backends.first()?.report.settings.matching);
    let answered_differently = outcomes.windows(2).any(|pair| !rules.same(pair[0], pair[1]));
    let answers = groups.into_iter().map(|(backends, case)| SharedAnswer {
        backends,
        status: case.status,
        outcome: case.outcome().cloned(),
        findings: case.findings.iter().filter(|finding| !finding.kind.is_notice()).cloned().collect(),
    });
    Some(ExchangeAnswers { id: id.clone(), answered_differently, answers: answers.collect() })
}

/// Whether two backends answered an exchange alike: as accepted, or with the same calls.
fn is_alike(one: &CaseResult, other: &CaseResult, rules: &Acceptance) -> bool {
    let same = match (one.outcome(), other.outcome()) {
        (Some(one), Some(other)) => rules.same(one, other),
        (None, None) => one.error == other.error,
        _ => false,
    };
    one.status == other.status && (same || one.status == Status::AsAccepted)
}
