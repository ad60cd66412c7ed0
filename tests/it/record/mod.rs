//! `anyclaude record`: what the client gets, and what lies on the disk, whatever upstream and client do.

mod child;
mod faults;
mod pages;
mod proxying;
mod readable;
mod secret_matrix;
mod secrets;
mod service;
mod stop;
mod stream;
mod terminal;
mod tls;
mod ui;

use std::fs;
use std::path::Path;

use anyclaude::trace::redact::Redactor;
use anyclaude::trace::{Trace, validate};

use crate::support::deadline::until;
use crate::support::upstream::{Upstream, frames};

/// An upstream that answers with all frames, cut into chunks of `size` bytes.
fn streaming(size: usize) -> Upstream {
    Upstream::start(move |_, answer| {
        answer.stream()?;
        frames().concat().as_bytes().chunks(size).try_for_each(|chunk| answer.chunk(chunk))?;
        answer.end()
    })
}

fn event_names(trace: &Trace) -> Vec<&str> {
    trace.response.events.iter().map(|event| event.event.as_str()).collect()
}

/// What is wrong with a trace.
fn problems_of(trace: &Trace) -> Vec<String> {
    validate::problems_of(trace, &Redactor::default())
}

/// Waits until a file holds `text`: the writer's thread runs beside the stream.
fn wait_for_text(file: &Path, text: &str) {
    let holds = || fs::read_to_string(file).is_ok_and(|content| content.contains(text)).then_some(());
    until(format!("{text:?} in {}", file.display()), holds);
}
