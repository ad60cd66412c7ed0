//! A span's attributes as JSON, by name.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::wire::from_json;

#[derive(Deserialize)]
pub(super) struct Attribute {
    key: String,
    #[serde(default)]
    value: Value,
}

/// The attributes of one span.
pub(super) struct Attributes(Map<String, Value>);

impl Attributes {
    pub(super) fn new(attributes: Vec<Attribute>) -> Self {
        Self(attributes.into_iter().map(|Attribute { key, value }| (key, plain(value))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The first of these that there is: conventions have changed names.
    pub(super) fn first(&self, names: &[&str]) -> Option<&Value> {
        names.iter().find_map(|name| self.get(name))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub(super) fn count(&self, names: &[&str]) -> Option<u64> {
        self.first(names)?.as_u64()
    }

    /// A value with structure, which may stand there as the text of its JSON.
    pub(super) fn structured(&self, name: &str) -> Option<Value> {
        match self.get(name)? {
            Value::String(text) => from_json(text.as_bytes()).ok(),
            value => Some(value.clone()),
        }
    }
}

/// The values of a list, of whatever is no list null.
fn values_of(list: &mut Value) -> Value {
    list.get_mut("values").map(Value::take).unwrap_or_default()
}

/// A value of OTLP's JSON, whose one field names its type.
fn plain(value: Value) -> Value {
    let Value::Object(fields) = value else { return Value::Null };
    let Some((kind, value)) = fields.into_iter().next() else { return Value::Null };
    match (kind.as_str(), value) {
        // 64-bit integers are strings there.
        ("intValue", Value::String(digits)) => digits.parse::<i64>().map_or(Value::Null, |number| json!(number)),
        ("arrayValue", mut list) => match values_of(&mut list) {
            Value::Array(values) => values.into_iter().map(plain).collect(),
            _ => json!([]),
        },
        ("kvlistValue", mut list) => {
            let pairs: Vec<Attribute> = serde_json::from_value(values_of(&mut list)).unwrap_or_default();
            Value::Object(Attributes::new(pairs).0)
        }
        (_, value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_none_is_empty() {
        for odd in [json!("x"), json!(1), json!([]), json!({}), json!(null)] {
            assert_eq!(plain(json!({"arrayValue": odd})), json!([]));
            assert_eq!(plain(json!({"kvlistValue": odd})), json!({}));
        }
    }
}
