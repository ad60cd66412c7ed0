//! `anyclaude trace show`: one exchange for people to read.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::style;
use serde_json::Value;

use super::folder::or_default;
use super::success_unless;
use crate::cli::text::{self, grouped};
use crate::cli::{CliError, print};
use crate::trace::{SpelledText, Trace, find, read, spelled_texts, streamed_arguments};
use crate::wire::from_json;

/// Writes a part of a trace.
type Section = fn(&mut String, &Trace) -> std::fmt::Result;

/// Prints the traces that can be read, or the newest one if none is named; the others are an error at the end. `content` writes
/// what comes below a trace's heading.
pub(super) fn run(paths: Vec<PathBuf>, content: Section) -> Result<ExitCode, CliError> {
    let is_any = paths.is_empty();
    let mut files = find(&or_default(paths)?)?;
    if is_any {
        files = newest(files).into_iter().collect();
    }
    let mut errors = Vec::new();
    for file in files {
        let trace = match read(&file) {
            Ok(trace) => trace,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let mut out = String::new();
        // Writing to a string cannot fail.
        heading(&mut out, &file, &trace).and_then(|()| content(&mut out, &trace)).map_err(CliError::backend)?;
        print(&out)?;
    }
    success_unless(errors)
}

fn newest(files: Vec<PathBuf>) -> Option<PathBuf> {
    let written = |file: &PathBuf| file.metadata().and_then(|metadata| metadata.modified()).ok();
    files.into_iter().max_by_key(written)
}

fn heading(out: &mut String, file: &Path, trace: &Trace) -> std::fmt::Result {
    writeln!(out, "{}", style(file.display()).bold())?;
    let Trace { session, seq, recorded_at, client, request, response, .. } = trace;
    writeln!(out, "session {session} #{seq}, {recorded_at}, {client}")?;
    writeln!(out, "{} {} → {} {}", request.method, request.path, response.status, trace.outcome.name())
}

/// The whole exchange: the request in outline, the last turn, the figures.
pub(super) fn exchange(out: &mut String, trace: &Trace) -> std::fmt::Result {
    request_outline(out, &trace.request.body)?;
    turn_and_answer(out, trace)?;
    figures(out, trace)?;
    writeln!(out)
}

/// Only the last user turn and the answer to it.
pub(super) fn last_turn(out: &mut String, trace: &Trace) -> std::fmt::Result {
    turn_and_answer(out, trace)?;
    writeln!(out)
}

fn turn_and_answer(out: &mut String, trace: &Trace) -> std::fmt::Result {
    section(out, "last user turn", &last_user_turn(&trace.request.body))?;
    section(out, "answer", &answer(trace))
}

fn request_outline(out: &mut String, body: &Value) -> std::fmt::Result {
    let Some(model) = body["model"].as_str() else { return Ok(()) };
    let max_tokens = body["max_tokens"].as_u64().map_or_else(String::new, |n| format!(", max_tokens {}", grouped(n)));
    let stream = if body["stream"] == true { ", stream" } else { "" };
    writeln!(out, "\n{}", style("request").bold())?;
    writeln!(out, "  model     {model}{max_tokens}{stream}")?;
    if let Some(system) = body.get("system") {
        let blocks = system.as_array().map_or(1, Vec::len);
        let blocks = text::count(blocks, "block");
        writeln!(out, "  system    {blocks}, {} characters", grouped(characters(system)))?;
    }
    if let Some(tools) = body["tools"].as_array() {
        let name = |tool: &'_ Value| tool["name"].as_str().or(tool["function"]["name"].as_str()).map(str::to_owned);
        let names: Vec<String> = tools.iter().filter_map(name).collect();
        let size = grouped(body["tools"].to_string().chars().count() as u64);
        writeln!(out, "  tools     {}, {size} characters: {}", names.len(), names.join(" "))?;
    }
    if let Some(messages) = body["messages"].as_array() {
        let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
        let size = grouped(messages.iter().map(|message| characters(&message["content"])).sum());
        writeln!(out, "  messages  {}, {size} characters: {}", roles.len(), roles.join(" "))?;
    }
    Ok(())
}

fn figures(out: &mut String, trace: &Trace) -> std::fmt::Result {
    let body = &trace.response.body;
    writeln!(out)?;
    if let Some(reason) = body["stop_reason"].as_str() {
        writeln!(out, "{}  {reason}", style("stop reason").bold())?;
    }
    if let Some(usage) = body["usage"].as_object() {
        let counts: Vec<String> =
            usage.iter().filter_map(|(name, count)| Some(format!("{name} {}", grouped(count.as_u64()?)))).collect();
        writeln!(out, "{}  {}", style("usage      ").bold(), counts.join(", "))?;
    }
    let timing = &trace.timing;
    let itl = timing.itl_us.as_ref().map_or_else(String::new, |itl| {
        format!(", itl p50 {}, p90 {}, p99 {}", text::duration(itl.p50), text::duration(itl.p90), text::duration(itl.p99))
    });
    let (ttft, e2e) = (text::maybe_duration(timing.ttft_us), text::maybe_duration(timing.e2e_us));
    writeln!(out, "{}  ttft {ttft}, e2e {e2e}{itl}, {} events", style("timing     ").bold(), trace.response.events.len())
}

fn section(out: &mut String, title: &str, content: &str) -> std::fmt::Result {
    if content.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", style(title).bold())?;
    content.lines().try_for_each(|line| writeln!(out, "{}", format!("  {line}").trim_end()))
}

/// The last message with the role of the user, tool results included. Requests of other protocols may be a text.
fn last_user_turn(body: &Value) -> String {
    if let Some(text) = ["input", "prompt"].iter().find_map(|field| body[field].as_str()) {
        return text.to_owned();
    }
    let messages = ["messages", "input"].iter().find_map(|field| body[field].as_array()).map_or(&[][..], Vec::as_slice);
    messages.iter().rev().find(|message| message["role"] == "user").map_or_else(String::new, |turn| content(&turn["content"]))
}

fn answer(trace: &Trace) -> String {
    match &trace.response.body {
        Value::Null => texts(trace),
        Value::String(text) => text.clone(),
        body if body["content"].is_array() => message(trace),
        body => [vec![pretty(body)], broken_calls(body)].concat().join("\n"),
    }
}

/// The calls of a whole answer in OpenAI's protocols whose arguments are broken, a line each.
fn broken_calls(body: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut calls = Vec::new();
    for (at, choice) in list(&body["choices"]).iter().enumerate() {
        let called = list(&choice["message"]["tool_calls"]);
        let called = called.iter().enumerate().map(|(call, fields)| (format!("choices[{at}] call {call}"), &fields["function"]));
        calls.extend(called.map(|(name, function)| (name, function["arguments"].clone())));
    }
    let items = list(&body["output"]);
    let called = items.iter().enumerate().filter(|(_, item)| item["type"] == "function_call");
    calls.extend(called.map(|(at, item)| (format!("output[{at}]"), item["arguments"].clone())));
    let broken = calls.into_iter().filter_map(|(name, spelled)| {
        let text = spelled.as_str().filter(|text| !text.trim().is_empty())?;
        let spelled = read_arguments(text);
        (!spelled.is_object()).then(|| format!("{} {}", style(name).cyan(), arguments(&spelled)))
    });
    broken.collect()
}

/// What the events of another protocol spell, a line or more for each text.
fn texts(trace: &Trace) -> String {
    let shown = spelled_texts(&trace.response.events).into_iter().map(|SpelledText { name, text, is_json }| {
        let text = if is_json { arguments(&read_arguments(&text)) } else { text };
        format!("{} {text}", style(name).cyan())
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// The message's content with the arguments that its events spell. Where they are no JSON, or their block is left open, the
/// trace's body has none; blocks without a beginning are not in it at all.
fn message(trace: &Trace) -> String {
    let mut blocks = trace.response.body["content"].clone();
    let mut without_start = Vec::new();
    for (index, text) in streamed_arguments(&trace.response.events) {
        let spelled = read_arguments(&text);
        let block = usize::try_from(index).ok().and_then(|index| blocks.get_mut(index));
        match block.and_then(Value::as_object_mut) {
            Some(fields) => drop(fields.insert("input".into(), spelled)),
            None => {
                without_start.push(format!("{} {}", style(format!("block {index} without a start")).cyan(), arguments(&spelled)))
            }
        }
    }
    let shown = [content(&blocks)].into_iter().filter(|shown| !shown.is_empty());
    shown.chain(without_start).collect::<Vec<_>>().join("\n")
}

/// The arguments that a text spells; the text itself if it is no JSON.
fn read_arguments(text: &str) -> Value {
    from_json(text.as_bytes()).unwrap_or_else(|_| text.into())
}

/// A message's content as text.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().map(block).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

fn block(block: &Value) -> String {
    let string = |field: &str| block[field].as_str().unwrap_or_default();
    match string("type") {
        "text" | "input_text" | "output_text" => string("text").to_owned(),
        "thinking" => format!("(thinking) {}", string("thinking")),
        kind if kind.ends_with("tool_use") => {
            format!("{} {} {}", style(kind).cyan(), string("name"), arguments(&block["input"]))
        }
        "tool_result" => {
            let error = if block["is_error"] == true { " (error)" } else { "" };
            format!("{}{error} {}", style("tool_result").cyan(), content(&block["content"]))
        }
        kind => format!("({kind})"),
    }
}

/// The arguments of a call. Those that are no JSON object are shown as they are.
fn arguments(input: &Value) -> String {
    match input {
        Value::Object(_) => pretty(input),
        Value::String(text) => format!("{} {text}", style("(no whole JSON)").yellow()),
        other => format!("{} {}", style("(no JSON object)").yellow(), pretty(other)),
    }
}

fn pretty(value: &Value) -> String {
    // `{:#}` is serde_json's indented form.
    format!("{value:#}")
}

/// The number of characters in a message's text.
fn characters(content: &Value) -> u64 {
    match content {
        Value::String(text) => text.chars().count() as u64,
        Value::Array(items) => items.iter().map(characters).sum(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| matches!(key.as_str(), "text" | "content" | "thinking" | "input"))
            .map(|(_, v)| characters(v))
            .sum(),
        _ => 0,
    }
}
