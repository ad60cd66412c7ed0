//! Rendered shared prefixes. They are the same for every request of a client, and rendering one takes time.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::engine::EngineError;
use crate::engine::text::ChatTemplate;
use crate::wire::{MessagesRequest, System, Tool};

/// How many prefixes are kept: enough for a client's main conversation and several kinds of sub-agents.
const CAPACITY: usize = 8;

/// Longest prefix that is kept, and most JSON that it may depend on, in bytes.
const LONGEST_KEPT: usize = 4 << 20;

/// The shared prefixes used last, the latest first.
#[derive(Default)]
pub(crate) struct SharedPrefixes(Mutex<Vec<RenderedPrefix>>);

/// A prefix, and everything in a request that it depends on.
struct RenderedPrefix {
    tools: Vec<Tool>,
    system: Option<System>,
    thinking: Option<Value>,
    prefix: Arc<str>,
}

impl SharedPrefixes {
    /// The part of the prompt that all conversations with the request's system prompt and tools start with.
    ///
    /// # Errors
    /// The template refuses the request.
    pub(crate) fn of(&self, request: &MessagesRequest, template: &ChatTemplate) -> Result<Arc<str>, EngineError> {
        let thinking = request.extra.get("thinking");
        let is_same = |rendered: &RenderedPrefix| {
            rendered.tools == request.tools && rendered.system == request.system && rendered.thinking.as_ref() == thinking
        };
        {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = known.iter().position(is_same) {
                known[..=at].rotate_right(1);
                return Ok(known[0].prefix.clone());
            }
        }
        let prefix: Arc<str> = template.render_shared_prefix(request)?.into();
        let depends_on = serde_json::to_vec(&(&request.tools, &request.system, thinking));
        if prefix.len() <= LONGEST_KEPT && depends_on.is_ok_and(|text| text.len() <= LONGEST_KEPT) {
            let (tools, system, thinking) = (request.tools.clone(), request.system.clone(), thinking.cloned());
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.truncate(CAPACITY - 1);
            known.insert(0, RenderedPrefix { tools, system, thinking, prefix: prefix.clone() });
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::text::{Tokenizer, tiny_model};

    #[test]
    fn a_prefix_is_rendered_once_and_the_oldest_is_forgotten() {
        let template = ChatTemplate::load(&tiny_model(), &Tokenizer::load(&tiny_model()).unwrap()).unwrap();
        let known = SharedPrefixes::default();
        let prefix = |system: usize, said: &str| {
            let messages = json!([{"role": "user", "content": said}]);
            let request = json!({"model": "m", "max_tokens": 1, "system": format!("S{system}"), "messages": messages});
            known.of(&serde_json::from_value(request).unwrap(), &template).unwrap()
        };
        let first = prefix(0, "a");
        assert!(first.contains("S0") && Arc::ptr_eq(&first, &prefix(0, "b")));
        for system in 1..CAPACITY {
            assert!(prefix(system, "a").contains(&format!("S{system}")));
        }
        assert!(Arc::ptr_eq(&first, &prefix(0, "c")), "used again, it is the latest");
        prefix(CAPACITY, "a");
        assert!(Arc::ptr_eq(&first, &prefix(0, "d")));
        assert_eq!(known.0.lock().unwrap().len(), CAPACITY);
    }
}
