//! Converting a request that continues a text, and writing the answer.

use serde_json::{Map, Value};

use super::openai_common::{answer_id, is_of_the_engine, stop_sequences, top_k};
use super::{Omitted, logprobs, usage};
use crate::wire::openai::{Completion, CompletionChoice, CompletionPrompt, CompletionRequest, StreamOptions};
use crate::wire::{BlockDelta, ContentBlock, Message, MessagesRequest, StopReason, StreamEvent, Usage, Via};

/// OpenAI's limit where a request sets none.
const DEFAULT_MAX_TOKENS: u32 = 16;

/// Converts a request: the text, and the settings as a Messages request that has no messages. With them come the names of the
/// fields that have no counterpart.
///
/// # Errors
/// One sentence that names the field: it asks for something that is not supported.
pub fn from_completion(completion: CompletionRequest) -> Result<(String, MessagesRequest, Omitted), String> {
    let CompletionRequest { model, prompt, max_tokens, temperature, top_p, stop, stream, mut extra, .. } = completion;
    refuse(&mut extra)?;
    let text = text(prompt)?;
    let top_k = top_k(&mut extra)?;
    let top_logprobs = logprobs::asked_by_completion(&mut extra)?;
    let (known, unknown): (Map<_, _>, Map<_, _>) = extra.into_iter().partition(|(name, _)| is_of_the_engine(name));
    let mut omitted = Omitted::default();
    omitted.fields("", &unknown);
    let settings = MessagesRequest {
        model,
        messages: Vec::new(),
        system: None,
        tools: Vec::new(),
        tool_choice: None,
        max_tokens: max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
        temperature,
        top_p,
        top_k,
        stop_sequences: stop_sequences(stop),
        stream,
        top_logprobs,
        via: Via::default(),
        extra: known,
    };
    Ok((text, settings, omitted))
}

/// Takes out the fields that are not honoured and would change the answer's meaning; refuses them where they ask for something.
fn refuse(extra: &mut Map<String, Value>) -> Result<(), String> {
    let nothing = |field: &str, value: &Value| match field {
        "n" | "best_of" => *value == 1,
        "echo" => *value == false,
        "suffix" => *value == "",
        "logit_bias" => value.as_object().is_some_and(Map::is_empty),
        _ => false,
    };
    for field in ["n", "best_of", "echo", "suffix", "logit_bias"] {
        if extra.remove(field).is_some_and(|value| !value.is_null() && !nothing(field, &value)) {
            return Err(format!("{field}: not supported on /v1/completions"));
        }
    }
    Ok(())
}

/// The one text to continue.
fn text(prompt: CompletionPrompt) -> Result<String, String> {
    let text = match prompt {
        CompletionPrompt::Text(text) => text,
        CompletionPrompt::List(mut list) => match (list.len(), list.pop()) {
            (1, Some(Value::String(text))) => text,
            _ => return Err("prompt: one text is expected; several texts and tokens are not supported".into()),
        },
    };
    if text.is_empty() { Err("prompt: is empty: there is nothing to continue".into()) } else { Ok(text) }
}

/// Writes the answer to one request.
#[derive(Debug)]
pub struct CompletionWriter {
    /// Seconds since 1970.
    created: i64,
    include_usage: bool,
    id: String,
    model: String,
    usage: Usage,
    /// Characters of the text so far.
    length: usize,
}

impl CompletionWriter {
    /// A writer for an answer created at this time, in seconds since 1970.
    pub fn new(created: i64, options: &StreamOptions) -> Self {
        let include_usage = options.include_usage;
        Self { created, include_usage, id: String::new(), model: String::new(), usage: Usage::default(), length: 0 }
    }

    /// The whole answer that a message becomes.
    pub fn whole(mut self, message: &Message) -> Completion {
        self.start(message);
        let (mut text, mut tokens) = (String::new(), Vec::new());
        for block in &message.content {
            if let ContentBlock::Text { text: more, logprobs, .. } = block {
                text.push_str(more);
                tokens.extend_from_slice(logprobs);
            }
        }
        let finish_reason = Some(finish_reason(message.stop_reason.as_ref()));
        let choice = CompletionChoice { text, logprobs: logprobs::of_completion(&tokens, 0), finish_reason, index: 0 };
        let answer = self.chunk(vec![choice]);
        Completion { usage: Some(usage::to_chat(&self.usage)), ..answer }
    }

    /// The chunk for one event, if it has one. An error has none: it is not part of the answer.
    pub fn push(&mut self, event: &StreamEvent) -> Option<Completion> {
        match event {
            StreamEvent::MessageStart { message } => {
                self.start(message);
                None
            }
            StreamEvent::ContentBlockDelta { delta: BlockDelta::TextDelta { text, logprobs }, .. } => {
                let logprobs = logprobs::of_completion(logprobs, self.length);
                self.length += text.chars().count();
                Some(self.chunk(vec![CompletionChoice { text: text.clone(), logprobs, ..CompletionChoice::default() }]))
            }
            StreamEvent::MessageDelta { delta, usage, .. } => {
                self.usage.merge(usage);
                let finish_reason = Some(finish_reason(delta.stop_reason.as_ref()));
                Some(self.chunk(vec![CompletionChoice { finish_reason, ..CompletionChoice::default() }]))
            }
            StreamEvent::MessageStop if self.include_usage => {
                Some(Completion { usage: Some(usage::to_chat(&self.usage)), ..self.chunk(Vec::new()) })
            }
            _ => None,
        }
    }

    fn start(&mut self, message: &Message) {
        self.id = answer_id("cmpl-", &message.id);
        self.model.clone_from(&message.model);
        self.usage = message.usage.clone();
    }

    fn chunk(&self, choices: Vec<CompletionChoice>) -> Completion {
        let (id, model) = (self.id.clone(), self.model.clone());
        Completion { id, object: "text_completion", created: self.created, model, choices, usage: None }
    }
}

fn finish_reason(reason: Option<&StopReason>) -> &'static str {
    if reason.is_some_and(StopReason::cuts) { "length" } else { "stop" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn convert(completion: Value) -> Result<(String, MessagesRequest, Omitted), String> {
        from_completion(serde_json::from_value(completion).unwrap())
    }

    #[test]
    fn the_text_and_its_settings_are_kept_apart() {
        let (text, settings, omitted) = convert(json!({"model": "m", "prompt": ["fn main"], "stop": "\n\n", "seed": 7, "top_k": 5,
            "temperature": 0.0, "n": 1, "best_of": 1, "echo": false, "suffix": null, "logprobs": null, "logit_bias": {}, "user": "ann"}))
        .unwrap();
        assert_eq!((text.as_str(), omitted.to_string().as_str()), ("fn main", ""));
        assert_eq!((settings.max_tokens, settings.top_k, &settings.extra["seed"]), (16, Some(5), &json!(7)));
        assert_eq!((settings.stop_sequences, settings.messages), (vec!["\n\n".to_owned()], vec![]));
    }

    #[test]
    fn without_a_limit_it_is_openais_and_with_minus_one_there_is_none() {
        let limit = |limit: Value| convert(json!({"prompt": "a", "max_tokens": limit})).unwrap().1.max_tokens;
        let limits = [json!(null), json!(0), json!(7), json!(-1)].map(limit);
        assert_eq!(limits, [DEFAULT_MAX_TOKENS, 0, 7, MessagesRequest::AS_MANY_AS_FIT]);
        let refused = serde_json::from_value::<CompletionRequest>(json!({"prompt": "a", "max_tokens": -2}));
        assert_eq!(refused.unwrap_err().to_string(), "-2 is not a number of tokens");
    }

    #[test]
    fn what_is_not_done_here_is_refused_by_its_field() {
        let refused = [
            json!({"prompt": ""}),
            json!({"prompt": ["a", "b"]}),
            json!({"prompt": [1, 2]}),
            json!({"prompt": "a", "n": 2}),
            json!({"prompt": "a", "best_of": 2}),
            json!({"prompt": "a", "echo": true}),
            json!({"prompt": "a", "suffix": "}"}),
            json!({"prompt": "a", "logprobs": 6}),
            json!({"prompt": "a", "logit_bias": {"7": 1}}),
        ];
        let reasons = refused.map(|body| convert(body).unwrap_err());
        insta::assert_snapshot!(reasons.join("\n"), @"
        prompt: is empty: there is nothing to continue
        prompt: one text is expected; several texts and tokens are not supported
        prompt: one text is expected; several texts and tokens are not supported
        n: not supported on /v1/completions
        best_of: not supported on /v1/completions
        echo: not supported on /v1/completions
        suffix: not supported on /v1/completions
        logprobs: 6 is not a whole number from 0 to 5
        logit_bias: not supported on /v1/completions
        ");
    }
}
