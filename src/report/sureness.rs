//! Whether the model became less sure of accepted calls than in an earlier replay. Pure.

use schemars::JsonSchema;
use serde::Serialize;

use crate::backend::LeastMargin;
use crate::replay::{CaseResult, KnownAnswers, Margins};

/// How much less sure the model is of one trace's accepted calls: the call whose least margin fell most.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MarginDrop {
    /// The trace's name.
    pub id: String,
    /// By how much the least margin fell, in log-probability; below 0 if it rose.
    pub drop: f64,
    /// By how much the mean log-probability of the call's free tokens fell.
    pub mean_drop: f64,
    /// The tool that is called.
    pub tool: String,
    /// The least margin in the earlier replay.
    pub before: f64,
    /// Where the margin is least now.
    pub now: LeastMargin,
}

/// The drop of each trace of which both replays know the margins, the largest first.
pub(super) fn drops(cases: &[CaseResult], baseline: &KnownAnswers) -> Vec<MarginDrop> {
    let mut drops: Vec<MarginDrop> = cases.iter().filter_map(|case| drop_of(case, baseline)).collect();
    drops.sort_by(|one, other| other.drop.total_cmp(&one.drop));
    drops
}

fn drop_of(case: &CaseResult, baseline: &KnownAnswers) -> Option<MarginDrop> {
    let now = case.margins.as_ref().and_then(Margins::known)?;
    let before = baseline.get(&case.id.to_string()).filter(|before| before.tokens == now.tokens)?;
    let calls = before.calls.iter().zip(&now.calls).filter_map(|(before, now)| {
        let (old, new) = (before.least.as_ref()?, now.least.as_ref()?);
        Some(MarginDrop {
            id: case.id.to_string(),
            drop: old.margin - new.margin,
            mean_drop: before.mean_logprob - now.mean_logprob,
            tool: now.tool.clone(),
            before: old.margin,
            now: new.clone(),
        })
    });
    calls.max_by(|one, other| one.drop.total_cmp(&other.drop))
}

/// A margin with its place in words: `file_path, token 7: ".txt" over ".md" by 0.30`.
pub(super) fn in_words(tool: &str, least: &LeastMargin) -> String {
    let LeastMargin { margin, argument, token, text, runner_up } = least;
    let argument = argument.as_ref().map(|argument| format!(" {argument}")).unwrap_or_default();
    format!("{tool}{argument}, token {token}: {text:?} over {runner_up:?} by {margin:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{CallMargin, JudgedAnswer};
    use crate::replay::Phase;
    use crate::replay::testing::{case_result, measurement};

    fn judged(margins: &[f64]) -> JudgedAnswer {
        let call = |margin: &f64| CallMargin {
            tool: "Read".into(),
            input: "{}".into(),
            free_tokens: 2,
            forced_tokens: 1,
            mean_logprob: -margin.recip(),
            least: Some(LeastMargin {
                margin: *margin,
                argument: Some("file_path".into()),
                token: 7,
                text: ".txt".into(),
                runner_up: ".md".into(),
            }),
        };
        JudgedAnswer { tokens: vec![1, 2, 3], calls: margins.iter().map(call).collect() }
    }

    #[test]
    fn traces_are_sorted_by_how_far_their_least_sure_call_fell() {
        let case = |seq: u32, margins: &[f64]| CaseResult {
            margins: Some(Margins::Known(judged(margins))),
            ..case_result(seq, vec![measurement(Phase::Cold, 1, Some(0))])
        };
        let cases = [case(1, &[1.0]), case(2, &[2.0, 0.5]), case(3, &[1.0])];
        let baseline = [("demo/0001", judged(&[1.25])), ("demo/0002", judged(&[2.0, 1.5]))];
        let baseline: KnownAnswers = baseline.into_iter().map(|(id, answer)| (id.to_owned(), answer)).collect();
        let found: Vec<_> = drops(&cases, &baseline).into_iter().map(|drop| (drop.id, drop.drop, drop.before)).collect();
        assert_eq!(found, [("demo/0002".to_owned(), 1.0, 1.5), ("demo/0001".to_owned(), 0.25, 1.25)]);
        let least = cases[1].margins.as_ref().unwrap().known().unwrap().calls[1].least.clone().unwrap();
        assert_eq!(in_words("Read", &least), r#"Read file_path, token 7: ".txt" over ".md" by 0.50"#);
    }
}
