//! Reasoning and calls that a model wrote into its text.
//!
//! A server without a parser for its model passes on what the model wrote: `<think>…</think>` and `<tool_call>…</tool_call>` as
//! text. A client would show the one and never run the other.

mod calls;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use self::calls::{CALL_END, CallScan, json_call, tagged_call};
use crate::wire::Tool;

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
/// What opens and closes a block of code in Markdown.
const FENCE: &str = "```";

/// A part of an answer's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Written {
    Text(String),
    Thinking(String),
    Call { name: String, arguments: Map<String, Value> },
}

/// Finds markup in text that arrives in pieces.
///
/// Thinking is read at the start of the answer only. Where the prompt has opened it, only its end is in the answer; what came
/// before that tag was passed on as text and stays so, unless the caller has said that answers begin in thoughts. A call is read
/// where a line begins with it, outside of code blocks, and if it calls a tool that was offered; whatever else looks like one is
/// the model speaking of calls, and stays text.
#[derive(Debug)]
pub(crate) struct WrittenMarkup {
    /// The offered tools.
    tools: Vec<Tool>,
    reading: Reading,
    begins: Begins,
    /// Whether the end of thoughts that the answer did not begin may still come.
    may_end_thoughts: bool,
    /// Whether it has come.
    ended_unbegun_thoughts: bool,
    /// What was taken for thoughts because the answer begins in them, until their end has come.
    presumed: Option<String>,
    /// The last character of the text that was passed on.
    last: Option<char>,
    /// How far a call was looked through.
    scan: CallScan,
    /// Text whose meaning depends on what follows.
    held: String,
    /// The text of the line so far, as far as it is needed to know what it begins with.
    line: String,
    in_fence: bool,
}

/// What an answer begins with, unless a tag says something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Begins {
    #[default]
    Text,
    /// The prompt has opened them.
    Thoughts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Only white space so far.
    Start,
    Thinking,
    /// Only white space since the end of thinking, which is not part of the answer.
    AfterThinking,
    Text,
    /// After `<tool_call>`.
    Call,
}

impl WrittenMarkup {
    /// A reader for an answer to a request with these tools.
    pub(crate) fn new(tools: Vec<Tool>) -> Self {
        Self {
            tools,
            reading: Reading::Start,
            begins: Begins::Text,
            may_end_thoughts: true,
            ended_unbegun_thoughts: false,
            presumed: None,
            last: None,
            scan: CallScan::default(),
            held: String::new(),
            line: String::new(),
            in_fence: false,
        }
    }

    /// The reader for an answer that begins like this.
    pub(crate) fn beginning(self, begins: Begins) -> Self {
        Self { begins, ..self }
    }

    /// Whether the answer has ended thoughts that it had not begun.
    pub(crate) fn ended_unbegun_thoughts(&self) -> bool {
        self.ended_unbegun_thoughts
    }

    /// Takes note that the server tells thoughts from text itself.
    pub(crate) fn thoughts_are_apart(&mut self) {
        self.begins = Begins::Text;
        self.may_end_thoughts = false;
    }

    /// Reads a piece; returns the parts that are decided now.
    pub(crate) fn push(&mut self, piece: &str) -> Vec<Written> {
        self.held.push_str(piece);
        let mut written = Vec::new();
        while self.step(&mut written) {}
        written
    }

    /// The rest, at the end of the answer. A call without its end tag counts if it is whole.
    pub(crate) fn finish(&mut self) -> Vec<Written> {
        let mut written = Vec::new();
        // The string in which an end tag stood was never closed, so the tag did end the call.
        while self.reading == Reading::Call
            && let Some(end) = self.held.find(CALL_END)
        {
            let call = self.call(&self.held[..end]);
            self.end_call(end, call, &mut written);
            while self.step(&mut written) {}
        }
        let held = std::mem::take(&mut self.held);
        let rest = match self.reading {
            Reading::Thinking => {
                if let Some(presumed) = &mut self.presumed {
                    presumed.push_str(&held);
                }
                Written::Thinking(held)
            }
            Reading::Call => self.call(&held).unwrap_or(Written::Text(format!("{CALL}{held}"))),
            Reading::Start | Reading::AfterThinking | Reading::Text => Written::Text(held),
        };
        self.reading = Reading::Text;
        written.push(rest);
        written
    }

    /// The rest, where something else than text follows.
    pub(crate) fn interrupt(&mut self) -> Vec<Written> {
        let written = self.finish();
        self.presumed = None;
        written
    }

    /// Of a finished answer that never ended the thoughts it was taken to begin in: the answer, which has been shown as thoughts.
    pub(crate) fn answer_after_all(&mut self) -> Vec<Written> {
        let Some(answer) = self.presumed.take() else { return Vec::new() };
        self.reading = Reading::Text;
        let mut written = self.push(&answer);
        written.extend(self.finish());
        written
    }

    /// Reads on from `held` by one part; `false` if that needs more text.
    fn step(&mut self, written: &mut Vec<Written>) -> bool {
        match self.reading {
            Reading::Start => {
                let text = self.held.trim_start();
                if let Some(thinking) = text.strip_prefix(THINK) {
                    self.held = thinking.to_owned();
                    self.may_end_thoughts = false;
                    self.reading = Reading::Thinking;
                } else if THINK.starts_with(text) {
                    return false;
                } else if self.begins == Begins::Thoughts {
                    self.may_end_thoughts = false;
                    self.presumed = Some(String::new());
                    self.reading = Reading::Thinking;
                } else {
                    self.reading = Reading::Text;
                }
                true
            }
            Reading::AfterThinking => {
                self.held = self.held.trim_start().to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.reading = Reading::Text;
                true
            }
            Reading::Thinking => {
                let (thinking, ended) = self.take_until(THINK_END);
                match &mut self.presumed {
                    Some(_) if ended => self.presumed = None,
                    Some(presumed) => presumed.push_str(&thinking),
                    None => {}
                }
                written.push(Written::Thinking(thinking));
                if ended {
                    self.reading = Reading::AfterThinking;
                }
                ended
            }
            Reading::Text if self.tools.is_empty() && !self.may_end_thoughts => {
                written.push(Written::Text(std::mem::take(&mut self.held)));
                false
            }
            Reading::Text => self.text(written),
            Reading::Call => {
                let Some(end) = self.scan.end_of_call(&self.held) else { return false };
                // An end tag that was taken for text may have been one after all.
                let first_end = self.scan.first_end.unwrap_or(end);
                let found = [end, first_end].into_iter().find_map(|end| Some((end, self.call(&self.held[..end])?)));
                let (end, call) = found.map_or((first_end, None), |(end, call)| (end, Some(call)));
                self.end_call(end, call, written);
                true
            }
        }
    }

    /// Takes what stands before the end tag at `end`: this call, or text.
    fn end_call(&mut self, end: usize, call: Option<Written>, written: &mut Vec<Written>) {
        let inside = self.held[..end].to_owned();
        self.held.drain(..end + CALL_END.len());
        self.reading = Reading::Text;
        written.push(call.unwrap_or_else(|| {
            self.line.push_str(CALL);
            Written::Text(format!("{CALL}{inside}{CALL_END}"))
        }));
    }

    /// Passes on text up to a line that begins with a call, or to the end of thoughts.
    fn text(&mut self, written: &mut Vec<Written>) -> bool {
        let held = std::mem::take(&mut self.held);
        let mut passed = 0;
        for line in held.split_inclusive('\n') {
            let before = self.line.trim_start().len();
            let begins = format!("{}{line}", self.line);
            let begins = begins.trim_start();
            if before == 0 && !self.in_fence && !self.tools.is_empty() {
                let indent = line.len() - line.trim_start().len();
                if line[indent..].starts_with(CALL) {
                    let (text, call) = held.split_at(passed + indent);
                    self.pass_on(text, written);
                    self.held = call[CALL.len()..].to_owned();
                    self.line.clear();
                    self.scan = CallScan::default();
                    self.reading = Reading::Call;
                    return true;
                }
                if !line.ends_with('\n') && !begins.is_empty() && CALL.starts_with(begins) {
                    let (text, call) = held.split_at(passed);
                    self.pass_on(text, written);
                    self.held = call.to_owned();
                    return false;
                }
            }
            if self.may_end_thoughts && !self.in_fence {
                match self.thoughts_end(line, &held[..passed]) {
                    ThoughtsEnd::Here(at) => {
                        let (text, rest) = held.split_at(passed + at);
                        self.pass_on(text, written);
                        // What was passed on as text cannot be taken back; at least it does not run into the answer.
                        self.pass_on("\n\n", written);
                        self.held = rest[THINK_END.len()..].to_owned();
                        self.line.clear();
                        self.may_end_thoughts = false;
                        self.ended_unbegun_thoughts = true;
                        self.reading = Reading::AfterThinking;
                        return true;
                    }
                    ThoughtsEnd::PerhapsAt(at) => {
                        let (text, rest) = held.split_at(passed + at);
                        self.begin_line(&line[..at]);
                        self.pass_on(text, written);
                        self.held = rest.to_owned();
                        return false;
                    }
                    ThoughtsEnd::Never => self.may_end_thoughts = false,
                    ThoughtsEnd::NotHere => {}
                }
            }
            passed += line.len();
            if line.ends_with('\n') {
                if begins.starts_with(FENCE) {
                    self.in_fence = !self.in_fence;
                }
                self.line.clear();
            } else {
                self.begin_line(line);
            }
        }
        self.pass_on(&held, written);
        false
    }

    /// Adds to the line so far.
    fn begin_line(&mut self, text: &str) {
        if self.line.trim_start().len() < FENCE.len() {
            self.line.push_str(text);
        }
    }

    fn pass_on(&mut self, text: &str, written: &mut Vec<Written>) {
        self.last = text.chars().next_back().or(self.last);
        written.push(Written::Text(text.to_owned()));
    }

    /// Looks in a line of text, or in the part of it that has come, for the end of thoughts. `before`: what comes before the line
    /// and is not passed on yet.
    fn thoughts_end(&self, line: &str, before: &str) -> ThoughtsEnd {
        if let Some(at) = line.find(THINK_END).filter(|at| line.find(THINK).is_none_or(|begin| *at < begin)) {
            let last = [&line[..at], before].iter().find_map(|text| text.chars().next_back()).or(self.last);
            // In quotes the model speaks of the tag.
            return if matches!(last, Some('`' | '"' | '\'')) { ThoughtsEnd::Never } else { ThoughtsEnd::Here(at) };
        }
        if line.contains(THINK) {
            return ThoughtsEnd::Never;
        }
        let may_begin = |tag: &str| (1..tag.len()).rev().find(|length| line.ends_with(&tag[..*length]));
        match [THINK, THINK_END].into_iter().filter_map(may_begin).max() {
            Some(length) => ThoughtsEnd::PerhapsAt(line.len() - length),
            None => ThoughtsEnd::NotHere,
        }
    }

    /// Takes the text before `end`, and `end` too if it has come; else all text that cannot be its beginning.
    fn take_until(&mut self, end: &str) -> (String, bool) {
        if let Some(at) = self.held.find(end) {
            let before = self.held[..at].to_owned();
            self.held.drain(..at + end.len());
            return (before, true);
        }
        let possible = (1..end.len()).rev().find(|length| self.held.ends_with(&end[..*length])).unwrap_or(0);
        let certain = self.held.len() - possible;
        (self.held.drain(..certain).collect(), false)
    }

    /// The call between the tags, if it calls one of the tools.
    fn call(&self, inside: &str) -> Option<Written> {
        let (name, arguments) = json_call(inside).or_else(|| tagged_call(inside, &self.tools))?;
        self.tools.iter().any(|tool| tool.name == name).then_some(Written::Call { name, arguments })
    }
}

/// Whether a text has the end of thoughts that the answer did not begin.
enum ThoughtsEnd {
    /// At this byte.
    Here(usize),
    /// What stands from this byte on may become it, or the beginning of thoughts that the model speaks of.
    PerhapsAt(usize),
    NotHere,
    /// The model speaks of such tags.
    Never,
}
