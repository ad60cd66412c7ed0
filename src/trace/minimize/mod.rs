//! Shrinks a request to the smallest one that still shows what somebody looks for: what to attach to a bug report.
//!
//! Parts are left out, stage by stage, as long as a test says that the rest still shows it: turns, tools, fields, content blocks,
//! texts, schemas. Each stage is delta debugging; all are repeated until nothing more can go.

mod cut;
mod delta;
mod sound;

use serde_json::Value;

use self::cut::{Cut, STAGES};
use self::delta::smallest;
use self::sound::is_sound;

/// What was tried so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being left out.
    pub stage: &'static str,
    /// Requests tested.
    pub tests: usize,
    /// The size of the smallest request so far, in bytes of JSON.
    pub bytes: usize,
}

/// The outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimized {
    /// The smallest request found, which shows what was looked for.
    pub body: Value,
    /// Requests tested.
    pub tests: usize,
    /// Whether more would have been tried, had there been more tests.
    pub is_cut_short: bool,
}

/// Shrinks a request's body. `shows` tests a candidate, which is well-formed: roles and results of tool calls are in order. It is
/// called at most `budget` times; its first error ends the search.
pub fn minimize<E>(
    body: Value,
    budget: usize,
    mut shows: impl FnMut(&Value, Progress) -> Result<bool, E>,
) -> Result<Minimized, E> {
    let (mut bytes, mut best, mut tests, mut is_cut_short) = (size(&body), body, 0, false);
    loop {
        let before = bytes;
        for stage in STAGES {
            let parts = (stage.cuts)(&best);
            let (whole, most) = (best.clone(), bytes);
            let gone = smallest(parts.len(), |gone| {
                let candidate = Cut::apply(parts.iter().zip(gone).filter(|(_, gone)| **gone).map(|(cut, _)| cut), &whole);
                if !is_sound(&candidate) {
                    return Ok(false);
                }
                let candidate_bytes = size(&candidate);
                if candidate_bytes >= most {
                    return Ok(false);
                }
                if tests >= budget {
                    is_cut_short = true;
                    return Ok(false);
                }
                tests += 1;
                let shown = shows(&candidate, Progress { stage: stage.name, tests, bytes })?;
                if shown {
                    best = candidate;
                    bytes = candidate_bytes;
                }
                Ok(shown)
            });
            gone?;
        }
        if bytes == before || is_cut_short {
            return Ok(Minimized { body: best, tests, is_cut_short });
        }
    }
}

/// In bytes of JSON.
fn size(body: &Value) -> usize {
    body.to_string().len()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;

    fn request() -> Value {
        let tool = |name: &str| {
            json!({"name": name, "description": "Does much.", "input_schema": {
                "type": "object", "required": ["path"],
                "properties": {"path": {"type": "string", "description": "Where"}, "limit": {"type": "integer"}}
            }})
        };
        let call = |id: &str| {
            json!({"role": "assistant", "content": [{"type": "text", "text": "I see."},
            {"type": "tool_use", "id": id, "name": "Read", "input": {"path": id}}]})
        };
        let result = |id: &str, text: &str| json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": text}]});
        json!({
            "model": "m", "max_tokens": 100, "stream": true, "temperature": 1,
            "system": [{"type": "text", "text": "You are.\nBe brief.\nNever lie."}],
            "tools": [tool("Bash"), tool("Read"), tool("Write")],
            "messages": [
                {"role": "user", "content": "First question"}, call("a"), result("a", "one\ntwo\nthree"),
                {"role": "assistant", "content": "An answer."},
                {"role": "user", "content": [{"type": "text", "text": "Read b"}]}, call("b"), result("b", "four\nbeware\nsix"),
            ],
        })
    }

    fn minimized(budget: usize, shows: impl Fn(&Value) -> bool) -> Minimized {
        minimize(request(), budget, |body, _| Ok::<_, Infallible>(shows(body))).unwrap()
    }

    #[test]
    fn what_does_not_matter_goes_and_calls_keep_their_results() {
        let found = minimized(10_000, |body| {
            let text = body.to_string();
            text.contains("beware") && text.contains("Write") && body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
        });
        assert!(!found.is_cut_short && found.tests < 300, "{found:?}");
        assert_eq!(
            found.body,
            json!({
                "model": "m", "max_tokens": 100,
                "tools": [{"name": "Write", "input_schema": {"type": "object"}}],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Read "}]},
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "b", "name": "Read", "input": {}}]},
                    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "b", "content": "beware\n"}]},
                ],
            })
        );
    }

    #[test]
    fn the_budget_is_kept_and_what_it_found_is_the_outcome() {
        let found = minimized(5, |body| body.to_string().contains("beware"));
        assert!(found.is_cut_short && found.tests == 5);
        assert!(found.body.to_string().contains("beware") && size(&found.body) < size(&request()));
    }

    #[test]
    fn a_request_of_which_all_matters_stays() {
        let found = minimized(1000, |_| false);
        assert_eq!((found.body, found.is_cut_short), (request(), false));
    }

    #[test]
    fn an_error_of_the_test_ends_the_search() {
        assert_eq!(minimize(request(), 100, |_, _| Err("broken")), Err("broken"));
    }
}
