//! Claude Code's own transcripts, `~/.claude/projects/<folder>/<session>.jsonl`.
//!
//! Since 2.1.331 they hold, by default, each request as what changed since the one before, by digests of its messages. So a
//! request can be rebuilt and checked. The answer is put together from the conversation's own lines.

mod answers;
mod canonical;
mod line;
mod marks;
mod messages;
mod newest;
mod place;
mod requests;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use self::answers::{Answers, FoundAnswer};
use self::line::{Line, Request};
use self::messages::Messages;
pub use self::newest::{Newest, newest_session};
pub use self::place::projects_folder;
use self::requests::Requests;
use super::import_error::ImportError;
use super::importer::{Found, ImportedExchange, Importer, Passed, Source};
use super::lines::{for_each_line, lines_of};
use super::session_name;
use crate::trace::{AGENT_HEADER, RecordedRequest, SESSION_HEADER, Timing, Trace, VERSION};
use crate::wire::MESSAGES_PATH;

/// The importer.
pub(super) struct Transcript;

impl Importer for Transcript {
    fn name(&self) -> &'static str {
        "claude-code"
    }

    fn title(&self) -> &'static str {
        "Claude Code's session transcripts"
    }

    fn lacks(&self) -> &'static str {
        "events and times; metadata, stream and the billing line of the request; most headers"
    }

    fn recognizes(&self, start: &[u8]) -> bool {
        lines_of(start).any(marks::are_in)
    }

    fn companions(&self, path: &Path) -> Result<Vec<PathBuf>, ImportError> {
        place::subagents_of(path)
    }

    fn import(&self, source: Source<'_>, found: &mut dyn FnMut(Found) -> Result<(), ImportError>) -> Result<(), ImportError> {
        let Source { path, reader } = source;
        let mut reading = Reading::default();
        for_each_line(reader, |number, line| {
            let added = reading.add(number, line);
            added.map_or_else(|reason| found(passed(format!("line {number}"), reason)), Ok)
        })?;
        let Reading { requests, mut answers, .. } = reading;
        let mut is_empty = true;
        for (number, request, body) in requests.rebuilt() {
            is_empty = false;
            let place = format!("line {number}");
            found(match body {
                Ok(body) => Found::Exchange(Box::new(exchange(place, request, body, answers.take(&request.id)))),
                Err(unknown) => passed(place, unknown.to_string()),
            })?;
        }
        if is_empty {
            let reason = "it holds no requests; Claude Code 2.1.331 and later write them";
            return Err(ImportError::Malformed { path: path.to_owned(), reason: reason.to_owned() });
        }
        Ok(())
    }
}

fn passed(place: String, reason: String) -> Found {
    Found::Passed(Passed { place, reason })
}

/// A transcript that is being read. The blocks of an answer may stand anywhere behind its request, so all of it is in memory.
#[derive(Default)]
struct Reading {
    messages: Messages,
    requests: Requests,
    answers: Answers,
}

impl Reading {
    /// Adds the line with this number.
    ///
    /// # Errors
    /// It cannot be used, for this reason.
    fn add(&mut self, number: usize, line: &[u8]) -> Result<(), String> {
        let is_right = match line::read(line).map_err(|error| format!("no line of a transcript: {error}"))? {
            Line::Shape(shape) => self.requests.add_shape(shape),
            Line::Blob(blob) => self.messages.add_blob(blob),
            Line::Request(request) => {
                self.requests.add(number, *request, &mut self.messages);
                true
            }
            Line::Assistant(line) => {
                if let (Some(id), Some(content)) = (line.message.get("id"), line.message.get("content")) {
                    self.messages.add_assistant(id, content);
                }
                self.answers.add(*line);
                true
            }
            Line::User(line) => {
                self.messages.add_user(line.message);
                true
            }
            Line::Other => true,
        };
        if is_right { Ok(()) } else { Err("what it holds is not what its digest says".to_owned()) }
    }
}

/// The trace of a rebuilt request.
fn exchange(place: String, request: &Request, body: Value, answer: FoundAnswer) -> ImportedExchange {
    let mut missing: Vec<String> = answer.missing.into_iter().map(str::to_owned).collect();
    missing.extend(request.withheld.iter().map(|field| format!("`{field}` of the request, which Claude Code keeps back")));
    let trace = Trace {
        version: VERSION,
        id: request.id.clone(),
        session: session_of(request),
        seq: 0,
        recorded_at: request.timestamp.clone(),
        client: format!("claude-cli/{}", request.version),
        mode: super::imported_mode(&Transcript),
        upstream: None,
        request: RecordedRequest { method: "POST".into(), path: MESSAGES_PATH.into(), headers: headers_of(request), body },
        response: answer.response,
        timing: Timing::default(),
        outcome: answer.outcome,
    };
    ImportedExchange { trace, place, credentials: Vec::new(), missing }
}

/// A sub-agent's requests are a session of their own, as its conversation is.
fn session_of(request: &Request) -> String {
    let agent = request.agent_id.as_ref().map(|agent| format!("-agent-{agent}"));
    session_name(&format!("{}{}", request.session_id, agent.unwrap_or_default()))
}

/// The headers that a request is known to have had.
fn headers_of(request: &Request) -> Map<String, Value> {
    let betas = request.params.get("betas").and_then(Value::as_array).map(|betas| {
        let betas: Vec<&str> = betas.iter().filter_map(Value::as_str).collect();
        betas.join(",")
    });
    let session = Some(request.session_id.clone());
    let headers = [(SESSION_HEADER, session), (AGENT_HEADER, request.agent_id.clone()), ("anthropic-beta", betas)];
    headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

#[cfg(test)]
mod tests;
