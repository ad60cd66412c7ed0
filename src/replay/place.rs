//! Places in an outcome, such as `tool_use[0].input.file_path` and `tool_use[0].input['-n']`: steps of an RFC 9535 path. Pure.

use std::fmt::Write;

use serde_json::Value;

/// One step of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into the value of this name.
    Member(String),
    /// Into an item of a list.
    Item(usize),
}

/// The step to a value of this name, as it is written behind the place of its object.
pub fn member(name: &str) -> String {
    let begins = |first: char| first.is_ascii_alphabetic() || first == '_' || !first.is_ascii();
    let is_plain = name.starts_with(begins) && name.chars().all(|character| begins(character) || character.is_ascii_digit());
    if is_plain {
        return format!(".{name}");
    }
    let mut quoted = String::new();
    for character in name.chars() {
        match character {
            '\'' | '\\' => quoted.extend(['\\', character]),
            // Writing to a String cannot fail.
            control if u32::from(control) < 0x20 => drop(write!(quoted, "\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    format!("['{quoted}']")
}

/// The steps of a place; `None` if it is none.
pub fn steps_of(place: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = place;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("['") {
            let (name, after) = unquoted(quoted)?;
            steps.push(Step::Member(name));
            rest = after;
        } else if let Some(number) = rest.strip_prefix('[') {
            let (number, after) = number.split_once(']')?;
            steps.push(Step::Item(number.parse().ok()?));
            rest = after;
        } else {
            // The first name has no dot before it.
            let name = rest.strip_prefix('.').unwrap_or(rest);
            let end = name.find(['.', '[']).unwrap_or(name.len());
            steps.push(Step::Member(name[..end].to_owned()));
            rest = &name[end..];
        }
    }
    Some(steps)
}

/// A name up to the `']` behind it, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\'' => return Some((name, text[at..].strip_prefix("']")?)),
            '\\' => match characters.next()? {
                (at, 'u') => {
                    let code = u32::from_str_radix(text.get(at + 1..at + 5)?, 16).ok()?;
                    name.push(char::from_u32(code)?);
                    characters.nth(3);
                }
                (_, escaped) => name.push(escaped),
            },
            other => name.push(other),
        }
    }
    None
}

/// The value at a place.
pub fn value_at<'a>(whole: &'a Value, place: &str) -> Option<&'a Value> {
    steps_of(place)?.iter().try_fold(whole, |value, step| match step {
        Step::Member(name) => value.get(name.as_str()),
        Step::Item(at) => value.get(at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json_path::JsonPath;

    #[test]
    fn names_that_are_no_words_are_quoted() {
        let table = [
            ("file_path", ".file_path"),
            ("x1", ".x1"),
            ("größe", ".größe"),
            ("-n", "['-n']"),
            ("kebab-case", "['kebab-case']"),
            ("x y", "['x y']"),
            ("a.b", "['a.b']"),
            ("1st", "['1st']"),
            ("", "['']"),
            ("it's \\", "['it\\'s \\\\']"),
            ("\n", "['\\u000a']"),
        ];
        for (name, written) in table {
            assert_eq!(member(name), written);
        }
    }

    proptest! {
        #[test]
        fn every_name_is_found_by_its_place_and_by_its_json_path(name in ".*", other in ".*") {
            let whole = json!({"input": {&name: [{&other: 1}]}});
            let path = format!("{}[0]{}", member(&name), member(&other));
            prop_assert_eq!(value_at(&whole, &format!("input{path}")), Some(&json!(1)));
            let rule = JsonPath::parse(&format!("${path}")).unwrap();
            prop_assert_eq!(rule.query(&whole["input"]).all(), [&json!(1)]);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".*", rest in "[\\[\\]'\\\\u.a0é]*") {
            let _ = (steps_of(&text), steps_of(&rest));
        }
    }
}
