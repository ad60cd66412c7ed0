//! Looking for a pattern in the texts of a trace.

use regex::Regex;
use serde_json::Value;

use super::Trace;

/// A line of a text that matches.
#[derive(Debug, PartialEq, Eq)]
pub struct TextMatch {
    /// Where the text stands, such as `request.body.messages[0].content[1].text`.
    pub place: String,
    /// The line.
    pub line: String,
}

impl Trace {
    /// The lines that match, in the texts of the request's and the answer's bodies and in their fields' names, in order.
    pub fn search(&self, pattern: &Regex) -> Vec<TextMatch> {
        let mut found = Vec::new();
        search_in(&self.request.body, "request.body", pattern, &mut found);
        search_in(&self.response.body, "response.body", pattern, &mut found);
        found
    }
}

fn search_in(value: &Value, place: &str, pattern: &Regex, found: &mut Vec<TextMatch>) {
    let take = |text: &str, found: &mut Vec<TextMatch>| {
        let lines = text.lines().filter(|line| pattern.is_match(line));
        found.extend(lines.map(|line| TextMatch { place: place.to_owned(), line: line.to_owned() }));
    };
    match value {
        Value::String(text) => take(text, found),
        Value::Number(number) => take(&number.to_string(), found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                search_in(item, &format!("{place}[{index}]"), pattern, found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if pattern.is_match(name) {
                    found.push(TextMatch { place: place.to_owned(), line: format!("{name}:") });
                }
                search_in(value, &format!("{place}.{name}"), pattern, found);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}
