//! What tells a line of a transcript from those of other tools.

use std::fmt;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};

/// The keys so far.
#[derive(Default)]
struct Marks {
    has_type: bool,
    has_session: bool,
    has_parent: bool,
}

/// Whether a line is a transcript's. It may be cut: what a user pastes is often longer than what is seen of a file.
pub(super) fn are_in(line: &[u8]) -> bool {
    let mut marks = Marks::default();
    // The error that a cut line ends with says nothing about the keys before the cut.
    let _ = serde_json::Deserializer::from_slice(line).deserialize_map(&mut marks);
    marks.has_parent || (marks.has_type && marks.has_session)
}

impl<'de> Visitor<'de> for &mut Marks {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "type" => self.has_type = true,
                "sessionId" => self.has_session = true,
                "parentUuid" => self.has_parent = true,
                _ => {}
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_by_its_keys_even_if_it_is_cut() {
        let long = "x".repeat(300 << 10);
        for line in [
            r#"{"type":"user","sessionId":"s"}"#.to_owned(),
            format!(r#"{{"parentUuid":null,"isSidechain":false,"type":"user","message":{{"content":"{long}"#),
            format!(r#"{{"type":"queue-operation","sessionId":"s","content":"{long}"#),
        ] {
            assert!(are_in(line.as_bytes()), "{}", &line[..40]);
        }
        for line in [r#"{"log":{"type":1,"sessionId":2,"parentUuid":3}}"#, r#"{"type":"user"}"#, "[1]", "notes", "{\"type"] {
            assert!(!are_in(line.as_bytes()), "{line}");
        }
    }
}
