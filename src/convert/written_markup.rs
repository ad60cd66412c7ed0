//! Reasoning and calls that a model wrote into its text.
//!
//! A server without a parser for its model passes on what the model wrote: `<think>…</think>` and `<tool_call>…</tool_call>` as
//! text. A client would show the one and never run the other.

use serde_json::{Map, Value};

use crate::wire::Tool;

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";
/// The tags around a call in Qwen3-Coder's format.
const FUNCTION: &str = "<function=";
const FUNCTION_END: &str = "</function>";
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
/// Thinking is read at the start of the answer only. A call is read where a line begins with it, outside of code blocks, and if
/// it calls a tool that was offered; whatever else looks like one is the model speaking of calls, and stays text.
#[derive(Debug)]
pub(crate) struct WrittenMarkup {
    /// The offered tools.
    tools: Vec<Tool>,
    reading: Reading,
    /// How far a call was looked through.
    scan: CallScan,
    /// Text whose meaning depends on what follows.
    held: String,
    /// The text of the line so far, as far as it is needed to know what it begins with.
    line: String,
    in_fence: bool,
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
            scan: CallScan::default(),
            held: String::new(),
            line: String::new(),
            in_fence: false,
        }
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
            Reading::Thinking => Written::Thinking(held),
            Reading::Call => self.call(&held).unwrap_or(Written::Text(format!("{CALL}{held}"))),
            Reading::Start | Reading::AfterThinking | Reading::Text => Written::Text(held),
        };
        self.reading = Reading::Text;
        written.push(rest);
        written
    }

    /// Reads on from `held` by one part; `false` if that needs more text.
    fn step(&mut self, written: &mut Vec<Written>) -> bool {
        match self.reading {
            Reading::Start => {
                let text = self.held.trim_start();
                if let Some(thinking) = text.strip_prefix(THINK) {
                    self.held = thinking.to_owned();
                    self.reading = Reading::Thinking;
                } else if THINK.starts_with(text) {
                    return false;
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
                written.push(Written::Thinking(thinking));
                if ended {
                    self.reading = Reading::AfterThinking;
                }
                ended
            }
            Reading::Text if self.tools.is_empty() => {
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

    /// Passes on text up to a line that begins with a call.
    fn text(&mut self, written: &mut Vec<Written>) -> bool {
        let held = std::mem::take(&mut self.held);
        let mut passed = 0;
        for line in held.split_inclusive('\n') {
            let before = self.line.trim_start().len();
            let begins = format!("{}{line}", self.line);
            let begins = begins.trim_start();
            if before == 0 && !self.in_fence {
                let indent = line.len() - line.trim_start().len();
                if line[indent..].starts_with(CALL) {
                    let call = passed + indent;
                    written.push(Written::Text(held[..call].to_owned()));
                    self.held = held[call + CALL.len()..].to_owned();
                    self.line.clear();
                    self.scan = CallScan::default();
                    self.reading = Reading::Call;
                    return true;
                }
                if !line.ends_with('\n') && !begins.is_empty() && CALL.starts_with(begins) {
                    written.push(Written::Text(held[..passed].to_owned()));
                    self.held = held[passed..].to_owned();
                    return false;
                }
            }
            passed += line.len();
            if line.ends_with('\n') {
                if begins.starts_with(FENCE) {
                    self.in_fence = !self.in_fence;
                }
                self.line.clear();
            } else if self.line.trim_start().len() < FENCE.len() {
                self.line.push_str(line);
            }
        }
        written.push(Written::Text(held));
        false
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

/// Looks for the tag that ends a call, each byte once, however many pieces the call comes in.
///
/// A call's arguments may have the tag's text in them: in a string of JSON, or in a parameter of Qwen3-Coder's format.
#[derive(Debug, Default)]
struct CallScan {
    scanned: usize,
    in_string: bool,
    after_backslash: bool,
    /// Where the first end tag is, wherever it stands.
    first_end: Option<usize>,
}

impl CallScan {
    /// Where the call ends whose text begins with `inside`, if its end has come.
    fn end_of_call(&mut self, inside: &str) -> Option<usize> {
        let bytes = inside.as_bytes();
        while let Some(byte) = bytes.get(self.scanned) {
            let rest = &bytes[self.scanned..];
            if rest.starts_with(CALL_END.as_bytes()) {
                let end = self.scanned;
                self.first_end.get_or_insert(end);
                if self.ends(&inside[..end]) {
                    return Some(end);
                }
            } else if CALL_END.as_bytes().starts_with(rest) {
                return None;
            }
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' if self.in_string => self.after_backslash = true,
                b'"' => self.in_string = !self.in_string,
                _ => {}
            }
            self.scanned += 1;
        }
        None
    }

    /// Whether a tag after this text ends the call.
    fn ends(&self, before: &str) -> bool {
        let text = before.trim_start();
        if text.starts_with('{') {
            !self.in_string
        } else if text.starts_with(FUNCTION) {
            before.trim_end().ends_with(FUNCTION_END)
        } else {
            true
        }
    }
}

/// A call as Hermes and Qwen models write it: `{"name": …, "arguments": {…}}`.
fn json_call(inside: &str) -> Option<(String, Map<String, Value>)> {
    let call: Map<String, Value> = crate::wire::from_json(inside.trim().as_bytes()).ok()?;
    let name = call.get("name")?.as_str()?.to_owned();
    let arguments = match call.get("arguments").or(call.get("parameters")) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments.clone(),
        Some(Value::String(text)) => crate::wire::from_json(text.as_bytes()).ok()?,
        Some(_) => return None,
    };
    Some((name, arguments))
}

/// A call as Qwen3-Coder writes it: `<function=name><parameter=key>value</parameter></function>`. The format has no types: unless
/// the tool's schema says that an argument is a string, a value that is JSON is read as such.
fn tagged_call(inside: &str, tools: &[Tool]) -> Option<(String, Map<String, Value>)> {
    let (name, mut rest) = inside.trim().strip_prefix(FUNCTION)?.split_once('>')?;
    let schema = tools.iter().find(|tool| tool.name == name).map(|tool| &tool.input_schema);
    let mut arguments = Map::new();
    while let Some((key, after)) = rest.trim_start().strip_prefix("<parameter=").and_then(|open| open.split_once('>')) {
        let (value, after) = after.split_once("</parameter>")?;
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let is_text = schema.is_some_and(|schema| schema["properties"][key]["type"] == "string");
        let typed = (!is_text).then(|| serde_json::from_str(value).ok()).flatten().filter(|typed: &Value| !typed.is_string());
        arguments.insert(key.to_owned(), typed.unwrap_or_else(|| Value::String(value.to_owned())));
        rest = after;
    }
    (rest.trim() == FUNCTION_END).then(|| (name.to_owned(), arguments))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<Tool> {
        let schema = json!({"type": "object", "properties": {"content": {"type": "string"}}});
        serde_json::from_value(json!([{"name": "Read", "input_schema": schema}, {"name": "Now"}])).unwrap()
    }

    #[test]
    fn a_string_stays_a_string_whatever_it_looks_like() {
        let call = "<tool_call>\n<function=Read>\n<parameter=content>\n{\"a\": 1}\n</parameter>\n<parameter=line>\n3\n</parameter>\n</function>\n</tool_call>";
        assert_eq!(read([call]), json!([["call", ["Read", {"content": "{\"a\": 1}", "line": 3}]]]));
    }

    /// What is read of a text that arrives in these pieces; neighbours of one kind are joined, empty ones left out.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Value {
        let mut markup = WrittenMarkup::new(tools());
        let mut all: Vec<Written> = pieces.into_iter().flat_map(|piece| markup.push(piece)).collect();
        all.extend(markup.finish());
        let mut read: Vec<(&str, Value)> = Vec::new();
        for part in all {
            let (kind, value) = match part {
                Written::Text(text) | Written::Thinking(text) if text.is_empty() => continue,
                Written::Text(text) => ("text", json!(text)),
                Written::Thinking(text) => ("thinking", json!(text)),
                Written::Call { name, arguments } => ("call", json!([name, arguments])),
            };
            match read.last_mut() {
                Some((last, Value::String(text))) if *last == kind => text.push_str(value.as_str().unwrap()),
                _ => read.push((kind, value)),
            }
        }
        json!(read)
    }

    /// Texts with what is read of them.
    fn cases() -> Vec<(&'static str, Value)> {
        let call = json!(["call", ["Read", {"path": "a"}]]);
        vec![
            ("Just text.", json!([["text", "Just text."]])),
            ("<think>Hm.</think>\n\nYes.", json!([["thinking", "Hm."], ["text", "Yes."]])),
            ("\n<think>\nHm.\n</think>", json!([["thinking", "\nHm.\n"]])),
            ("<think>never ends", json!([["thinking", "never ends"]])),
            ("Say <think>this</think>.", json!([["text", "Say <think>this</think>."]])),
            ("<thinker>", json!([["text", "<thinker>"]])),
            ("<tool_call>\n{\"name\": \"Read\", \"arguments\": {\"path\": \"a\"}}\n</tool_call>", json!([call])),
            (
                "<think>Hm.</think>\nLook:\n<tool_call>{\"name\":\"Read\",\"arguments\":\"{\\\"path\\\":\\\"a\\\"}\"}</tool_call>\n\
                 <tool_call>{\"name\":\"Now\"}</tool_call>",
                json!([["thinking", "Hm."], ["text", "Look:\n"], call, ["text", "\n"], ["call", ["Now", {}]]]),
            ),
            ("<tool_call>\n<function=Read>\n<parameter=path>\na\n</parameter>\n</function>\n</tool_call>", json!([call])),
            (
                "<tool_call><function=Read><parameter=lines>[1]</parameter><parameter=as>\"b\"</parameter></function></tool_call>",
                json!([["call", ["Read", {"lines": [1], "as": "\"b\""}]]]),
            ),
            ("<tool_call>{\"name\":\"Read\",\"arguments\":{\"path\":\"a\"}}", json!([call])),
            ("<tool_call>{\"name\":\"Read\",\"argum", json!([["text", "<tool_call>{\"name\":\"Read\",\"argum"]])),
            ("<tool_call>{\"name\":\"Rm\"}</tool_call> no", json!([["text", "<tool_call>{\"name\":\"Rm\"}</tool_call> no"]])),
            (
                "As in <tool_call>{\"name\":\"Now\"}</tool_call>",
                json!([["text", "As in <tool_call>{\"name\":\"Now\"}</tool_call>"]]),
            ),
            (
                "```xml\n<tool_call>{\"name\":\"Now\"}</tool_call>\n```\n<tool_call>{\"name\":\"Now\"}</tool_call>",
                json!([["text", "```xml\n<tool_call>{\"name\":\"Now\"}</tool_call>\n```\n"], ["call", ["Now", {}]]]),
            ),
            ("a <\n<tool", json!([["text", "a <\n<tool"]])),
            (
                "<tool_call>{\"name\":\"Read\",\"arguments\":{\"content\":\"\\\"<tool_call>x</tool_call>\"}}</tool_call>.",
                json!([["call", ["Read", {"content": "\"<tool_call>x</tool_call>"}]], ["text", "."]]),
            ),
            (
                "<tool_call>{\"name\":\"Read</tool_call>\n<tool_call>{\"name\":\"Now\"}</tool_call>",
                json!([["text", "<tool_call>{\"name\":\"Read</tool_call>\n"], ["call", ["Now", {}]]]),
            ),
            (
                "<tool_call>{\"name\":\"Read</tool_call>\n5\" wide\n<tool_call>{\"name\":\"Now\"}</tool_call>",
                json!([["text", "<tool_call>{\"name\":\"Read</tool_call>\n5\" wide\n"], ["call", ["Now", {}]]]),
            ),
            (
                "<tool_call><function=Read><parameter=content>a</tool_call>b</parameter></function></tool_call>",
                json!([["call", ["Read", {"content": "a</tool_call>b"}]]]),
            ),
        ]
    }

    #[test]
    fn thinking_and_calls_are_found_and_nothing_else() {
        for (text, expected) in cases() {
            assert_eq!(read([text]), expected, "{text}");
        }
    }

    #[test]
    fn pieces_do_not_matter() {
        for (text, expected) in cases() {
            assert_eq!(read(text.split_inclusive(|_| true)), expected, "{text} character by character");
            for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                assert_eq!(read([&text[..cut], &text[cut..]]), expected, "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn text_is_passed_on_as_it_comes() {
        let mut markup = WrittenMarkup::new(tools());
        let mut push = |piece: &str| -> String {
            let texts = markup.push(piece).into_iter().map(|part| match part {
                Written::Text(text) => text,
                other => panic!("{other:?}"),
            });
            texts.collect()
        };
        assert_eq!(["Hel", "lo\n", "<to", "ol>", " <tool_call>"].map(&mut push), ["Hel", "lo\n", "", "<tool>", " <tool_call>"]);
    }

    proptest! {
        #[test]
        fn no_text_is_lost(parts in prop::collection::vec(prop_oneof![
            Just("<tool_call>"), Just("</tool_call>"), Just("```\n"), Just("\n"), Just(" "), Just("<"), Just("x"), Just("{}"),
        ], 0..12)) {
            let text = format!(".{}", parts.concat());
            prop_assert_eq!(read(parts.iter().copied().fold(vec!["."], |mut all, part| { all.push(part); all })), json!([["text", text]]));
        }
    }
}
