//! A pending outcome argument by argument: those that differ first, then the others. Pure.

use serde_json::Value;

use super::PendingOutcome;
use crate::replay::{Finding, Kind, Step, align, member, steps_of, value_at};
use crate::snapshot::{Outcome, ToolUse};

/// One place of an outcome, as it is accepted and as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// Where it is in the outcome, such as `tool_use[0].input.file_path`.
    pub place: String,
    /// For people, such as `Read file_path`.
    pub label: String,
    /// What changed, by the name of its kind; `None` where nothing did.
    pub kind: Option<String>,
    /// What is accepted.
    pub accepted: Option<Value>,
    /// What came.
    pub found: Option<Value>,
    /// What else there is to say.
    pub note: Option<String>,
    /// What a match rule names: the tool, and a JSONPath into its input.
    pub rule_path: Option<(String, String)>,
}

/// The arguments of a pending outcome.
pub fn arguments(pending: &PendingOutcome) -> Vec<Argument> {
    let findings = pending.findings.iter().filter(|finding| finding.place.is_some());
    let mut arguments: Vec<Argument> = findings.map(|finding| Argument::of(finding, pending)).collect();
    let unchanged = unchanged(pending, &arguments);
    arguments.extend(unchanged);
    arguments
}

/// The arguments of the calls that came, without those that are listed.
fn unchanged(pending: &PendingOutcome, listed: &[Argument]) -> Vec<Argument> {
    let is_new = pending.nearest.is_none();
    let of_call = |(at, call): (usize, &ToolUse)| {
        let values = match &call.input {
            Value::Object(values) => values.iter().map(|(name, value)| (member(name), value.clone())).collect(),
            other => vec![(String::new(), other.clone())],
        };
        let name = call.name.clone();
        values.into_iter().map(move |(path, value)| Argument {
            place: format!("tool_use[{at}].input{path}"),
            label: format!("{name}{}", in_words(&path)),
            kind: None,
            accepted: (!is_new).then(|| value.clone()),
            found: Some(value),
            note: None,
            rule_path: None,
        })
    };
    // The place of what is gone is one of the accepted outcome, and another call may be there now.
    let listed: Vec<&Argument> = listed.iter().filter(|argument| argument.found.is_some()).collect();
    let is_listed = |argument: &Argument| {
        listed.iter().any(|other| is_within(&argument.place, &other.place) || is_within(&other.place, &argument.place))
    };
    let all = pending.seen.tool_use.iter().enumerate().flat_map(of_call);
    all.filter(|argument| !is_listed(argument)).collect()
}

impl Argument {
    /// What a finding is about. Where it is about calls, they are whole here: nobody can judge a call by its name.
    pub(super) fn of(finding: &Finding, pending: &PendingOutcome) -> Self {
        let place = finding.place.clone().unwrap_or_default();
        let argument = |place: String, label: String, accepted, found| Self {
            place,
            label,
            kind: Some(finding.kind.to_string()),
            accepted,
            found,
            note: finding.note.clone(),
            rule_path: None,
        };
        let old_calls = || pending.nearest.as_ref().map(|nearest| &nearest.tool_use[..]).unwrap_or_default();
        match finding.kind {
            Kind::TextInsteadOfCall => argument(place, "calls".into(), Some(whole(old_calls())), None),
            Kind::CallInsteadOfText => argument(place, "calls".into(), None, Some(whole(&pending.seen.tool_use))),
            Kind::CallsReordered => {
                argument(place, "calls".into(), Some(whole(old_calls())), Some(whole(&pending.seen.tool_use)))
            }
            Kind::OtherTool => {
                let (accepted, found) = (call_before(&place, pending), call_at(&place, &pending.seen));
                let label = found.map(|call| call.name.clone()).unwrap_or_default();
                // Without its partner, all that is accepted stands for it.
                let accepted = accepted.map_or_else(|| whole(old_calls()), |call| whole(std::slice::from_ref(call)));
                let place = place.trim_end_matches(".name").to_owned();
                argument(place, label, Some(accepted), found.map(|call| whole(std::slice::from_ref(call))))
            }
            Kind::CallMissing | Kind::CallAdded | Kind::CallsMerged => {
                let (accepted, found) = (finding.accepted.clone(), finding.found.clone());
                let name = |call: &Value| call["name"].as_str().map(str::to_owned);
                let label = found.as_ref().or(accepted.as_ref()).and_then(name).unwrap_or_default();
                argument(place, label, accepted, found)
            }
            _ => Self::of_input(finding, place, pending),
        }
    }

    /// An argument of a call that differs, or something else that is no call.
    fn of_input(finding: &Finding, place: String, pending: &PendingOutcome) -> Self {
        let call = call_at(&place, &pending.seen);
        let path = place.split_once(".input").map(|(_, path)| path.to_owned());
        let label = match (&call, &path) {
            (Some(call), Some(path)) => format!("{}{}", call.name, in_words(path)),
            (Some(call), None) => format!("{} name", call.name),
            (None, _) => place.clone(),
        };
        let rule_path = call.zip(path).map(|(call, path)| (call.name.clone(), format!("${}", any_item(&path))));
        Self {
            place,
            label,
            kind: Some(finding.kind.to_string()),
            accepted: finding.accepted.clone(),
            found: finding.found.clone(),
            note: finding.note.clone(),
            rule_path,
        }
    }

    /// The value at this place in another outcome.
    pub fn in_outcome(&self, outcome: &Outcome) -> Option<Value> {
        // Strings and JSON values only: serializing them cannot fail.
        value_at(&serde_json::to_value(outcome).unwrap_or_default(), &self.place).cloned()
    }
}

/// Calls with all of their arguments; one call without a list around it.
fn whole(calls: &[ToolUse]) -> Value {
    // Strings and JSON values only: serializing them cannot fail.
    match calls {
        [call] => serde_json::to_value(call),
        calls => serde_json::to_value(calls),
    }
    .unwrap_or_default()
}

/// Whether a place is another one, or a part of it.
fn is_within(place: &str, whole: &str) -> bool {
    place.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// The number of the call that a place is in.
fn number_at(place: &str) -> Option<usize> {
    place.strip_prefix("tool_use[")?.split(']').next()?.parse().ok()
}

/// The call that a place is in.
fn call_at<'a>(place: &str, outcome: &'a Outcome) -> Option<&'a ToolUse> {
    outcome.tool_use.get(number_at(place)?)
}

/// The accepted call in whose stead another one came at this place.
fn call_before<'a>(place: &str, pending: &'a PendingOutcome) -> Option<&'a ToolUse> {
    let (at, nearest) = (number_at(place)?, pending.nearest.as_ref()?);
    let pairs = align(&nearest.tool_use, &pending.seen.tool_use);
    let old = pairs.into_iter().find(|(_, new)| *new == Some(at))?.0?;
    nearest.tool_use.get(old)
}

/// `.todos[0].id` as ` todos[0].id`.
fn in_words(path: &str) -> String {
    match path.strip_prefix('.') {
        Some(path) => format!(" {path}"),
        None if path.is_empty() => String::new(),
        None => format!(" {path}"),
    }
}

/// A path with `*` in place of the numbers of items: rules are for lists of any length.
fn any_item(path: &str) -> String {
    let written = |step: &Step| match step {
        Step::Member(name) => member(name),
        Step::Item(_) => "[*]".into(),
    };
    // A place that a comparison wrote is always read.
    steps_of(path).map_or_else(|| path.to_owned(), |steps| steps.iter().map(written).collect())
}

#[cfg(test)]
mod tests;
