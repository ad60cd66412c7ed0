//! The ways in which chat templates differ in the conversations that they accept.

use std::fmt;

/// The shape in which a template accepts conversations. The defaults suit most templates. What a template needs
/// is found by trial ([`super::template`]), never from its name or source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemplateTraits {
    /// Where the system prompt goes.
    pub system: SystemPrompt,
    /// Whether roles must alternate.
    pub turns: TurnOrder,
    /// The role of system messages in mid-conversation.
    pub late_system: LateSystem,
    /// Whether one message may have several calls.
    pub calls: Calls,
    /// How a call's arguments are passed.
    pub arguments: ArgumentShape,
    /// Where text before calls goes.
    pub said: TextBeforeCalls,
    /// Where thoughts before such text go, if it is apart from the calls.
    pub thoughts: ThoughtsBeforeCalls,
    /// The role of tool results.
    pub results: Results,
    /// Whether every tool must have a description.
    pub descriptions: Descriptions,
}

/// Where the system prompt goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SystemPrompt {
    /// In a message of its own.
    #[default]
    Own,
    /// At the start of the user's first message.
    InFirstUser,
}

/// Whether roles must alternate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TurnOrder {
    /// Messages may come in any order.
    #[default]
    Any,
    /// User and assistant must alternate. Consecutive messages of one role are joined, and a user message after a
    /// tool result is appended to the result.
    Alternate,
}

/// The role of system messages in mid-conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LateSystem {
    /// They stay system messages.
    #[default]
    AsSystem,
    /// They become user messages.
    AsUser,
}

/// How several calls of one turn are passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// All in one message.
    #[default]
    Together,
    /// Each in a message of its own, followed by its result.
    OneByOne,
}

/// How a call's arguments are passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArgumentShape {
    /// As a mapping.
    #[default]
    Mapping,
    /// As JSON text.
    Json,
}

/// Where the text goes that the model wrote before a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextBeforeCalls {
    /// In the message with the calls.
    #[default]
    Beside,
    /// In a message of its own, before the one with the calls.
    Apart,
    /// Like [`Self::Apart`], in the role `model`: for templates that open a turn for it and for the calls only then (Gemma 4).
    ApartAsModel,
    /// Like [`Self::Apart`], and the message with the calls has `none` as its content.
    ApartFromNone,
}

/// Where the thoughts go that the model had before text and calls, if these are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ThoughtsBeforeCalls {
    /// In the message with the text, which comes first.
    #[default]
    WithText,
    /// In the message with the calls, for templates that show no others.
    WithCalls,
}

/// The role of tool results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Results {
    /// The role `tool`.
    #[default]
    Tool,
    /// The role `user`, for templates that do not know tools.
    User,
}

/// Whether tools without a description get an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptions {
    /// They go without.
    #[default]
    AsGiven,
    /// They get an empty one, for templates that fail otherwise.
    Always,
}

impl TemplateTraits {
    /// Every trait that differs from the default, in words.
    fn unusual(&self) -> Vec<&'static str> {
        let Self { system, turns, late_system, calls, arguments, said, thoughts, results, descriptions } = self;
        let unusual = [
            (*system == SystemPrompt::InFirstUser, "the system prompt opens the user's first message"),
            (*turns == TurnOrder::Alternate, "roles alternate, so neighbours are joined"),
            (*late_system == LateSystem::AsUser, "late system messages are the user's"),
            (*calls == Calls::OneByOne, "calls come one by one"),
            (*arguments == ArgumentShape::Json, "arguments are JSON text"),
            (*said != TextBeforeCalls::Beside, "text before a call is a message of its own"),
            (*said == TextBeforeCalls::ApartAsModel, "that message's role is \"model\""),
            (*thoughts == ThoughtsBeforeCalls::WithCalls, "thoughts before both stay with the call"),
            (*results == Results::User, "results are the user's"),
            (*descriptions == Descriptions::Always, "every tool has a description"),
        ];
        unusual.into_iter().filter_map(|(is, what)| is.then_some(what)).collect()
    }

    /// How many traits differ from the default.
    pub fn distance(&self) -> usize {
        self.unusual().len()
    }
}

impl fmt::Display for TemplateTraits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unusual = self.unusual();
        f.write_str(&if unusual.is_empty() { "as most are".into() } else { unusual.join("; ") })
    }
}
