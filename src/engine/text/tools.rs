//! A request's tools as chat templates see them. Clients send the same long list with every request, and converting it takes
//! most of a prompt's rendering time, so the most recent conversions are kept.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use minijinja::Value;
use minijinja::value::{Enumerator, Object, Serde};

use super::markup_escaping::Markup;
use super::template_traits::Descriptions;
use super::{messages, offered_tools, python};
use crate::wire::Tool;

/// Most lists that are kept: enough for a client's main conversation and several kinds of sub-agents.
const MOST: usize = 8;

/// Longest list that is kept, in bytes of JSON.
const LONGEST_KEPT: usize = 4 << 20;

/// A cache of converted tool lists.
pub(super) struct KnownTools {
    descriptions: Descriptions,
    /// Lists of tools and their converted values, the most recently used first.
    lists: Mutex<Vec<(Vec<Tool>, Value)>>,
}

impl KnownTools {
    pub(super) fn new(descriptions: Descriptions) -> Self {
        Self { descriptions, lists: Mutex::default() }
    }

    /// The tools that the prompt lists, as OpenAI-style functions with their markup escaped; `None` if there are
    /// none.
    pub(super) fn of(&self, tools: &[Tool], markup: &Markup) -> Option<Value> {
        let listed = |value: Value| value.is_true().then_some(value);
        {
            let mut known = self.lock();
            if let Some(at) = known.iter().position(|(known, _)| known == tools) {
                known[..=at].rotate_right(1);
                return listed(known[0].1.clone());
            }
        }
        let mapping = |tool| Value::from(Serde(markup.mark(messages::function(tool, self.descriptions))));
        let tool = |tool| Value::from_object(KnownTool { mapping: mapping(tool), json: OnceLock::new() });
        let value: Value = offered_tools::listed(tools).map(tool).collect();
        if serde_json::to_vec(tools).is_ok_and(|text| text.len() <= LONGEST_KEPT) {
            let mut known = self.lock();
            known.truncate(MOST - 1);
            known.insert(0, (tools.to_vec(), value.clone()));
        }
        listed(value)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Vec<Tool>, Value)>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tool. Templates see a mapping; its JSON is computed once.
#[derive(Debug)]
pub(super) struct KnownTool {
    mapping: Value,
    json: OnceLock<String>,
}

impl KnownTool {
    /// The mapping as JSON on one line; `None` if it cannot be serialized.
    pub(super) fn json(&self) -> Option<&str> {
        if self.json.get().is_none() {
            let _ = self.json.set(python::json::one_line(&self.mapping).ok()?);
        }
        self.json.get().map(String::as_str)
    }
}

impl Object for KnownTool {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.mapping.as_object()?.get_value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapping.as_object().map_or(Enumerator::Empty, |mapping| mapping.enumerate())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Tokenizer, tiny_model};
    use super::*;

    #[test]
    fn a_list_is_made_once_and_another_is_another() {
        let markup = Markup::of(&Tokenizer::load(&tiny_model()).unwrap(), "");
        let known = KnownTools::new(Descriptions::AsGiven);
        let list = |description: &str| -> Vec<Tool> {
            serde_json::from_value(json!([{"name": "A", "description": description}, {"name": "B", "defer_loading": true}]))
                .unwrap()
        };
        let json = |description: &str| {
            let tools = known.of(&list(description), &markup).unwrap();
            assert_eq!(tools.len(), Some(1), "one is held back");
            let tool = tools.get_item_by_index(0).unwrap();
            tool.downcast_object::<KnownTool>().unwrap()
        };
        let first = json("0");
        assert_eq!(
            first.json(),
            Some(r#"{"type": "function", "function": {"name": "A", "description": "0", "parameters": {}}}"#)
        );
        assert!(Arc::ptr_eq(&first, &json("0")));
        for other in 1..MOST {
            assert!(json(&other.to_string()).json().unwrap().contains(&format!("\"{other}\"")));
        }
        assert!(Arc::ptr_eq(&first, &json("0")), "used again, it is the latest");
        json("x");
        assert!(Arc::ptr_eq(&first, &json("0")));
        assert_eq!(known.lock().len(), MOST);
        assert!(known.of(&[], &markup).is_none());
    }
}
