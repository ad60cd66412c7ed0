//! ATIF, the Agent Trajectory Interchange Format: a conversation as the steps of system, user and agent, with tool calls and
//! their results. Harbor and its evaluations, among others, read it.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use super::exporter::{CountTokens, Exchanges, Exporter, Frame};
use crate::trace::{Digest, ExchangeOutcome, Trace, came_at, conversation_opening, digest, messages_request, recorded_message};
use crate::wire::{Content, ContentBlock, InputMessage, Message, Role, System, without_billing_header};

/// The exporter.
pub(super) struct Atif;

/// The format's version.
const VERSION: &str = "ATIF-v1.7";

impl Exporter for Atif {
    fn name(&self) -> &'static str {
        "atif"
    }

    fn title(&self) -> &'static str {
        "ATIF, the steps of each conversation as a line"
    }

    fn frame(&self) -> Frame {
        Frame::LINES
    }

    fn leaves_out(&self) -> &'static str {
        "have no whole answer in Anthropic's protocol"
    }

    fn begin<'a>(&'a self, _: &'a CountTokens<'a>) -> Box<dyn Exchanges + 'a> {
        Box::new(Conversations::default())
    }
}

/// The conversations so far, in the order in which they began.
#[derive(Default)]
struct Conversations {
    all: Vec<Trajectory>,
    /// Those that open alike: a client may go back and ask otherwise, or ask the same again.
    known: HashMap<String, Vec<usize>>,
}

/// A conversation as steps.
struct Trajectory {
    session: String,
    name: String,
    /// The client and its version.
    agent: Value,
    steps: Vec<Value>,
    /// What the messages in the steps say, the last answer too.
    said: Vec<Said>,
    prompt_tokens: u64,
    completion_tokens: u64,
    cached_tokens: u64,
}

/// What a message says, as far as steps have it.
#[derive(PartialEq)]
struct Said {
    role: Role,
    digest: Digest,
}

impl Exchanges for Conversations {
    fn take(&mut self, trace: &Trace) -> Option<Vec<Value>> {
        let request = messages_request(trace)?;
        let answer = recorded_message(trace).filter(|_| trace.outcome == ExchangeOutcome::Complete)?;
        let mut said: Vec<Said> =
            request.messages.iter().map(|message| Said::of(message.role, &blocks_of(&message.content))).collect();
        let alike = self.known.entry(json!([trace.session, conversation_opening(trace)]).to_string()).or_default();
        let goes_on = alike.iter().copied().filter(|nth| self.all[*nth].goes_on_with(&said));
        let nth = goes_on.max_by_key(|nth| common(&self.all[*nth].said, &said)).unwrap_or_else(|| {
            self.all.push(Trajectory::begun(trace, request.system.as_ref()));
            alike.push(self.all.len() - 1);
            self.all.len() - 1
        });
        let trajectory = &mut self.all[nth];
        for message in request.messages.iter().skip(trajectory.said.len()) {
            trajectory.add_message(message, &trace.recorded_at);
        }
        trajectory.add_answer(trace, &answer);
        said.push(Said::of(Role::Assistant, &answer.content));
        trajectory.said = said;
        Some(Vec::new())
    }

    fn rest(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.all).into_iter().map(Trajectory::into_value).collect()
    }
}

impl Trajectory {
    fn begun(trace: &Trace, system: Option<&System>) -> Self {
        let (name, version) = trace.client.split_once('/').unwrap_or((&trace.client, "unknown"));
        let version = version.split(' ').next().unwrap_or(version);
        let mut trajectory = Self {
            session: trace.session.clone(),
            name: format!("{}/{:04}", trace.session, trace.seq),
            agent: json!({"name": name, "version": version, "model_name": trace.request.body["model"]}),
            steps: Vec::new(),
            said: Vec::new(),
            prompt_tokens: 0,
            completion_tokens: 0,
            cached_tokens: 0,
        };
        let text = match system {
            None => String::new(),
            Some(System::Text(text)) => text.clone(),
            Some(System::Blocks(blocks)) => texts(blocks),
        };
        if let Some(text) = without_billing_header(&text).filter(|text| !text.is_empty()) {
            trajectory.push("system", &trace.recorded_at, json!({ "message": text }));
        }
        trajectory
    }

    /// Whether a request that says this goes on behind the last answer: it has that one in its place, or another one behind what
    /// was asked then. Clients cut the results of tools that are old, and change answers when they go on with a session.
    fn goes_on_with(&self, said: &[Said]) -> bool {
        let Some((answer, asked)) = self.said.split_last() else { return false };
        let Some(there) = said.get(asked.len()).filter(|there| there.role == Role::Assistant) else { return false };
        let are_answers = |one: &Said, other: &Said| one.role == Role::Assistant && other.role == Role::Assistant;
        there == answer || asked.iter().zip(said).all(|(one, other)| one == other || are_answers(one, other))
    }

    fn push(&mut self, source: &str, timestamp: &str, more: Value) {
        let mut step = json!({"step_id": self.steps.len() + 1, "timestamp": timestamp, "source": source});
        if let (Some(step), Value::Object(more)) = (step.as_object_mut(), more) {
            step.extend(more);
        }
        self.steps.push(step);
    }

    /// A message that the client sent: results go to the step that called, all else is a step of its own.
    fn add_message(&mut self, message: &InputMessage, timestamp: &str) {
        let blocks = blocks_of(&message.content);
        let source = match message.role {
            Role::Assistant => return self.push("agent", timestamp, said(&blocks)),
            Role::User => "user",
            Role::System => "system",
        };
        let mut left = Vec::new();
        for block in blocks.iter() {
            let ContentBlock::ToolResult { tool_use_id, content, .. } = block else {
                left.push(block.clone());
                continue;
            };
            let text = content.as_ref().map(text_of).unwrap_or_default();
            if !self.add_result(tool_use_id, &text) {
                left.push(ContentBlock::text(text));
            }
        }
        let text = texts(&left);
        if !text.is_empty() {
            self.push(source, timestamp, json!({ "message": text }));
        }
    }

    /// Whether a step has called so.
    fn add_result(&mut self, id: &str, text: &str) -> bool {
        let calls =
            |step: &Value| step["tool_calls"].as_array().is_some_and(|calls| calls.iter().any(|c| c["tool_call_id"] == id));
        let Some(step) = self.steps.iter_mut().rev().find(|step| calls(step)) else { return false };
        let result = json!({"source_call_id": id, "content": text});
        match step["observation"]["results"].as_array_mut() {
            Some(results) => results.push(result),
            None => step["observation"] = json!({ "results": [result] }),
        }
        true
    }

    fn add_answer(&mut self, trace: &Trace, answer: &Message) {
        let usage = &answer.usage;
        let (prompt, cached) = (usage.prompt_tokens(), usage.cache_read_input_tokens.unwrap_or_default());
        let is_counted = |field: &str| trace.response.body["usage"][field].is_u64();
        let took = Duration::microseconds(trace.timing.e2e_us.and_then(|us| us.try_into().ok()).unwrap_or(0));
        let ended = came_at(trace).map(|came| came.saturating_add(took)).and_then(|ended| ended.format(&Rfc3339).ok());
        let mut step = said(&answer.content);
        step["model_name"] = json!(answer.model);
        if is_counted("input_tokens") && is_counted("output_tokens") {
            step["metrics"] = json!({"prompt_tokens": prompt, "completion_tokens": usage.output_tokens, "cached_tokens": cached});
        }
        self.push("agent", ended.as_deref().unwrap_or(&trace.recorded_at), step);
        self.prompt_tokens = self.prompt_tokens.saturating_add(prompt);
        self.completion_tokens = self.completion_tokens.saturating_add(usage.output_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(cached);
    }

    fn into_value(self) -> Value {
        json!({
            "schema_version": VERSION,
            "session_id": self.session,
            "trajectory_id": self.name,
            "agent": self.agent,
            "final_metrics": {
                "total_prompt_tokens": self.prompt_tokens,
                "total_completion_tokens": self.completion_tokens,
                "total_cached_tokens": self.cached_tokens,
                "total_steps": self.steps.len(),
            },
            "steps": self.steps,
        })
    }
}

impl Said {
    /// Of a message. Thoughts do not count, which clients leave out later, nor arguments, to which they add defaults.
    fn of(role: Role, blocks: &[ContentBlock]) -> Self {
        let one = |block: &ContentBlock| match block {
            ContentBlock::ToolUse { id, name, .. } => Some(json!([id, name])),
            ContentBlock::ToolResult { tool_use_id, content, .. } => Some(json!([tool_use_id, content.as_ref().map(text_of)])),
            _ => None,
        };
        let calls: Vec<Value> = blocks.iter().filter_map(one).collect();
        Self { role, digest: digest(&json!([texts(blocks).trim(), calls])) }
    }
}

/// How many messages two conversations begin with alike.
fn common(one: &[Said], other: &[Said]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// A message's content, of which a text is one block.
fn blocks_of(content: &Content) -> Cow<'_, [ContentBlock]> {
    match content {
        Content::Text(text) => Cow::Owned(vec![ContentBlock::text(text.clone())]),
        Content::Blocks(blocks) => Cow::Borrowed(blocks),
    }
}

/// What an agent said: its text, its thoughts and its calls.
fn said(blocks: &[ContentBlock]) -> Value {
    let mut step = json!({ "message": texts(blocks) });
    let thoughts: Vec<&str> = blocks
        .iter()
        .filter_map(|block| match block {
            ContentBlock::Thinking { thinking, .. } => Some(thinking.as_str()),
            _ => None,
        })
        .collect();
    if !thoughts.is_empty() {
        step["reasoning_content"] = json!(thoughts.join("\n"));
    }
    let calls: Vec<Value> = blocks
        .iter()
        .filter_map(|block| match block {
            ContentBlock::ToolUse { id, name, input, .. } => {
                // The format has objects only.
                let arguments = if input.is_object() { input.clone() } else { Value::Object(Map::new()) };
                Some(json!({"tool_call_id": id, "function_name": name, "arguments": arguments}))
            }
            _ => None,
        })
        .collect();
    if !calls.is_empty() {
        step["tool_calls"] = json!(calls);
    }
    step
}

fn text_of(content: &Content) -> String {
    match content {
        Content::Text(text) => text.clone(),
        Content::Blocks(blocks) => texts(blocks),
    }
}

fn texts(blocks: &[ContentBlock]) -> String {
    let text = |block: &ContentBlock| match block {
        ContentBlock::Text { text, .. } => Some(text.clone()),
        _ => None,
    };
    blocks.iter().filter_map(text).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange in which this was asked, by turns with what was answered, and then this was answered.
    fn trace(nth: u32, said: &[&str], answer: &str) -> Trace {
        let roles = ["user", "assistant"].into_iter().cycle();
        let messages: Vec<Value> = said.iter().zip(roles).map(|(text, role)| json!({"role": role, "content": text})).collect();
        let body = json!({"model": "m", "max_tokens": 9, "tools": [{"name": "Read", "input_schema": {"type": "object"}}], "messages": messages});
        let usage = json!({"input_tokens": 1, "output_tokens": 1});
        let answer = json!({"id": format!("msg_{nth}"), "type": "message", "role": "assistant", "model": "m", "usage": usage,
            "content": [{"type": "text", "text": answer}], "stop_reason": "end_turn", "stop_sequence": null});
        let trace = json!({
            "version": 1, "id": nth.to_string(), "session": "s", "seq": nth, "recorded_at": format!("2026-01-02T03:04:{nth:02}Z"),
            "client": "c/1", "mode": "m", "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": body},
            "response": {"status": 200, "headers": {}, "events": [], "body": answer},
            "timing": {"ttft_us": null, "e2e_us": 1, "itl_us": null}, "outcome": "complete",
        });
        serde_json::from_value(trace).unwrap()
    }

    /// What the steps of each trajectory say.
    fn trajectories(traces: &[Trace]) -> Vec<String> {
        let mut conversations = Conversations::default();
        for trace in traces {
            assert_eq!(conversations.take(trace), Some(Vec::new()));
        }
        let said = |trajectory: Value| {
            let steps = trajectory["steps"].as_array().unwrap().iter();
            steps.map(|step| step["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        conversations.rest().into_iter().map(said).collect()
    }

    #[test]
    fn who_goes_back_and_asks_otherwise_begins_another_trajectory() {
        let traces = [
            trace(1, &["u1"], "a1"),
            trace(2, &["u1", "a1", "u2"], "a2"),
            // Back, and otherwise; then on in each of the two.
            trace(3, &["u1", "a1", "v2"], "b2"),
            trace(4, &["u1", "a1", "v2", "b2", "v3"], "b3"),
            trace(5, &["u1", "a1", "u2", "a2", "u3"], "a3"),
        ];
        assert_eq!(trajectories(&traces), ["u1 a1 u2 a2 u3 a3", "u1 a1 v2 b2 v3 b3"]);
    }

    #[test]
    fn the_same_asked_again_has_an_answer_of_its_own() {
        let again = [trace(1, &["u1"], "a1"), trace(2, &["u1"], "b1"), trace(3, &["u1", "b1", "u2"], "b2")];
        assert_eq!(trajectories(&again), ["u1 a1", "u1 b1 u2 b2"]);
        // Where both answers say the same, the conversation goes on from the one with which it has more in common.
        let alike = [
            trace(1, &["u1"], "a1"),
            trace(2, &["u1", "a1", "u2"], "OK"),
            trace(3, &["u1", "a1", "v2"], "OK"),
            trace(4, &["u1", "a1", "u2", "OK", "u3"], "a3"),
        ];
        assert_eq!(trajectories(&alike), ["u1 a1 u2 OK u3 a3", "u1 a1 v2 OK"]);
    }

    #[test]
    fn what_is_changed_later_stays_as_it_came_first() {
        let traces = [trace(1, &["u1", "a1", "long"], "a2"), trace(2, &["u1", "a1", "cut", " a2\n", "u3"], "a3")];
        assert_eq!(trajectories(&traces), ["u1 a1 long a2 u3 a3"]);
        let traces = [trace(1, &["u1", "a1", "u2"], "a2"), trace(2, &["u1", "a1", "u2", "nothing", "u3"], "a3")];
        assert_eq!(trajectories(&traces), ["u1 a1 u2 a2 u3 a3"]);
    }

    #[test]
    fn tokens_that_were_not_counted_are_no_figure() {
        let mut uncounted = trace(1, &["u1"], "a1");
        uncounted.response.body["usage"] = json!({"input_tokens": 1});
        let mut conversations = Conversations::default();
        conversations.take(&uncounted).unwrap();
        assert_eq!(conversations.rest()[0]["steps"][1].get("metrics"), None);
    }
}
