//! What a difference is called. Each kind has one name, which the terminal, `--json` and JUnit share; `docs/judging.md` says what
//! to do about each.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One way in which a replay is not as it should be, or differs from before.
///
/// The order is that of importance: what is first in a case's findings names the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// No connection to the backend.
    Unreachable,
    /// Nothing came from the backend for too long.
    Timeout,
    /// The answer broke off in the middle.
    StreamCut,
    /// Statuses 529 and 503, after all retries.
    Overloaded,
    /// Status 429, after all retries.
    RateLimited,
    /// The backend failed with an error of its own.
    ServerError,
    /// The backend takes the request for wrong, or does not know who asks.
    RefusedRequest,
    /// What came is not the Messages API.
    ProtocolBroken,
    /// A state of the cache did not come about.
    PhaseMissing,
    /// Repeats of one phase gave different tool calls.
    Flaky,
    /// Phases gave different tool calls, and each agrees with itself in several repeats.
    Cache,
    /// Phases gave different tool calls, and too few repeats tell whether it is the cache.
    PhasesDiffer,
    /// Arguments that are no JSON object.
    MalformedArguments,
    /// Several calls came as one.
    CallsMerged,
    /// Text where calls are accepted.
    TextInsteadOfCall,
    /// Calls where text is accepted.
    CallInsteadOfText,
    /// The token limit ended the answer.
    CutOff,
    /// A call is gone.
    CallMissing,
    /// A call is new.
    CallAdded,
    /// The same calls in another order.
    CallsReordered,
    /// The same arguments under another tool's name.
    ToolRenamed,
    /// Another tool with other arguments.
    OtherTool,
    /// JSON in a string, or escapes of escapes.
    JsonEscapedTwice,
    /// An argument is gone.
    ArgumentLost,
    /// An argument is new.
    ArgumentAdded,
    /// The same file under another folder.
    PathChanged,
    /// Only spaces, tabs or line ends differ.
    WhiteSpace,
    /// An argument has another value.
    ArgumentChanged,
    /// The answer ended for another reason.
    StopReasonChanged,
    /// The prompt has more or fewer tokens, by more than 2%.
    PromptTokensChanged,
    /// Nothing is accepted yet.
    NoSnapshot,
    /// A snapshot whose trace is gone.
    TraceLost,
    /// A trace whose request cannot be read.
    Unreadable,
    /// Answers that nobody forced are further from the recorded ones than allowed.
    LowFidelity,
    /// The model is less sure of accepted calls than in the baseline.
    LessSure,
    /// Slower than the baseline.
    Slower,
    /// A time is over its budget.
    OverBudget,
    /// Another model than that of the snapshot.
    ModelChanged,
    /// Another chat template than that of the snapshot.
    TemplateChanged,
    /// Tool calls are written in another way.
    FormatChanged,
    /// A match rule that was for nothing.
    RuleUnused,
    /// A trace that is not replayed.
    Skipped,
}

/// All kinds, in their order.
const KINDS: [(Kind, &str, u8); 42] = [
    (Kind::Unreachable, "unreachable", 3),
    (Kind::Timeout, "timeout", 3),
    (Kind::StreamCut, "stream-cut", 3),
    (Kind::Overloaded, "overloaded", 3),
    (Kind::RateLimited, "rate-limited", 3),
    (Kind::ServerError, "server-error", 3),
    (Kind::RefusedRequest, "refused-request", 3),
    (Kind::ProtocolBroken, "protocol-broken", 3),
    (Kind::PhaseMissing, "phase-missing", 3),
    (Kind::Flaky, "flaky", 1),
    (Kind::Cache, "cache", 1),
    (Kind::PhasesDiffer, "phases-differ", 1),
    (Kind::MalformedArguments, "malformed-arguments", 1),
    (Kind::CallsMerged, "calls-merged", 1),
    (Kind::TextInsteadOfCall, "text-instead-of-call", 1),
    (Kind::CallInsteadOfText, "call-instead-of-text", 1),
    (Kind::CutOff, "cut-off", 1),
    (Kind::CallMissing, "call-missing", 1),
    (Kind::CallAdded, "call-added", 1),
    (Kind::CallsReordered, "calls-reordered", 1),
    (Kind::ToolRenamed, "tool-renamed", 1),
    (Kind::OtherTool, "other-tool", 1),
    (Kind::JsonEscapedTwice, "json-escaped-twice", 1),
    (Kind::ArgumentLost, "argument-lost", 1),
    (Kind::ArgumentAdded, "argument-added", 1),
    (Kind::PathChanged, "path-changed", 1),
    (Kind::WhiteSpace, "white-space", 1),
    (Kind::ArgumentChanged, "argument-changed", 1),
    (Kind::StopReasonChanged, "stop-reason-changed", 1),
    (Kind::PromptTokensChanged, "prompt-tokens-changed", 1),
    (Kind::NoSnapshot, "no-snapshot", 1),
    (Kind::TraceLost, "trace-lost", 1),
    (Kind::Unreadable, "unreadable", 1),
    (Kind::LowFidelity, "low-fidelity", 4),
    (Kind::LessSure, "less-sure", 4),
    (Kind::Slower, "slower", 4),
    (Kind::OverBudget, "over-budget", 4),
    (Kind::ModelChanged, "model-changed", 0),
    (Kind::TemplateChanged, "template-changed", 0),
    (Kind::FormatChanged, "format-changed", 0),
    (Kind::RuleUnused, "rule-unused", 0),
    (Kind::Skipped, "skipped", 0),
];

impl Kind {
    /// All kinds, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        KINDS.into_iter().map(|(kind, ..)| kind)
    }

    /// The kind's name, which never changes its meaning.
    pub fn name(self) -> &'static str {
        KINDS[self as usize].1
    }

    /// What a replay exits with if this is the worst that it found; 0 for what is only said.
    pub fn exit_code(self) -> u8 {
        KINDS[self as usize].2
    }

    /// Whether this is only said and fails nothing.
    pub fn is_notice(self) -> bool {
        self.exit_code() == 0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::all().find(|kind| kind.name() == name).ok_or_else(|| D::Error::custom(format!("unknown kind {name:?}")))
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a difference or a failure is called; docs/judging.md lists the kinds.",
            "type": "string",
            "enum": Self::all().map(Self::name).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (at, (kind, name, _)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, at, "{name}");
        }
    }

    /// Each row of the page's table: the kind's name, its meaning, the exit code, what to do.
    #[test]
    fn the_page_on_judging_lists_every_kind_with_its_exit_code() {
        let page = include_str!("../../docs/judging.md");
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let rows = page.lines().filter(|line| line.starts_with("| `")).map(cells).filter(|cells| cells.len() == 6);
        let listed: Vec<_> = rows.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[3].clone())).collect();
        let mut known: Vec<_> = Kind::all().map(|kind| (kind.name().to_owned(), kind.exit_code().to_string())).collect();
        let mut sorted = listed.clone();
        sorted.sort();
        known.sort();
        assert_eq!(sorted, known, "docs/judging.md and src/replay/kind.rs list other kinds");
    }
}
