//! The prompts of trace files.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::head::Head;
use crate::trace::{Outline, Prompt, PromptItem, Trace, TraceError, of_system_text, read, read_messages_request};
use crate::wire::{MessagesRequest, System};

/// The most cache breakpoints that a request may have.
const MOST_BREAKPOINTS: usize = 4;

/// What a trace is for the figures.
pub(super) enum Counted {
    Prompt(Prompt),
    /// A request that no server takes.
    Not(Uncounted),
    /// A request to another route, which has no answer that a prefix cache would speed up.
    Other,
}

/// A request that is not counted.
#[derive(Serialize)]
pub(super) struct Uncounted {
    pub request: String,
    pub reason: String,
}

/// The prompt of a trace, from what the traces before did not have.
///
/// # Errors
/// The trace cannot be read.
pub(super) fn counted(file: &Path, outline: Result<Outline<PromptItem, Head>, TraceError>) -> Result<Counted, TraceError> {
    let outline = outline?;
    if !outline.trace.is_messages() {
        return Ok(Counted::Other);
    }
    match prompt(outline) {
        Some(prompt) => Ok(Counted::Prompt(prompt)),
        // Looked at as a whole, it may be right; if not, the reason shows.
        None => Ok(match request_of(&read(file)?) {
            Ok((name, request)) => Counted::Prompt(Prompt { name, items: vec![Arc::new(PromptItem::of_request(&request))] }),
            Err(uncounted) => Counted::Not(uncounted),
        }),
    }
}

/// The request of a trace under its name.
///
/// # Errors
/// It is one that no server takes.
pub(super) fn request_of(trace: &Trace) -> Result<(String, MessagesRequest), Uncounted> {
    let name = name_of(&trace.session, trace.seq);
    match read_messages_request(&trace.request.body) {
        Ok(request) => Ok((name, request)),
        Err(fault) => Err(Uncounted { request: name, reason: format!("request.body{fault}") }),
    }
}

fn name_of(session: &str, seq: u32) -> String {
    format!("{session}/{seq:04}")
}

/// The prompt of a request that is surely right; `None` if it must be looked at as a whole to know.
fn prompt(Outline { trace, lists }: Outline<PromptItem, Head>) -> Option<Prompt> {
    let Head { session, seq, request, .. } = trace;
    let mut body = request.body;
    // What is not in the lists is right if it is with a message of which that is known.
    *body.get_mut("messages")? = json!([{"role": "user", "content": "-"}]);
    let system = match read_messages_request(&body).ok()?.system {
        Some(System::Text(text)) => of_system_text(&text),
        _ => None,
    };
    let system = system.map(|part| Arc::new(PromptItem { parts: vec![part], is_sound: true, breakpoints: 0 }));
    let of = |name: &str| lists.iter().find(|list| list.name == name).map_or(&[][..], |list| &list.items);
    let items: Vec<Arc<PromptItem>> =
        of("tools").iter().chain(&system).chain(of("system")).chain(of("messages")).cloned().collect();
    let mut labels = HashSet::new();
    let is_named_once = of("tools").iter().flat_map(|tool| &tool.parts).all(|part| labels.insert(&*part.label));
    let breakpoints: usize = items.iter().map(|item| item.breakpoints).sum();
    let ends_with_assistant = of("messages").last()?.parts.first().is_none_or(|part| part.label.contains("(assistant)"));
    let is_right = is_named_once && breakpoints <= MOST_BREAKPOINTS && !ends_with_assistant;
    (is_right && items.iter().all(|item| item.is_sound)).then(|| Prompt { name: name_of(&session, seq), items })
}
