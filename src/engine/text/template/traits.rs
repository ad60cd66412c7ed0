//! What chat templates want differently from each other.

use std::fmt;

/// How a template wants to be told of conversations. The defaults are what most take; what a template takes is found by
/// trial ([`super::fit`]), never by its name or words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TemplateTraits {
    /// Where the system prompt stands.
    pub system: SystemPrompt,
    /// Who may speak after whom.
    pub turns: Turns,
    /// How system messages in mid-conversation are told.
    pub late_system: LateSystem,
    /// How many calls a message may have.
    pub calls: Calls,
    /// In which form a call's arguments are given.
    pub arguments: Arguments,
    /// Where text before calls stands.
    pub said: TextBeforeCalls,
    /// How the results of calls are given.
    pub results: Results,
    /// Whether every tool must have a description.
    pub descriptions: Descriptions,
}

/// Where the system prompt stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SystemPrompt {
    #[default]
    Own,
    /// At the start of the user's first message.
    InFirstUser,
}

/// Who may speak after whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turns {
    #[default]
    Any,
    /// User and assistant alternate: what one of them says in several messages is joined, and what the user says after a
    /// tool's result is part of the result.
    Alternate,
}

/// How a template is told of system messages in mid-conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LateSystem {
    #[default]
    AsSystem,
    AsUser,
}

/// How several calls of one turn are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    #[default]
    Together,
    /// Each with its result, one after another.
    OneByOne,
}

/// How a call's arguments are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arguments {
    #[default]
    Mapping,
    /// As JSON text.
    Json,
}

/// Where the text stands that the model wrote before a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextBeforeCalls {
    /// In the message with the calls.
    #[default]
    Beside,
    /// In a message of its own before them.
    Apart,
    /// The same, and the content of the message with the calls is none.
    ApartFromNone,
}

/// Who tells what a tool gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Results {
    #[default]
    Tool,
    /// The user: the template knows no tools.
    User,
}

/// Whether tools without a description have an empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Descriptions {
    #[default]
    AsGiven,
    Always,
}

impl TemplateTraits {
    /// What is not as most templates have it.
    fn unusual(&self) -> Vec<&'static str> {
        let Self { system, turns, late_system, calls, arguments, said, results, descriptions } = self;
        let unusual = [
            (*system == SystemPrompt::InFirstUser, "the system prompt opens the user's first message"),
            (*turns == Turns::Alternate, "roles alternate, so neighbours are joined"),
            (*late_system == LateSystem::AsUser, "late system messages are the user's"),
            (*calls == Calls::OneByOne, "calls come one by one"),
            (*arguments == Arguments::Json, "arguments are JSON text"),
            (*said != TextBeforeCalls::Beside, "text before a call is a message of its own"),
            (*results == Results::User, "results are the user's"),
            (*descriptions == Descriptions::Always, "every tool has a description"),
        ];
        unusual.into_iter().filter_map(|(is, what)| is.then_some(what)).collect()
    }

    /// How much is not as most templates have it.
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
