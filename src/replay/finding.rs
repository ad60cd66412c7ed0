//! One thing that a replay found, as plain data.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;

/// The longest value in a line of text, in characters. The `--json` file has it whole.
const SHOWN: usize = 120;

/// One thing that a replay found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where in the outcome it is, such as `tool_use[0].input.file_path`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is accepted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Value>,
    /// What came instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Finding {
    /// A finding that words say.
    pub fn said(kind: Kind, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..Self::of(kind) }
    }

    /// A finding at a place, with what is accepted there and what came.
    pub fn at(kind: Kind, place: impl Into<String>, accepted: Option<&Value>, found: Option<&Value>) -> Self {
        Self { place: Some(place.into()), accepted: accepted.cloned(), found: found.cloned(), ..Self::of(kind) }
    }

    /// A finding at a place, that words say.
    pub fn at_said(kind: Kind, place: impl Into<String>, note: impl Into<String>) -> Self {
        Self { place: Some(place.into()), ..Self::said(kind, note) }
    }

    fn of(kind: Kind) -> Self {
        Self { kind, place: None, accepted: None, found: None, note: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(place) = &self.place {
            write!(f, ": {place}")?;
        }
        match (&self.accepted, &self.found) {
            (Some(accepted), Some(found)) => write!(f, ": {} is accepted, {} came", shown(accepted), shown(found))?,
            (Some(accepted), None) => write!(f, ": {} is accepted, nothing came", shown(accepted))?,
            (None, Some(found)) => write!(f, ": {} came", shown(found))?,
            (None, None) => {}
        }
        match &self.note {
            Some(note) => write!(f, ": {note}"),
            None => Ok(()),
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_finding_is_one_line() {
        let at = |accepted: Option<&Value>, found: Option<&Value>| {
            Finding::at(Kind::ArgumentChanged, "tool_use[0].input.limit", accepted, found).to_string()
        };
        let (five, long) = (json!(5), json!("x".repeat(500)));
        assert_eq!(at(Some(&five), Some(&json!(6))), "argument-changed: tool_use[0].input.limit: 5 is accepted, 6 came");
        assert_eq!(at(Some(&five), None), "argument-changed: tool_use[0].input.limit: 5 is accepted, nothing came");
        assert!(at(None, Some(&long)).len() < 200);
        assert_eq!(Finding::said(Kind::Flaky, "1 of 5 differs").to_string(), "flaky: 1 of 5 differs");
    }
}
