//! One case at work: a recorder, the upstream that it records, and what came of the requests so far.

use std::path::{Path, PathBuf};
use std::thread;

use anyclaude::trace::{self, ExchangeOutcome, PARTIAL_SUFFIX};

use super::line::Line;
use crate::support::process::Ran;
use crate::support::recorder::{Recorder, files};
use crate::support::upstream::{Answer, Client, Message, REQUEST, Upstream, frames};

/// The header of a request that meets the case's fault. Others are answered well.
pub(super) const FAULT: &str = "x-fault: yes";

/// The model that the request after all others names, by which its trace is known.
const NEXT: &str = "the-next";

/// An upstream that does harm to requests with [`FAULT`].
pub(super) fn harming(fault: impl Fn(&Message, &mut Answer) -> std::io::Result<()> + Send + Sync + 'static) -> Upstream {
    Upstream::start(
        move |request, answer| {
            if request.header("x-fault").is_some() { fault(&request, answer) } else { stream(answer) }
        },
    )
}

/// A whole stream.
pub(super) fn stream(answer: &mut Answer) -> std::io::Result<()> {
    answer.stream()?;
    frames().iter().try_for_each(|frame| answer.chunk(frame))?;
    answer.end()
}

/// A request that meets the fault.
pub(super) fn ask(address: &str) -> Client {
    ask_with(address, "content-type: application/json")
}

/// The same with one more header, which tells the fault something.
pub(super) fn ask_with(address: &str, header: &str) -> Client {
    Client::send(address, "POST", "/v1/messages", &[FAULT, header], REQUEST)
}

/// What a client saw, in words.
pub(super) fn seen(answer: &Message) -> String {
    match (answer.status(), answer.whole) {
        (0, _) => "no answer".into(),
        (200, true) => "whole".into(),
        (200, false) => "broken off".into(),
        (status, true) => format!("{status}"),
        (status, false) => format!("{status}, broken off"),
    }
}

/// An outcome as tables call it.
pub(super) fn name(outcome: ExchangeOutcome) -> &'static str {
    match outcome {
        ExchangeOutcome::Complete => "complete",
        ExchangeOutcome::UpstreamError => "upstream error",
        ExchangeOutcome::ClientClosed => "client closed",
        ExchangeOutcome::Truncated => "truncated",
    }
}

/// A case at work.
pub(super) struct Run {
    pub recorder: Recorder,
    pub line: Line,
    /// Where the session's folder is seen from here.
    folder: PathBuf,
}

impl Run {
    pub(super) fn start(case: &str, upstream: &str) -> Self {
        Self::with(case, Recorder::start(upstream))
    }

    pub(super) fn with(case: &str, recorder: Recorder) -> Self {
        let folder = recorder.session("");
        Self { recorder, line: Line::new(case), folder }
    }

    /// The same where the recorder sees other folders than we do.
    pub(super) fn seeing(case: &str, recorder: Recorder) -> Self {
        let root = PathBuf::from(format!("/proc/{}/root", recorder.id()));
        let folder = root.join(recorder.session("").strip_prefix("/").unwrap());
        Self { folder, ..Self::with(case, recorder) }
    }

    pub(super) fn address(&self) -> &str {
        &self.recorder.address
    }

    /// The session's folder, as it is seen from here.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Asks so often, `at_once` at a time, and takes note of what the clients saw.
    pub(super) fn ask(&mut self, requests: usize, at_once: usize) -> Vec<Message> {
        let address = self.address().to_owned();
        let rounds = (0..requests).collect::<Vec<_>>();
        let answers: Vec<Message> =
            rounds.chunks(at_once).flat_map(|round| together(round.len(), |_| ask(&address).answer())).collect();
        answers.iter().for_each(|answer| self.saw(seen(answer)));
        answers
    }

    /// Takes note of what a client saw of a request.
    pub(super) fn saw(&mut self, what: impl Into<String>) {
        self.line.requests += 1;
        self.line.client.add(what);
    }

    /// Whether a request without a fault is answered. Once is enough: it counts as the case's.
    pub(super) fn next_works(&mut self) {
        let answer = Client::post(self.address(), &REQUEST.replace("claude-test", NEXT)).answer();
        self.line.next = answer.whole && answer.text() == frames().concat();
    }

    /// Asks once more, stops the recorder and reads the traces: that of the last request must be whole.
    pub(super) fn end(mut self) -> Line {
        self.next_works();
        self.stop();
        self.line
    }

    /// Stops the recorder and reads the traces.
    pub(super) fn stop(&mut self) -> Ran {
        if self.folder.starts_with(self.recorder.sandbox.path("")) {
            let ran = self.recorder.stop();
            files(&self.folder).iter().for_each(|path| self.count(path, path));
            return ran;
        }
        // Its folder goes with the process.
        let copies: Vec<_> = files(&self.folder).into_iter().map(|path| (copy(&path), path)).collect();
        copies.iter().for_each(|(copy, path)| self.count(copy.path(), path));
        self.recorder.stop()
    }

    /// Starts another recorder in the same folder, after the first has ended.
    pub(super) fn again(self, upstream: &str) -> Self {
        let Recorder { sandbox, .. } = self.recorder;
        Self { recorder: Recorder::start_in(sandbox, upstream, &[]), ..self }
    }

    fn count(&mut self, path: &Path, named: &Path) {
        if named.to_string_lossy().ends_with(PARTIAL_SUFFIX) {
            return self.line.trace.add("left partial");
        }
        match trace::read(path) {
            Ok(trace) if trace.request.body["model"] == NEXT => {
                let whole = trace.outcome == ExchangeOutcome::Complete;
                self.line.next &= whole;
            }
            Ok(trace) => self.line.trace.add(name(trace.outcome)),
            Err(error) => self.line.fault(error.to_string()),
        }
    }
}

/// A copy of a file, which lasts as long as the result.
fn copy(path: &Path) -> tempfile::NamedTempFile {
    let copy = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    std::fs::copy(path, copy.path()).unwrap();
    copy
}

/// What threads give that do the same at once.
pub(super) fn together<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|number| scope.spawn(move || work(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
