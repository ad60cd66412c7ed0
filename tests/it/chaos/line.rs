//! A line of the table: what came of one case, and what is wrong with it.

use std::collections::BTreeMap;

use tabled::builder::Builder;
use tabled::settings::Style;

/// How often each thing was seen, in words.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally(BTreeMap<String, usize>);

impl Tally {
    pub(super) fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(super) fn count(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Everything seen but these.
    fn others(&self, allowed: &[&str]) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|what| !allowed.contains(what)).collect()
    }

    fn shown(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|(what, count)| format!("{count} {what}")).collect();
        if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
    }
}

/// What came of one case.
#[derive(Debug)]
pub(super) struct Line {
    pub case: String,
    pub requests: usize,
    /// What the clients saw.
    pub client: Tally,
    /// The outcomes that the traces name.
    pub trace: Tally,
    /// Whether the request after all these worked.
    pub next: bool,
    /// Why the case was not run, if it was not.
    left_out: Option<&'static str>,
    wrong: Vec<String>,
}

impl Line {
    pub(super) fn new(case: &str) -> Self {
        let (client, trace) = Default::default();
        Self { case: case.into(), requests: 0, client, trace, next: false, left_out: None, wrong: Vec::new() }
    }

    /// A case that cannot be run here.
    pub(super) fn left_out(case: &str, reason: &'static str) -> Self {
        Self { left_out: Some(reason), next: true, ..Self::new(case) }
    }

    /// Notes something that is not right.
    pub(super) fn fault(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// The clients must have seen nothing but this, and there must be as many traces of each outcome.
    pub(super) fn expect(mut self, client: &[(&str, usize)], trace: &[(&str, usize)]) -> Self {
        let tally = |expected: &[(&str, usize)]| {
            Tally(expected.iter().filter(|(_, count)| *count > 0).map(|(what, count)| ((*what).to_owned(), *count)).collect())
        };
        for (who, seen, expected) in
            [("clients", self.client.clone(), tally(client)), ("traces", self.trace.clone(), tally(trace))]
        {
            if seen != expected {
                self.fault(format!("{who}: {}, not {}", seen.shown(), expected.shown()));
            }
        }
        self
    }

    /// The clients and the traces may have had nothing but this, in any number.
    pub(super) fn allow(mut self, client: &[&str], trace: &[&str]) -> Self {
        for (who, tally, allowed) in [("clients", self.client.clone(), client), ("traces", self.trace.clone(), trace)] {
            for other in tally.others(allowed) {
                self.fault(format!("{who}: {other}, which must not be"));
            }
        }
        self
    }

    /// What is wrong, with the case's name.
    pub(super) fn wrong(&self) -> Vec<String> {
        let next = (!self.next).then(|| "the next request did not work".to_owned());
        self.wrong.iter().cloned().chain(next).map(|what| format!("{}: {what}", self.case)).collect()
    }

    fn cells(&self) -> [String; 5] {
        if let Some(reason) = self.left_out {
            return [self.case.clone(), "-".into(), format!("left out: {reason}"), String::new(), String::new()];
        }
        let verdict = match (self.next, self.wrong.is_empty()) {
            (true, true) => "works",
            (true, false) => "works; WRONG",
            (false, _) => "FAILS",
        };
        [self.case.clone(), self.requests.to_string(), self.client.shown(), self.trace.shown(), verdict.into()]
    }
}

/// The lines as a table for people.
pub(super) fn table(lines: &[Line]) -> String {
    let mut builder = Builder::default();
    builder.push_record(["case", "requests", "the clients saw", "the traces say", "next request"]);
    lines.iter().for_each(|line| builder.push_record(line.cells()));
    let requests: usize = lines.iter().map(|line| line.requests).sum();
    let wrong: usize = lines.iter().map(|line| line.wrong().len()).sum();
    format!("{}\n{requests} requests, {wrong} wrong", builder.build().with(Style::blank()))
}

#[test]
fn a_line_with_other_values_than_the_right_ones_is_wrong() {
    let mut line = Line { next: true, ..Line::new("case") };
    line.client.add("whole");
    line.trace.add("complete");
    let line = line.expect(&[("whole", 1), ("broken off", 0)], &[("complete", 1)]).allow(&["whole"], &["complete"]);
    assert_eq!(line.wrong(), Vec::<String>::new());
    let line = line.expect(&[("whole", 2)], &[]).allow(&["whole"], &["truncated"]);
    insta::assert_snapshot!(line.wrong().join("\n"), @"
    case: clients: 1 whole, not 2 whole
    case: traces: 1 complete, not nothing
    case: traces: complete, which must not be
    ");
    assert_eq!(Line { next: false, ..Line::new("other") }.wrong(), ["other: the next request did not work"]);
}
