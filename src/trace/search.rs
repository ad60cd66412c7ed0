//! Looking for a pattern in the texts of a trace.

use regex::Regex;
use serde_json::Value;

use super::Outline;

/// A line of a text that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextMatch {
    /// Where the text stands, such as `request.body.messages[0].content[1].text`.
    pub place: String,
    /// The line.
    pub line: String,
}

/// The lines that match in an item of a list. Their places are in the item.
///
/// # Errors
/// It is no JSON.
pub fn find_in_item(json: &[u8], pattern: &Regex) -> serde_json::Result<Vec<TextMatch>> {
    let mut found = Vec::new();
    search_in(&serde_json::from_slice(json)?, &mut String::new(), pattern, &mut found);
    Ok(found)
}

impl Outline<Vec<TextMatch>> {
    /// The lines that match, in the texts of the request's and the answer's bodies and in their fields' names, in order. The
    /// items of lists were searched by [`find_in_item`].
    pub fn search(&self, pattern: &Regex) -> Vec<TextMatch> {
        let mut found = Vec::new();
        match &self.trace.request.body {
            Value::Object(fields) => {
                for (name, value) in fields {
                    search_field(name, value, &mut "request.body".to_owned(), pattern, &mut found);
                    let inside =
                        self.items(name).iter().enumerate().flat_map(|(nth, item)| item.iter().map(move |hit| (nth, hit)));
                    found.extend(inside.map(|(nth, TextMatch { place, line })| TextMatch {
                        place: format!("request.body.{name}[{nth}]{place}"),
                        line: line.clone(),
                    }));
                }
            }
            body => search_in(body, &mut "request.body".to_owned(), pattern, &mut found),
        }
        search_in(&self.trace.response.body, &mut "response.body".to_owned(), pattern, &mut found);
        found
    }
}

/// `place` is the same afterwards.
fn search_in(value: &Value, place: &mut String, pattern: &Regex, found: &mut Vec<TextMatch>) {
    let take = |text: &str, found: &mut Vec<TextMatch>| {
        let lines = text.lines().filter(|line| pattern.is_match(line));
        found.extend(lines.map(|line| TextMatch { place: place.clone(), line: line.to_owned() }));
    };
    match value {
        Value::String(text) => take(text, found),
        Value::Number(number) => take(&number.to_string(), found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let outer = place.len();
                place.push_str(&format!("[{index}]"));
                search_in(item, place, pattern, found);
                place.truncate(outer);
            }
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| search_field(name, value, place, pattern, found)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn search_field(name: &str, value: &Value, place: &mut String, pattern: &Regex, found: &mut Vec<TextMatch>) {
    if pattern.is_match(name) {
        found.push(TextMatch { place: place.clone(), line: format!("{name}:") });
    }
    let outer = place.len();
    place.push('.');
    place.push_str(name);
    search_in(value, place, pattern, found);
    place.truncate(outer);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::trace::outlines;

    #[test]
    fn places_are_those_of_the_whole_trace() {
        let file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/traces/read-file/0002.json"));
        let pattern = Regex::new("hello|tool_use").unwrap();
        let search = |_: &str, _: usize, json: &[u8]| find_in_item(json, &pattern);
        let found = outlines(std::slice::from_ref(&file), search, |_, outline| outline.unwrap().search(&pattern)).remove(0);
        let trace = crate::trace::read(&file).unwrap();
        let mut expected = Vec::new();
        search_in(&trace.request.body, &mut "request.body".to_owned(), &pattern, &mut expected);
        search_in(&trace.response.body, &mut "response.body".to_owned(), &pattern, &mut expected);
        assert!(expected.len() > 2);
        assert_eq!(found, expected);
    }
}
