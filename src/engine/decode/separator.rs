//! Separates an answer's thoughts from the rest, in the way in which its model divides answers.

use super::channels::Channels;
use super::thinking::{Split, Thinking, ThinkingTags};

/// A part of an answer's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Separated {
    Thought(String),
    /// Text that may hold calls.
    Answer(String),
    /// Text of a call.
    Call(String),
    /// Text that holds none.
    Said(String),
}

/// Where an answer is, by what its model writes between thoughts and answer.
pub enum Separator {
    /// Thoughts in tags at the start.
    Tags(Thinking),
    /// Messages in channels.
    Channels(Channels),
}

impl Separator {
    /// Adds text; returns what is decided now.
    pub(super) fn push(&mut self, text: &str) -> Vec<Separated> {
        match self {
            Self::Tags(thinking) => in_order(thinking.push(text)),
            Self::Channels(channels) => channels.push(text),
        }
    }

    /// The answer has ended: returns the text that was held back.
    pub(super) fn finish(&mut self) -> Vec<Separated> {
        match self {
            Self::Tags(thinking) => in_order(thinking.finish()),
            Self::Channels(channels) => channels.finish(),
        }
    }

    /// Whether the thoughts have ended, or there are none.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Tags(thinking) => thinking.is_over(),
            Self::Channels(channels) => !channels.is_thinking(),
        }
    }

    /// Whether the text is inside thoughts.
    pub(super) fn is_thinking(&self) -> bool {
        match self {
            Self::Tags(thinking) => thinking.closing_so_far().is_some(),
            Self::Channels(channels) => channels.is_thinking(),
        }
    }

    /// Inside thoughts in tags: the tags, and how many bytes of the closing one the text ends with.
    pub(super) fn closing_so_far(&self) -> Option<(&'static ThinkingTags, usize)> {
        match self {
            Self::Tags(thinking) => thinking.closing_so_far(),
            Self::Channels(_) => None,
        }
    }

    /// Whether tags around thoughts may open here.
    pub(super) fn may_open_tags(&self) -> bool {
        matches!(self, Self::Tags(thinking) if !thinking.is_over())
    }

    /// What is still to come of a tag around thoughts whose markup is there: see [`Thinking::rest_of_opening`].
    pub(super) fn rest_of_opening(&self) -> Option<&'static str> {
        match self {
            Self::Tags(thinking) => thinking.rest_of_opening(),
            Self::Channels(_) => None,
        }
    }

    /// The text of a message's beginning that is held back, as it may become a call.
    pub(super) fn opening(&self) -> &str {
        match self {
            Self::Tags(_) => "",
            Self::Channels(channels) => channels.opening(),
        }
    }
}

fn in_order(Split { thought, answer }: Split) -> Vec<Separated> {
    let thought = (!thought.is_empty()).then_some(Separated::Thought(thought));
    thought.into_iter().chain((!answer.is_empty()).then_some(Separated::Answer(answer))).collect()
}
