//! How often each tool was called by each model, and what came of it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use tabled::builder::Builder;
use tabled::settings::object::Columns;
use tabled::settings::{Alignment, Style};

use super::head::Head;
use crate::cli::text::{count, grouped};
use crate::replay::one_line;
use crate::trace::{ExchangeOutcome, Outline, TraceError, outlines_with_head};

/// The longest name in the table, in characters.
const NAME_LENGTH: usize = 60;

/// A tool's calls by one model.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ToolCalls {
    tool: String,
    model: String,
    #[serde(flatten)]
    counts: Counts,
}

/// What came of some calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    /// Calls in answers that came whole.
    calls: usize,
    /// Those whose result in a later request of the session is an error.
    errors: usize,
    /// Those without a result.
    unanswered: usize,
}

/// What an exchange says of calls.
pub(super) struct Exchange {
    /// The session, which is one within its folder.
    session: (PathBuf, String),
    model: String,
    /// The calls of the answer: ids and tools.
    calls: Vec<(String, String)>,
    /// The results in each message of the request, where there are some.
    results: Vec<Arc<Results>>,
}

/// The results of calls in a message: the calls' ids, and whether they are errors.
type Results = Vec<(String, bool)>;

/// What is counted.
pub(super) struct ToolStats {
    pub all: Vec<ToolCalls>,
    pub errors: Vec<TraceError>,
}

/// Counts the calls in these files, those of a session in order.
pub(super) fn in_files(files: &[PathBuf]) -> ToolStats {
    let (mut calls, mut errors) = (Calls::default(), Vec::new());
    for exchange in outlines_with_head(files, read_results, of_exchange) {
        match exchange {
            Ok(Some(exchange)) => calls.add(exchange),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    ToolStats { all: calls.counted(), errors }
}

/// The results in an item of a request's list.
fn read_results(list: &'static str, _: usize, json: &[u8]) -> serde_json::Result<Results> {
    if list != "messages" || memchr::memmem::find(json, b"tool_result").is_none() {
        return Ok(Results::new());
    }
    let message: Value = serde_json::from_slice(json)?;
    let blocks = message["content"].as_array().into_iter().flatten();
    let results = blocks.filter(|block| block["type"] == "tool_result");
    Ok(results.filter_map(|block| Some((block["tool_use_id"].as_str()?.to_owned(), block["is_error"] == true))).collect())
}

/// What an exchange says of calls; `None` if it is no Messages request.
fn of_exchange(file: &Path, outline: Result<Outline<Results, Head>, TraceError>) -> Result<Option<Exchange>, TraceError> {
    let outline = outline?;
    let trace = &outline.trace;
    if !trace.is_messages() {
        return Ok(None);
    }
    let answer = &trace.response.body;
    // Nobody runs a call of an answer that broke off.
    let blocks = answer["content"].as_array().filter(|_| trace.outcome == ExchangeOutcome::Complete).into_iter().flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let calls = blocks.filter(|block| block["type"] == "tool_use");
    let model = text(&answer["model"]).or_else(|| text(&trace.request.body["model"]));
    Ok(Some(Exchange {
        session: (file.parent().unwrap_or(Path::new("")).to_owned(), trace.session.clone()),
        model: model.unwrap_or_default(),
        calls: calls.filter_map(|block| Some((text(&block["id"])?, text(&block["name"])?))).collect(),
        results: outline.items("messages").iter().filter(|results| !results.is_empty()).cloned().collect(),
    }))
}

/// The calls of the exchanges so far.
#[derive(Default)]
struct Calls {
    /// By tool and model.
    counts: BTreeMap<(String, String), Counts>,
    /// Those without a result yet, by session and id. Some servers number the calls of each answer anew.
    open: HashMap<(PathBuf, String), HashMap<String, (String, String)>>,
}

impl Calls {
    fn add(&mut self, exchange: Exchange) {
        let Exchange { session, model, calls, results } = exchange;
        let open = self.open.entry(session).or_default();
        // The last result with an id is that of its latest call.
        for (id, is_error) in results.iter().rev().flat_map(|results| results.iter()) {
            if open.is_empty() {
                break;
            }
            if let Some(key) = open.remove(id) {
                self.counts.entry(key).or_default().errors += usize::from(*is_error);
            }
        }
        for (id, tool) in calls {
            let key = (tool, model.clone());
            self.counts.entry(key.clone()).or_default().calls += 1;
            if let Some(lost) = open.insert(id, key) {
                self.counts.entry(lost).or_default().unanswered += 1;
            }
        }
    }

    fn counted(mut self) -> Vec<ToolCalls> {
        for key in self.open.into_values().flat_map(HashMap::into_values) {
            self.counts.entry(key).or_default().unanswered += 1;
        }
        self.counts.into_iter().map(|((tool, model), counts)| ToolCalls { tool, model, counts }).collect()
    }
}

impl Counts {
    /// The share of errors among the calls with a result, in percent.
    fn error_rate(self) -> Option<f64> {
        let answered = self.calls - self.unanswered;
        (answered > 0).then(|| 100.0 * self.errors as f64 / answered as f64)
    }

    fn added(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            errors: self.errors + other.errors,
            unanswered: self.unanswered + other.unanswered,
        }
    }
}

/// A line for each tool and model, and their sum.
pub(super) fn table(all: &[ToolCalls]) -> String {
    let rate = |counts: Counts| counts.error_rate().map_or_else(|| "-".into(), |rate| format!("{rate:.1}"));
    let mut builder = Builder::default();
    builder.push_record(["tool", "model", "calls", "errors", "%", "no result"]);
    for ToolCalls { tool, model, counts } in all {
        builder.push_record([
            one_line(tool, NAME_LENGTH),
            one_line(model, NAME_LENGTH),
            grouped(counts.calls as u64),
            grouped(counts.errors as u64),
            rate(*counts),
            grouped(counts.unanswered as u64),
        ]);
    }
    let mut table = builder.build();
    table.with(Style::blank());
    for column in 2..=5 {
        table.modify(Columns::one(column), Alignment::right());
    }
    let sum = all.iter().fold(Counts::default(), |sum, calls| sum.added(calls.counts));
    let mut lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    let results = count(sum.calls - sum.unanswered, "result");
    lines.push(format!("{}: {results}, {} ({}%)", count(sum.calls, "call"), count(sum.errors, "error"), rate(sum)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(model: &str, results: &[(&str, bool)], calls: &[(&str, &str)]) -> Exchange {
        Exchange {
            session: ("traces".into(), "a".into()),
            model: model.into(),
            calls: calls.iter().map(|(id, tool)| ((*id).to_owned(), (*tool).to_owned())).collect(),
            results: results.iter().map(|(id, is_error)| Arc::new(vec![((*id).to_owned(), *is_error)])).collect(),
        }
    }

    fn counted(exchanges: Vec<Exchange>) -> Vec<(String, String, [usize; 3])> {
        let mut calls = Calls::default();
        exchanges.into_iter().for_each(|exchange| calls.add(exchange));
        let all = calls.counted().into_iter();
        all.map(|one| (one.tool, one.model, [one.counts.calls, one.counts.errors, one.counts.unanswered])).collect()
    }

    fn row(tool: &str, model: &str, counts: [usize; 3]) -> (String, String, [usize; 3]) {
        (tool.into(), model.into(), counts)
    }

    #[test]
    fn a_result_counts_once_for_the_model_that_called() {
        let counts = counted(vec![
            exchange("small", &[], &[("1", "Read"), ("2", "Read")]),
            exchange("large", &[("1", true), ("2", false)], &[("3", "Read")]),
            // The history is repeated; the last call has no result.
            exchange("small", &[("1", true), ("2", false), ("3", false)], &[("4", "Bash")]),
        ]);
        assert_eq!(counts, [row("Bash", "small", [1, 0, 1]), row("Read", "large", [1, 0, 0]), row("Read", "small", [2, 1, 0])]);
    }

    /// Some servers call the first call of every answer `call_0`.
    #[test]
    fn an_id_that_comes_again_is_another_call() {
        let counts = counted(vec![
            exchange("m", &[], &[("call_0", "Read")]),
            exchange("m", &[("call_0", true)], &[("call_0", "Read")]),
            exchange("m", &[("call_0", true), ("call_0", false)], &[("call_0", "Bash")]),
            exchange("m", &[], &[("call_0", "Bash")]),
        ]);
        assert_eq!(counts, [row("Bash", "m", [2, 0, 2]), row("Read", "m", [2, 1, 0])]);
    }

    #[test]
    fn a_result_of_another_session_or_of_no_call_says_nothing() {
        let other = Exchange { session: ("traces".into(), "b".into()), ..exchange("m", &[("1", true), ("9", true)], &[]) };
        assert_eq!(counted(vec![exchange("m", &[], &[("1", "Read")]), other]), [row("Read", "m", [1, 0, 1])]);
    }

    #[test]
    fn results_are_read_of_messages_alone() {
        let message = br#"{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "is_error": true},
            {"type": "text", "text": "tool_result"}, {"type": "tool_result", "tool_use_id": "2"}]}"#;
        assert_eq!(read_results("messages", 0, message).unwrap(), [("1".to_owned(), true), ("2".to_owned(), false)]);
        assert_eq!(read_results("system", 0, message).unwrap(), []);
        assert_eq!(read_results("messages", 0, br#"{"role": "user", "content": "tool_result"}"#).unwrap(), []);
    }
}
