//! ATIF, the Agent Trajectory Interchange Format: a conversation as the steps of system, user and agent, with tool calls and their
//! results. Harbor and its evaluations, among others, read it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use time::Duration;
use time::format_description::well_known::Rfc3339;

use super::exporter::{CountTokens, Exchanges, ExportExchange, Exporter, Frame};
use crate::trace::{ExchangeOutcome, Trace};
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

    fn begin<'a>(&'a self, _: &'a CountTokens<'a>) -> ExportExchange<'a> {
        Box::new(Conversations::default())
    }
}

/// The conversations so far, in the order in which they began.
#[derive(Default)]
struct Conversations {
    all: Vec<Trajectory>,
    known: HashMap<String, usize>,
}

/// A conversation as steps.
struct Trajectory {
    session: String,
    name: String,
    /// The client and its version.
    agent: Value,
    steps: Vec<Value>,
    /// How many messages of the next request are in the steps already.
    seen: usize,
    prompt_tokens: u64,
    completion_tokens: u64,
    cached_tokens: u64,
}

impl Exchanges for Conversations {
    fn take(&mut self, trace: &Trace) -> Option<Vec<Value>> {
        let request = trace.messages_request()?;
        let answer = trace.message().filter(|_| trace.outcome == ExchangeOutcome::Complete)?;
        let first = text_of(&request.messages.first()?.content);
        let agent = trace.request.headers.get("x-claude-code-agent-id");
        // What a client asks beside a conversation, such as its title, has no tools.
        let key = json!([trace.session, agent, request.tools.is_empty(), first]).to_string();
        let nth = *self.known.entry(key).or_insert_with(|| {
            self.all.push(Trajectory::begun(trace, request.system.as_ref()));
            self.all.len() - 1
        });
        let trajectory = &mut self.all[nth];
        for message in request.messages.iter().skip(trajectory.seen) {
            trajectory.add_message(message, &trace.recorded_at);
        }
        trajectory.add_answer(trace, &answer);
        trajectory.seen = request.messages.len() + 1;
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
            seen: 0,
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

    fn push(&mut self, source: &str, timestamp: &str, more: Value) {
        let mut step = json!({"step_id": self.steps.len() + 1, "timestamp": timestamp, "source": source});
        if let (Some(step), Value::Object(more)) = (step.as_object_mut(), more) {
            step.extend(more);
        }
        self.steps.push(step);
    }

    /// A message that the client sent: results go to the step that called, all else is a step of its own.
    fn add_message(&mut self, message: &InputMessage, timestamp: &str) {
        let text_alone;
        let blocks = match &message.content {
            Content::Text(text) => {
                text_alone = [ContentBlock::text(text.clone())];
                &text_alone[..]
            }
            Content::Blocks(blocks) => blocks,
        };
        let source = match message.role {
            Role::Assistant => return self.push("agent", timestamp, said(blocks)),
            Role::User => "user",
            Role::System => "system",
        };
        let mut left = Vec::new();
        for block in blocks {
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
        let (usage, body) = (&answer.usage, &trace.response.body["usage"]);
        let cached = body["cache_read_input_tokens"].as_u64().unwrap_or_default();
        let written = body["cache_creation_input_tokens"].as_u64().unwrap_or_default();
        let prompt = body["input_tokens"].as_u64().unwrap_or_default().saturating_add(cached).saturating_add(written);
        let took = Duration::microseconds(trace.timing.e2e_us.and_then(|us| us.try_into().ok()).unwrap_or(0));
        let ended = trace.came_at().map(|came| came.saturating_add(took)).and_then(|ended| ended.format(&Rfc3339).ok());
        let mut step = said(&answer.content);
        step["model_name"] = json!(answer.model);
        step["metrics"] = json!({"prompt_tokens": prompt, "completion_tokens": usage.output_tokens, "cached_tokens": cached});
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
