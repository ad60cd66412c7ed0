//! What can be left out of a request, stage by stage.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Something that can be left out: values at JSON pointers (RFC 6901), or a piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Values(Vec<String>),
    /// Bytes of the text at a pointer.
    Piece {
        text: String,
        from: usize,
        to: usize,
    },
}

/// A stage of the search.
pub(super) struct Stage {
    /// What it leaves out, for people.
    pub name: &'static str,
    /// What can be left out of a request then.
    pub cuts: fn(&Value) -> Vec<Cut>,
}

/// The stages, in their order.
pub(super) const STAGES: [Stage; 7] = [
    Stage { name: "turns", cuts: turns },
    Stage { name: "tools", cuts: |body| elements(body, "/tools") },
    Stage { name: "fields", cuts: fields },
    Stage { name: "blocks", cuts: blocks },
    Stage { name: "lines", cuts: |body| pieces(body, |text| text.split_inclusive('\n').map(str::len).collect()) },
    Stage { name: "words", cuts: |body| pieces(body, |text| text.split_inclusive(' ').map(str::len).collect()) },
    Stage { name: "schemas", cuts: schemas },
];

/// Fields without which a request is none.
const NEEDED: [&str; 4] = ["model", "max_tokens", "messages", "tools"];

impl Cut {
    /// A request without some of its parts.
    pub(super) fn apply<'a>(cuts: impl Iterator<Item = &'a Self>, body: &Value) -> Value {
        let (mut values, mut texts) = (BTreeSet::new(), BTreeMap::<&str, Vec<(usize, usize)>>::new());
        for cut in cuts {
            match cut {
                Self::Values(pointers) => values.extend(pointers.iter().map(|pointer| Place::of(pointer))),
                Self::Piece { text, from, to } => texts.entry(text).or_default().push((*from, *to)),
            }
        }
        let mut body = body.clone();
        for (pointer, mut gone) in texts {
            let Some(Value::String(text)) = body.pointer_mut(pointer) else { continue };
            gone.sort_unstable();
            gone.into_iter().rev().for_each(|(from, to)| text.replace_range(from..to, ""));
        }
        // The last elements of an array first, so that the others keep their places.
        values.into_iter().rev().for_each(|place| place.remove(&mut body));
        body
    }
}

/// Where a value is, in the order in which arrays have their elements.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place(Vec<Step>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Key(String),
}

impl Place {
    fn of(pointer: &str) -> Self {
        let step = |part: &str| match part.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(part.replace("~1", "/").replace("~0", "~")),
        };
        Self(pointer.split('/').skip(1).map(step).collect())
    }

    fn remove(&self, body: &mut Value) {
        let Some((last, path)) = self.0.split_last() else { return };
        let parent = path.iter().try_fold(body, |value, step| match step {
            Step::Index(index) if value.is_array() => value.get_mut(*index),
            Step::Index(index) => value.get_mut(index.to_string()),
            Step::Key(key) => value.get_mut(key),
        });
        match (parent, last) {
            (Some(Value::Array(items)), Step::Index(index)) if *index < items.len() => drop(items.remove(*index)),
            (Some(Value::Object(fields)), Step::Key(key)) => drop(fields.remove(key)),
            (Some(Value::Object(fields)), Step::Index(index)) => drop(fields.remove(&index.to_string())),
            _ => {}
        }
    }
}

/// A key as a part of a pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn array<'a>(body: &'a Value, pointer: &str) -> &'a [Value] {
    body.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn elements(body: &Value, pointer: &str) -> Vec<Cut> {
    (0..array(body, pointer).len()).map(|at| Cut::Values(vec![format!("{pointer}/{at}")])).collect()
}

/// Messages; those with calls together with their results.
fn turns(body: &Value) -> Vec<Cut> {
    let has = |message: &Value, of: &str| array(message, "/content").iter().any(|block| block["type"] == of);
    let mut cuts: Vec<Vec<String>> = Vec::new();
    let messages = array(body, "/messages");
    for (at, message) in messages.iter().enumerate() {
        let follows_call = at > 0 && has(&messages[at - 1], "tool_use") && has(message, "tool_result");
        match cuts.last_mut() {
            Some(last) if follows_call => last.push(format!("/messages/{at}")),
            _ => cuts.push(vec![format!("/messages/{at}")]),
        }
    }
    cuts.into_iter().map(Cut::Values).collect()
}

fn fields(body: &Value) -> Vec<Cut> {
    let names = body.as_object().into_iter().flatten().map(|(name, _)| name);
    let mut cuts: Vec<Cut> = names
        .filter(|name| !NEEDED.contains(&name.as_str()))
        .map(|name| Cut::Values(vec![format!("/{}", escaped(name))]))
        .collect();
    if array(body, "/tools").is_empty() && body.get("tools").is_some() {
        cuts.push(Cut::Values(vec!["/tools".into()]));
    }
    cuts
}

/// Content blocks; a call together with its result. And what blocks have beside their content.
fn blocks(body: &Value) -> Vec<Cut> {
    let mut cuts = elements(body, "/system");
    let mut calls = BTreeMap::<&str, usize>::new();
    for (message, value) in array(body, "/messages").iter().enumerate() {
        for (at, block) in array(value, "/content").iter().enumerate() {
            let pointer = format!("/messages/{message}/content/{at}");
            let call = block["tool_use_id"].as_str().and_then(|id| calls.get(id));
            match (call, block["id"].as_str()) {
                (Some(call), _) => {
                    if let Cut::Values(pointers) = &mut cuts[*call] {
                        pointers.push(pointer.clone());
                    }
                }
                (None, Some(id)) => {
                    calls.insert(id, cuts.len());
                    cuts.push(Cut::Values(vec![pointer.clone()]));
                }
                (None, None) => cuts.push(Cut::Values(vec![pointer.clone()])),
            }
            for beside in ["cache_control", "is_error"].into_iter().filter(|name| block.get(*name).is_some()) {
                cuts.push(Cut::Values(vec![format!("{pointer}/{beside}")]));
            }
            let input = block["input"].as_object().into_iter().flatten();
            cuts.extend(input.map(|(name, _)| Cut::Values(vec![format!("{pointer}/input/{}", escaped(name))])));
        }
    }
    cuts
}

/// The texts of system prompt, messages and results, in pieces of the given lengths.
fn pieces(body: &Value, lengths: fn(&str) -> Vec<usize>) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for pointer in texts(body) {
        let Some(text) = body.pointer(&pointer).and_then(Value::as_str) else { continue };
        let mut from = 0;
        for length in lengths(text) {
            cuts.push(Cut::Piece { text: pointer.clone(), from, to: from + length });
            from += length;
        }
    }
    cuts
}

/// Pointers to all texts that people or tools wrote.
fn texts(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_content = |pointer: String| {
        let mut open = vec![pointer];
        while let Some(pointer) = open.pop() {
            match body.pointer(&pointer) {
                Some(Value::String(_)) => found.push(pointer),
                Some(Value::Array(blocks)) => open.extend((0..blocks.len()).map(|at| format!("{pointer}/{at}"))),
                Some(Value::Object(block)) => {
                    let inside = ["text", "content"].into_iter().filter(|name| block.contains_key(*name));
                    open.extend(inside.map(|name| format!("{pointer}/{name}")));
                }
                _ => {}
            }
        }
    };
    in_content("/system".into());
    (0..array(body, "/messages").len()).for_each(|at| in_content(format!("/messages/{at}/content")));
    found
}

/// Descriptions of tools and properties; each property with its place among the required ones; all other keywords but `type`.
fn schemas(body: &Value) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (at, tool) in array(body, "/tools").iter().enumerate() {
        let fields = tool.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let optional = fields.filter(|name| !["name", "input_schema"].contains(name));
        cuts.extend(optional.map(|name| Cut::Values(vec![format!("/tools/{at}/{}", escaped(name))])));
        in_schema(&tool["input_schema"], &format!("/tools/{at}/input_schema"), &mut cuts);
    }
    cuts
}

fn in_schema(schema: &Value, pointer: &str, cuts: &mut Vec<Cut>) {
    for (name, value) in schema.as_object().into_iter().flatten().filter(|(name, _)| *name != "type") {
        let at = format!("{pointer}/{}", escaped(name));
        cuts.push(Cut::Values(vec![at.clone()]));
        match (name.as_str(), value) {
            ("properties", Value::Object(properties)) => {
                for (property, inside) in properties {
                    let place = format!("{at}/{}", escaped(property));
                    let required = array(schema, "/required").iter().position(|name| *name == **property);
                    let required = required.map(|index| format!("{pointer}/required/{index}"));
                    cuts.push(Cut::Values([Some(place.clone()), required].into_iter().flatten().collect()));
                    in_schema(inside, &place, cuts);
                }
            }
            ("items", inside) => in_schema(inside, &at, cuts),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_go_by_their_old_places() {
        let body = json!({"a": [0, 1, 2, {"b/c": 3, "7": 4}], "t": "äbc"});
        let values = |pointers: &[&str]| Cut::Values(pointers.iter().map(|pointer| (*pointer).to_owned()).collect());
        let cuts = [
            values(&["/a/0", "/a/3/b~1c"]),
            values(&["/a/2", "/a/3/7", "/none/9"]),
            Cut::Piece { text: "/t".into(), from: 0, to: 2 },
            Cut::Piece { text: "/t".into(), from: 3, to: 4 },
        ];
        assert_eq!(Cut::apply(cuts.iter(), &body), json!({"a": [1, {}], "t": "b"}));
    }
}
