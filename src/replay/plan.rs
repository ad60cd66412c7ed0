//! What a replay will do: with which traces and requests, in which steps. Pure.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::prompt::{Shape, ToolChoiceMode, as_recorded, last_user_turn, one_line, salted, shape};
use super::{Phase, ReplaySettings};
use crate::snapshot::{ExchangeId, Outcome, SnapshotError};
use crate::trace::redact::Redactor;
use crate::trace::{ExchangeOutcome, Trace, parsed_messages_request, recorded_message};
use crate::wire::MessagesRequest;

/// Length limit of a case's description, in characters.
const DESCRIPTION_LENGTH: usize = 80;

/// One trace to replay.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayCase {
    /// The trace's name.
    pub id: ExchangeId,
    /// The trace's path, as it was found.
    pub trace: PathBuf,
    /// The request as it was recorded, but for the model that the plan asks for.
    pub request: MessagesRequest,
    /// What becomes of it.
    shape: Shape,
    /// The same where no tool is forced.
    free_shape: Shape,
    /// The last user turn, shortened to one line.
    pub description: String,
    /// What the recorded upstream answered, if that is known.
    pub recorded: Option<Outcome>,
}

/// Why a trace is not replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Not a `POST /v1/messages`.
    OtherEndpoint,
    /// The recorded upstream's status is not 200.
    NotAnswered,
    /// The body is no Messages request that a server takes; with the field and the reason. Unlike the others, nobody expects this.
    Unreadable(String),
    /// Another trace has the same name, and was found first.
    Twice(PathBuf),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::OtherEndpoint => f.write_str("not a request for a message"),
            Self::NotAnswered => f.write_str("the recorded upstream did not answer it"),
            Self::Unreadable(reason) => f.write_str(reason),
            Self::Twice(first) => write!(f, "{} has the same name and is replayed in its place", first.display()),
        }
    }
}

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A trace's folder or file cannot name a snapshot.
    #[error(transparent)]
    Name(#[from] SnapshotError),
}

/// Everything that a replay will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The traces to replay, in the order in which they were found.
    pub cases: Vec<ReplayCase>,
    /// The steps to take for each case.
    pub steps: Vec<ReplayStep>,
    /// The traces that cannot be replayed, and why.
    pub skipped: Vec<(PathBuf, Skip)>,
    /// The `anthropic-beta` names with which the cases were recorded, each once.
    pub betas: Vec<String>,
}

/// One thing to do for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayStep {
    /// Make the cache hold nothing of the prompt.
    Clear,
    /// Make the cache hold the shared prefix and nothing else of the prompt.
    Prime,
    /// Make the cache hold the whole prompt.
    Fill,
    /// Send the request and time it.
    Measure {
        /// The state of the cache that the request must find.
        phase: Phase,
        /// Which of the phase's measurements this is, from 1 on.
        repeat: u32,
    },
}

impl Plan {
    /// The traces whose requests cannot be read, with the field and the reason.
    pub fn unreadable(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.skipped.iter().filter_map(|(path, skip)| match skip {
            Skip::Unreadable(reason) => Some((path.as_path(), reason.as_str())),
            Skip::OtherEndpoint | Skip::NotAnswered | Skip::Twice(_) => None,
        })
    }

    /// Plans a replay of these traces, which are given with their paths.
    pub fn new(traces: Vec<(PathBuf, Trace)>, settings: &ReplaySettings) -> Result<Self, PlanError> {
        let (mut cases, mut skipped, mut betas) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen: HashMap<ExchangeId, PathBuf> = HashMap::new();
        for (path, trace) in traces {
            let id = ExchangeId::of_trace(&path, &trace.session)?;
            if !settings.selects(&id) {
                continue;
            }
            if let Some(first) = seen.get(&id) {
                skipped.push((path, Skip::Twice(first.clone())));
                continue;
            }
            match case(id, &path, &trace, settings) {
                Ok(case) => {
                    seen.insert(case.id.clone(), path);
                    betas.extend(betas_of(&trace).filter(|beta| !betas.contains(beta)).collect::<Vec<_>>());
                    cases.push(case);
                }
                Err(skip) => skipped.push((path, skip)),
            }
        }
        Ok(Self { cases, steps: steps(&settings.phases, settings.repeat), skipped, betas })
    }

    /// The same with requests that ask for this model, if it is given, in place of the recorded one.
    pub fn asking_for(mut self, model: Option<&str>) -> Self {
        let Some(model) = model else { return self };
        for case in &mut self.cases {
            model.clone_into(&mut case.request.model);
        }
        self
    }

    /// The number of timed requests.
    pub fn measurements(&self) -> usize {
        let timed = self.steps.iter().filter(|step| matches!(step, ReplayStep::Measure { .. })).count();
        timed * self.cases.len()
    }
}

/// The request that a trace asks again, as it was recorded, and the recorded outcome as far as it is known.
pub(super) fn recorded_in(trace: &Trace) -> Result<(MessagesRequest, Option<Outcome>), Skip> {
    let request = parsed_messages_request(trace).ok_or(Skip::OtherEndpoint)?;
    if trace.response.status != 200 {
        return Err(Skip::NotAnswered);
    }
    let request = request.map_err(|fault| Skip::Unreadable(format!("request.body{fault}")))?;
    Ok((request, recorded_message(trace).as_ref().map(Outcome::from)))
}

fn case(id: ExchangeId, path: &Path, trace: &Trace, settings: &ReplaySettings) -> Result<ReplayCase, Skip> {
    let (request, recorded) = recorded_in(trace)?;
    let turn = last_user_turn(&request);
    let shape = |mode| Shape::of(&request, recorded.as_ref(), mode, settings.max_tokens);
    Ok(ReplayCase {
        id,
        trace: path.into(),
        // Secrets are found in the whole text, not in its beginning.
        description: one_line(&Redactor::installed().text(&turn), DESCRIPTION_LENGTH),
        shape: shape(settings.tool_choice),
        free_shape: shape(ToolChoiceMode::Auto),
        request,
        // An answer that broke off is no reference.
        recorded: recorded.filter(|_| trace.outcome == ExchangeOutcome::Complete),
    })
}

/// The `anthropic-beta` names with which a trace was recorded.
pub(crate) fn betas_of(trace: &Trace) -> impl Iterator<Item = String> {
    let header = trace.request.headers.get("anthropic-beta").and_then(Value::as_str).unwrap_or_default();
    header.split(',').map(|beta| beta.trim().to_owned()).filter(|beta| !beta.is_empty())
}

/// The steps that measure each phase `repeat` times with the least prefill.
///
/// A full prefill leaves the whole prompt cached, so cached is measured right after the first full request: cold, else warm. Warm
/// comes last, because forgetting all but the shared prefix of the full prompt creates it. A repeat of all three phases so
/// computes the prompt once and its end twice, which is the minimum. Only if cached is the only phase is a request sent just to
/// fill the cache, once.
pub fn steps(phases: &[Phase], repeat: u32) -> Vec<ReplayStep> {
    let wanted = |phase| phases.contains(&phase);
    let (cold, warm, cached) = (wanted(Phase::Cold), wanted(Phase::Warm), wanted(Phase::Cached));
    let mut steps = Vec::new();
    if cached && !cold && !warm {
        steps.push(ReplayStep::Fill);
    }
    for repeat in 1..=repeat {
        let measure = |phase| ReplayStep::Measure { phase, repeat };
        if cold {
            steps.extend([ReplayStep::Clear, measure(Phase::Cold)]);
            steps.extend(cached.then_some(measure(Phase::Cached)));
        }
        if warm {
            steps.extend([ReplayStep::Prime, measure(Phase::Warm)]);
        }
        if cached && !cold {
            steps.push(measure(Phase::Cached));
        }
    }
    steps
}

impl ReplayCase {
    /// The request as it is sent, with a salt if one is given.
    pub(super) fn request(&self, salt: Option<&str>) -> MessagesRequest {
        let request = shape(self.request.clone(), self.shape.clone());
        match salt {
            Some(salt) => salted(request, salt),
            None => request,
        }
    }

    /// The request as it is sent where no tool is forced.
    pub(super) fn free_request(&self) -> MessagesRequest {
        shape(self.request.clone(), self.free_shape.clone())
    }

    /// The request as it is sent to recordings.
    pub(super) fn request_as_recorded(&self) -> MessagesRequest {
        as_recorded(self.request.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Phase::{Cached, Cold, Warm};
    use serde_json::json;

    fn settings(filter: &[&str]) -> ReplaySettings {
        let filter = filter.iter().map(|part| part.to_string()).collect();
        ReplaySettings { filter, ..ReplaySettings::default() }
    }

    fn trace(session: &str, seq: u32, overrides: &[(&str, Value)]) -> (PathBuf, Trace) {
        let mut trace = json!({
            "version": 1, "id": "x", "session": session, "seq": seq, "recorded_at": "2026-01-01T00:00:00Z", "client": "c",
            "mode": "anthropic", "timing": {"ttft_us": null, "e2e_us": null, "itl_us": null}, "outcome": "complete",
            "request": {"method": "POST", "path": "/v1/messages?beta=true", "headers": {}, "body": {
                "model": "m", "max_tokens": 64000, "messages": [{"role": "user", "content": "Read\nit"}], "tools": [{"name": "Read"}],
            }},
            "response": {"status": 200, "headers": {}, "events": [], "body": {
                "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use",
                "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {}}],
            }},
        });
        for (pointer, value) in overrides {
            *trace.pointer_mut(pointer).unwrap() = value.clone();
        }
        (PathBuf::from(format!("traces/{session}/{seq:03}.json")), serde_json::from_value(trace).unwrap())
    }

    fn ids(plan: &Plan) -> Vec<String> {
        plan.cases.iter().map(|case| case.id.to_string()).collect()
    }

    #[test]
    fn a_case_is_shaped_and_described() {
        let plan = Plan::new(vec![trace("demo", 1, &[])], &settings(&[])).unwrap();
        let case = &plan.cases[0];
        assert_eq!((case.id.to_string().as_str(), case.description.as_str()), ("demo/001", "Read it"));
        assert_eq!((case.request(None).max_tokens, case.request_as_recorded().max_tokens), (256, 64_000));
        assert_eq!(case.recorded.as_ref().unwrap().tool_names(), ["Read"]);
        assert_eq!(plan.measurements(), 3);
    }

    #[test]
    fn only_answered_messages_requests_are_replayed() {
        let table = [
            ("/request/method", json!("HEAD"), Skip::OtherEndpoint),
            ("/request/path", json!("/v1/messages/count_tokens"), Skip::OtherEndpoint),
            ("/response/status", json!(529), Skip::NotAnswered),
            (
                "/request/body/messages",
                json!(7),
                Skip::Unreadable("request.body.messages: invalid type: integer `7`, expected a sequence".into()),
            ),
        ];
        for (pointer, value, skip) in table {
            let odd = trace("demo", 2, &[(pointer, value)]);
            let path = odd.0.clone();
            let plan = Plan::new(vec![trace("demo", 1, &[]), odd], &settings(&[])).unwrap();
            assert_eq!((ids(&plan), plan.skipped), (vec!["demo/001".to_string()], vec![(path, skip)]));
        }
    }

    #[test]
    fn filters_look_for_parts_of_session_and_sequence() {
        let table: [(&[&str], &[&str]); 5] = [
            (&[], &["bash/001", "read/001", "read/002"]),
            (&["read"], &["read/001", "read/002"]),
            (&["/001"], &["bash/001", "read/001"]),
            (&["read/002", "bash"], &["bash/001", "read/002"]),
            (&["nothing"], &[]),
        ];
        for (filter, expected) in table {
            let traces = vec![trace("bash", 1, &[]), trace("read", 1, &[]), trace("read", 2, &[])];
            assert_eq!(ids(&Plan::new(traces, &settings(filter)).unwrap()), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_copied_session_has_its_folders_name_and_the_second_of_one_name_is_skipped() {
        let copy = |path: &str| (PathBuf::from(path), trace("demo", 1, &[]).1);
        let traces = vec![copy("traces/demo/001.json"), copy("traces/copy/001.json"), copy("more/demo/001.json")];
        let plan = Plan::new(traces, &settings(&[])).unwrap();
        assert_eq!(ids(&plan), ["demo/001", "copy/001"]);
        assert_eq!(plan.skipped, [("more/demo/001.json".into(), Skip::Twice("traces/demo/001.json".into()))]);
    }

    #[test]
    fn a_description_has_no_secret() {
        let key = format!("sk-ant-{}", "api03-abcdefgh");
        let content = json!([{"type": "text", "text": format!("{} {key}", "word ".repeat(13))}]);
        let plan = Plan::new(vec![trace("demo", 1, &[("/request/body/messages/0/content", content)])], &settings(&[])).unwrap();
        assert!(!plan.cases[0].description.contains("sk-ant"), "{}", plan.cases[0].description);
    }

    #[test]
    fn an_answer_that_broke_off_is_no_reference() {
        let plan = Plan::new(vec![trace("demo", 1, &[("/outcome", json!("truncated"))])], &settings(&[])).unwrap();
        assert_eq!(plan.cases[0].recorded, None);
    }

    #[test]
    fn the_steps_need_the_least_prefill() {
        use ReplayStep::{Clear, Fill, Prime};
        let m = |phase, repeat| ReplayStep::Measure { phase, repeat };
        let table: [(&[Phase], u32, Vec<ReplayStep>); 8] = [
            (&[Cold], 1, vec![Clear, m(Cold, 1)]),
            (&[Warm], 1, vec![Prime, m(Warm, 1)]),
            (&[Cached], 2, vec![Fill, m(Cached, 1), m(Cached, 2)]),
            (&[Cold, Cached], 1, vec![Clear, m(Cold, 1), m(Cached, 1)]),
            (&[Warm, Cached], 1, vec![Prime, m(Warm, 1), m(Cached, 1)]),
            (&[Cold, Warm], 1, vec![Clear, m(Cold, 1), Prime, m(Warm, 1)]),
            (&[Cold, Warm, Cached], 1, vec![Clear, m(Cold, 1), m(Cached, 1), Prime, m(Warm, 1)]),
            (&[Cold], 2, vec![Clear, m(Cold, 1), Clear, m(Cold, 2)]),
        ];
        for (phases, repeat, expected) in table {
            assert_eq!(steps(phases, repeat), expected, "{phases:?} x {repeat}");
        }
    }
}
