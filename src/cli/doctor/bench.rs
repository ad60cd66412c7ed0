//! The small bench of a report: how fast the engine computes a prompt and an answer, and mlx-lm the same, where Python has it.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::engine::decode::{AnswerDecoders, ToolFormatName};
use crate::engine::text::Tokenizer;
use crate::engine::{ComputePath, Engine, EngineError, EngineEvent, EngineOptions, Generation, Sampler, Sampling};
use crate::wire::MessagesRequest;

const PROMPT_TOKENS: usize = 2_000;
const ANSWER_TOKENS: usize = 64;

/// Tokens a second.
struct Speeds {
    prefill: f64,
    decode: f64,
}

/// The figures as lines of text, or why there are none.
pub(super) fn lines(model: &Path) -> String {
    let ours = match ours(model) {
        Ok(ours) => ours,
        Err(error) => return format!("the model cannot be measured: {error}\n"),
    };
    let path = ComputePath::of_device().map_or("unknown", ComputePath::name);
    let mut text = format!("compute path {path}; a prompt of {PROMPT_TOKENS} tokens, an answer of at most {ANSWER_TOKENS}\n");
    let mut row =
        |name: &str, prefill: String, decode: String| text.push_str(&format!("{name:<12} {prefill:>18} {decode:>18}\n"));
    row("", "prefill, tokens/s".into(), "decode, tokens/s".into());
    row("anyclaude", format!("{:.0}", ours.prefill), format!("{:.0}", ours.decode));
    match theirs(model) {
        Ok(theirs) => {
            row("mlx-lm", format!("{:.0}", theirs.prefill), format!("{:.0}", theirs.decode));
            row("ratio", format!("{:.2}", ours.prefill / theirs.prefill), format!("{:.2}", ours.decode / theirs.decode));
        }
        Err(reason) => text.push_str(&format!("mlx-lm       not measured: {reason}\n")),
    }
    text
}

/// Ids that any vocabulary has.
fn prompt() -> Vec<u32> {
    (0..PROMPT_TOKENS as u32).map(|n| n * 7919 % 251).collect()
}

fn ours(model: &Path) -> Result<Speeds, EngineError> {
    let engine = Engine::load(model, EngineOptions::default())?;
    let decoders = AnswerDecoders::new(Tokenizer::load(model)?, ToolFormatName::Hermes.format())?;
    // The first answer compiles the device's kernels; the second one is other text of the same length.
    answer(&engine, &decoders, prompt())?;
    answer(&engine, &decoders, prompt().into_iter().rev().collect())
}

fn answer(engine: &Engine, decoders: &AnswerDecoders, prompt: Vec<u32>) -> Result<Speeds, EngineError> {
    let request = json!({"model": "bench", "max_tokens": ANSWER_TOKENS, "messages": []});
    let request: MessagesRequest = serde_json::from_value(request).map_err(|error| EngineError::Device(error.to_string()))?;
    let generation = Generation {
        max_tokens: ANSWER_TOKENS,
        decoder: decoders.start(&request, None)?,
        sampler: Sampler::new(Sampling::GREEDY, &prompt),
        prompt,
    };
    let mut events = engine.generate(generation)?;
    while let Some(event) = events.blocking_recv() {
        if let EngineEvent::Finished(finished) = event? {
            return Ok(Speeds {
                prefill: PROMPT_TOKENS as f64 / finished.prefill.as_secs_f64(),
                decode: finished.output_tokens.saturating_sub(1) as f64 / finished.decode.as_secs_f64(),
            });
        }
    }
    Err(EngineError::Device("the answer did not end".into()))
}

/// Prints prefill and decode speed of the same prompt.
const MLX_LM: &str = "
import sys
from mlx_lm import load, stream_generate
model, tokenizer = load(sys.argv[1])
prompt = [n * 7919 % 251 for n in range(int(sys.argv[2]))]
for text in (prompt, prompt[::-1]):
    for last in stream_generate(model, tokenizer, text, max_tokens=int(sys.argv[3])):
        pass
print(last.prompt_tps, last.generation_tps)
";

/// mlx-lm's figures, from `python3` on PATH.
fn theirs(model: &Path) -> Result<Speeds, String> {
    let lengths = [PROMPT_TOKENS, ANSWER_TOKENS].map(|tokens| tokens.to_string());
    let output = Command::new("python3").args(["-c", MLX_LM]).arg(model).args(lengths).output();
    let output = output.map_err(|error| format!("python3: {error}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(errors.lines().last().unwrap_or("it failed").to_owned());
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = printed.split_whitespace().rev().filter_map(|number| number.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(decode), Some(prefill)) => Ok(Speeds { prefill, decode }),
        _ => Err("it printed no figures".into()),
    }
}
