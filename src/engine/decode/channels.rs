//! Answers that consist of messages in channels (OpenAI's Harmony; gpt-oss): thoughts in one, calls of functions in another, text
//! for the user in the others. The prompt ends with `<|start|>assistant`, so that an answer begins with the rest of a header:
//!
//! ```text
//! <|channel|>analysis<|message|>I need the file.<|end|>
//! <|start|>assistant<|channel|>commentary to=functions.Read <|constrain|>json<|message|>{"path": "a.txt"}<|call|>
//! <|start|>assistant<|channel|>final<|message|>It is empty.<|return|>
//! ```
//!
//! A call's message is given to the parser of calls, from its channel or its receiver on; of all other headers nothing is given.

use super::separator::Separated;
use super::syntax::{JsonScan, ending_with_start_of};

pub(super) const START: &str = "<|start|>";
pub(super) const CHANNEL: &str = "<|channel|>";
pub(super) const MESSAGE: &str = "<|message|>";
pub(super) const CONSTRAIN: &str = "<|constrain|>";
const END: &str = "<|end|>";
pub(super) const RETURN: &str = "<|return|>";
pub(super) const CALL: &str = "<|call|>";

/// The role that writes answers.
const ROLE: &str = "assistant";

/// Before the receiver of a message that is for no person, in its header.
const RECEIVER: &str = " to=";

/// The channels in which calls stand.
const CALLING: [&str; 2] = ["commentary", "analysis"];

/// Before the name of a function in the header of a call, without the dot between them.
pub(super) const TO_FUNCTIONS: &str = " to=functions";

/// What ends a message: its end, or the beginning of the next, before which the end was forgotten.
const ENDS: [&str; 4] = [END, RETURN, CALL, "<|start|>assistant"];

/// Tells the messages of an answer apart.
pub struct Channels {
    state: ChannelState,
    /// Text received but not yet returned.
    held: String,
    /// Whether a message for the user has begun already.
    has_said: bool,
}

enum ChannelState {
    /// In a message's header, of which all is held.
    Header,
    Thought,
    Said,
    /// In a call, whose header names a function, up to the end of its arguments.
    Call(JsonScan),
    /// After a message.
    Between,
}

impl Channels {
    /// At the start of an answer, whose first header has been begun by the prompt.
    pub(super) fn new() -> Self {
        Self { state: ChannelState::Header, held: String::new(), has_said: false }
    }

    /// The tokens that must be seen as text.
    pub(super) fn markup() -> [&'static str; 5] {
        [START, CHANNEL, MESSAGE, CONSTRAIN, END]
    }

    /// Whether what comes next is a thought, or a header.
    pub(super) fn is_thinking(&self) -> bool {
        matches!(self.state, ChannelState::Header | ChannelState::Thought | ChannelState::Between)
    }

    /// The header so far, without who writes.
    pub(super) fn opening(&self) -> &str {
        match self.state {
            ChannelState::Header => without_role(&self.held),
            _ => "",
        }
    }

    pub(super) fn push(&mut self, text: &str) -> Vec<Separated> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// The answer has ended: a header or markup that was begun is nothing.
    pub(super) fn finish(&mut self) -> Vec<Separated> {
        let held = std::mem::take(&mut self.held);
        let mut parts = Vec::new();
        match self.state {
            ChannelState::Thought => give(Separated::Thought, held, &mut parts),
            ChannelState::Said => give(Separated::Said, held, &mut parts),
            ChannelState::Header if !held.starts_with('<') => give(Separated::Said, held, &mut parts),
            ChannelState::Header | ChannelState::Between | ChannelState::Call(_) => {}
        }
        parts
    }

    /// One step of the state machine. Returns false when it cannot go on without more text.
    fn step(&mut self, parts: &mut Vec<Separated>) -> bool {
        match &mut self.state {
            ChannelState::Header => self.read_header(parts),
            ChannelState::Thought => self.read_body(Separated::Thought, parts),
            ChannelState::Said => self.read_body(Separated::Said, parts),
            ChannelState::Call(scan) => {
                let end = self.held.bytes().position(|byte| scan.feed(byte)).map(|at| at + 1);
                let rest = self.held.split_off(end.unwrap_or(self.held.len()));
                give(Separated::Call, std::mem::replace(&mut self.held, rest), parts);
                if end.is_some() {
                    self.state = ChannelState::Between;
                }
                end.is_some()
            }
            ChannelState::Between => self.read_end(),
        }
    }

    fn read_header(&mut self, parts: &mut Vec<Separated>) -> bool {
        let header = without_role(&self.held);
        // Without a header, it is text: other models than gpt-oss may be given this format.
        let begins = [START, CHANNEL, MESSAGE, CONSTRAIN, RECEIVER];
        let may_be_header = begins.iter().any(|begin| header.starts_with(begin) || begin.starts_with(header));
        if !may_be_header && !self.held.starts_with(START) {
            self.begin(false, parts);
            return true;
        }
        let length = self.held.len() - header.len();
        let end = header.find(MESSAGE);
        if let Some(receiver) = header[..end.unwrap_or(header.len())].find(TO_FUNCTIONS) {
            let is_of_calls = |channel: &usize| CALLING.iter().any(|name| header[channel + CHANNEL.len()..].starts_with(name));
            let start = length + header[..receiver].find(CHANNEL).filter(is_of_calls).unwrap_or(receiver);
            let rest = self.held.split_off(length + receiver + TO_FUNCTIONS.len());
            let opening = std::mem::replace(&mut self.held, rest).split_off(start);
            parts.push(Separated::Call(opening));
            self.state = ChannelState::Call(JsonScan::default());
            return true;
        }
        if let Some(end) = end {
            let is_thought = is_thought(&header[..end]);
            self.held.drain(..length + end + MESSAGE.len());
            self.begin(is_thought, parts);
            return true;
        }
        false
    }

    /// Begins a message's body. Texts for the user have a blank line between them.
    fn begin(&mut self, is_thought: bool, parts: &mut Vec<Separated>) {
        if is_thought {
            self.state = ChannelState::Thought;
            return;
        }
        self.state = ChannelState::Said;
        if std::mem::replace(&mut self.has_said, true) {
            parts.push(Separated::Said("\n\n".into()));
        }
    }

    fn read_body(&mut self, kind: fn(String) -> Separated, parts: &mut Vec<Separated>) -> bool {
        let end = ENDS.iter().filter_map(|end| self.held.find(end)).min();
        let undecided = ENDS.iter().map(|end| ending_with_start_of(&self.held, end)).max().unwrap_or(0);
        let rest = self.held.split_off(end.unwrap_or(self.held.len() - undecided));
        give(kind, std::mem::replace(&mut self.held, rest), parts);
        if end.is_some() {
            self.state = ChannelState::Between;
        }
        end.is_some()
    }

    /// Reads the markup after a message's body, up to the next header.
    fn read_end(&mut self) -> bool {
        if let Some(end) = [END, RETURN, CALL].into_iter().find(|end| self.held.starts_with(end)) {
            self.held.drain(..end.len());
            return true;
        }
        if ENDS.iter().any(|end| end.starts_with(&self.held)) {
            return false;
        }
        self.state = ChannelState::Header;
        true
    }
}

/// A header without the markup that opens it and the role.
fn without_role(header: &str) -> &str {
    header.strip_prefix(START).map_or(header, |rest| rest.strip_prefix(ROLE).unwrap_or(rest))
}

/// Whether the message with this header is a thought: it is in that channel, or a call of something that nobody offered.
fn is_thought(header: &str) -> bool {
    let channel = header.split_once(CHANNEL).map_or("", |(_, channel)| channel);
    channel.trim_start().starts_with("analysis") || header.contains(RECEIVER)
}

fn give(kind: fn(String) -> Separated, text: String, parts: &mut Vec<Separated>) {
    if !text.is_empty() {
        parts.push(kind(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of an answer, neighbours of one kind joined.
    fn parts(chunks: &[&str]) -> Vec<Separated> {
        let mut channels = Channels::new();
        let mut found: Vec<Separated> = chunks.iter().flat_map(|chunk| channels.push(chunk)).collect();
        found.extend(channels.finish());
        let mut joined: Vec<Separated> = Vec::new();
        for part in found {
            match (joined.last_mut(), part) {
                (Some(Separated::Thought(text)), Separated::Thought(more))
                | (Some(Separated::Call(text)), Separated::Call(more))
                | (Some(Separated::Said(text)), Separated::Said(more)) => text.push_str(&more),
                (_, part) => joined.push(part),
            }
        }
        joined
    }

    #[test]
    fn messages_are_told_apart_however_they_are_split() {
        let thought = |text: &str| Separated::Thought(text.into());
        let said = |text: &str| Separated::Said(text.into());
        let call = |text: &str| Separated::Call(text.into());
        let cases = [
            (
                "<|channel|>analysis<|message|>So <|end it.<|end|><|start|>assistant<|channel|>final<|message|>Yes.\n<|return|>",
                vec![thought("So <|end it."), said("Yes.\n")],
            ),
            (
                "<|channel|>commentary to=functions.Read <|constrain|>json<|message|>{\"a\": \"}<|call|>\"}<|call|>",
                vec![call("<|channel|>commentary to=functions.Read <|constrain|>json<|message|>{\"a\": \"}<|call|>\"}")],
            ),
            (
                " to=functions.Read<|channel|>commentary json<|message|>{}<|call|>",
                vec![call(" to=functions.Read<|channel|>commentary json<|message|>{}")],
            ),
            (
                "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|>\
                 <|start|>assistant<|channel|>analysis to=functions.X code<|message|>{}<|call|>",
                vec![thought("a"), said("I look."), call("<|channel|>analysis to=functions.X code<|message|>{}")],
            ),
            (
                "<|channel|>commentary<|message|>One.<|start|>assistant to=functions.X<|channel|>commentary<|message|>{}<|call|>\
                 <|start|>assistant<|channel|>final<|message|>Two.",
                vec![said("One."), call(" to=functions.X<|channel|>commentary<|message|>{}"), said("\n\nTwo.")],
            ),
            ("<|channel|>analysis to=python code<|message|>print()<|call|>", vec![thought("print()")]),
            ("<|message|>Yes", vec![said("Yes")]),
            ("Hi<|end|><|start|>user<|message|>x", vec![said("Hi\n\nx")]),
            ("<|channel|>final to=functions.X<|message|>{}<|call|>", vec![call(" to=functions.X<|message|>{}")]),
            ("Yes, <|channel|>.", vec![said("Yes, <|channel|>.")]),
            ("<|channel|>ana", vec![]),
            ("<|channel|>final<|message|>cut <|en", vec![said("cut <|en")]),
            (" to", vec![said(" to")]),
            ("assistant", vec![said("assistant")]),
            ("", vec![]),
        ];
        for (text, expected) in cases {
            assert_eq!(parts(&[text]), expected, "{text}");
            let characters: Vec<String> = text.chars().map(String::from).collect();
            assert_eq!(parts(&characters.iter().map(String::as_str).collect::<Vec<_>>()), expected, "{text}: one by one");
        }
    }
}
