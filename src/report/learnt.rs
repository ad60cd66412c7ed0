//! The match rules that a replay learnt, as a part of `anyclaude.toml`.

use serde::Serialize;

use crate::replay::Learnt;
use crate::report::units::count;
use crate::snapshot::RuleText;

#[derive(Serialize)]
struct LearntSettings {
    replay: ReplayPart,
}

#[derive(Serialize)]
struct ReplayPart {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unordered_calls: bool,
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    rules: Vec<RuleText>,
}

/// The rules with a line that says what they do.
pub fn to_toml(learnt: &Learnt) -> String {
    let replay = ReplayPart { unordered_calls: learnt.unordered_calls(), rules: learnt.rules() };
    let says_something = replay.unordered_calls || !replay.rules.is_empty();
    let mut out = String::from(match says_something {
        true => {
            "\n# The repeats of each trace are equal under these settings. For anyclaude.toml, or as `match` in a snapshot's info:\n\n"
        }
        false => "\n# There is no rule to learn.\n",
    });
    if says_something {
        // Strings, lists and a boolean: serializing them cannot fail.
        out.push_str(&toml::to_string(&LearntSettings { replay }).unwrap_or_default());
    }
    if learnt.beyond_rules() > 0 {
        let outcomes = count(learnt.beyond_rules(), "outcome");
        out.push_str(&format!("\n# No rule helps with {outcomes}: the calls are others, or the answer ended in another way.\n"));
    }
    out
}
