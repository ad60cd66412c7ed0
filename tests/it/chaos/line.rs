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

/// Why a case is not run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LeftOut {
    /// The system has nothing of the kind.
    BySystem,
    /// The machine lacks this, and could have it.
    Lacks(&'static str),
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
    /// How often a program was killed.
    pub kills: usize,
    /// Exchanges without the trace that they must have.
    pub lost: usize,
    /// Why the case was not run, if it was not.
    left_out: Option<LeftOut>,
    wrong: Vec<String>,
}

impl Line {
    pub(super) fn new(case: &str) -> Self {
        let (client, trace) = Default::default();
        let (requests, kills, lost) = Default::default();
        Self { case: case.into(), requests, client, trace, next: false, kills, lost, left_out: None, wrong: Vec::new() }
    }

    /// A case that cannot be run here.
    pub(super) fn left_out(case: &str, why: LeftOut) -> Self {
        Self { left_out: Some(why), next: true, ..Self::new(case) }
    }

    /// The same where every case must be run that the system has: to leave one out is wrong there.
    pub(super) fn demanded(mut self) -> Self {
        if let Some(LeftOut::Lacks(what)) = self.left_out {
            self.fault(format!("left out: it needs {what}"));
        }
        self
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
            if who == "traces" {
                self.lost += expected.count("complete").saturating_sub(seen.count("complete"));
            }
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
        let left_out = match self.left_out {
            None => None,
            Some(LeftOut::BySystem) => Some("left out: this system has nothing of the kind".to_owned()),
            Some(LeftOut::Lacks(what)) => Some(format!("left out: it needs {what}")),
        };
        if let Some(left_out) = left_out {
            return [self.case.clone(), "-".into(), left_out, String::new(), String::new()];
        }
        let verdict = match (self.next, self.wrong.is_empty()) {
            (true, true) => "works",
            (true, false) => "works; WRONG",
            (false, _) => "FAILS",
        };
        [self.case.clone(), self.requests.to_string(), self.client.shown(), self.trace.shown(), verdict.into()]
    }
}

/// The lines as a table for people, with their totals as its last line.
pub(super) fn table(lines: &[Line]) -> String {
    let mut builder = Builder::default();
    builder.push_record(["case", "requests", "the clients saw", "the traces say", "next request"]);
    lines.iter().for_each(|line| builder.push_record(line.cells()));
    format!("{}\n{}", builder.build().with(Style::blank()), totals(lines))
}

/// What the README's table has of a run.
fn totals(lines: &[Line]) -> String {
    let sum = |count: fn(&Line) -> usize| lines.iter().map(count).sum::<usize>();
    let left_out = sum(|line| usize::from(line.left_out.is_some()));
    // A case without kills is one fault.
    let faults = sum(|line| if line.left_out.is_some() { 0 } else { line.kills.max(1) });
    let (requests, lost, wrong) = (sum(|line| line.requests), sum(|line| line.lost), sum(|line| line.wrong().len()));
    format!("total: {} lines, {requests} requests, {faults} faults, {left_out} left out, {lost} lost, {wrong} wrong", lines.len())
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

#[test]
fn totals_are_the_last_line() {
    let case = |complete| {
        let mut line = Line { next: true, requests: 3, ..Line::new("case") };
        (0..complete).for_each(|_| line.trace.add("complete"));
        line.expect(&[], &[("complete", 3)])
    };
    let lines = [
        case(3),
        case(1),
        Line { next: true, kills: 8, requests: 4, ..Line::new("kills") },
        Line::left_out("mounts", LeftOut::Lacks("leave to mount")),
    ];
    let table = table(&lines);
    insta::assert_snapshot!(table.lines().last().unwrap(), @"total: 4 lines, 10 requests, 10 faults, 1 left out, 2 lost, 1 wrong");
    let [.., mounts] = lines;
    assert_eq!(mounts.demanded().wrong(), ["mounts: left out: it needs leave to mount"]);
    assert_eq!(Line::left_out("mounts", LeftOut::BySystem).demanded().wrong(), Vec::<String>::new());
}
