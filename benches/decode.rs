//! What decoding costs: `make bench-decode` prints ratios, all measured in one run.
//!
//! Takes a model folder, a folder of traces, and a folder with a tokenizer of real size. Every ratio is of the best of some
//! runs, so that what else the machine does counts little.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use anyclaude::engine::decode::{AnswerDecoder, AnswerDecoders, Piece, ToolFormatName};
use anyclaude::engine::text::{ChatTemplate, Tokenizer};
use anyclaude::engine::{
    ComputePath, Engine, EngineEvent, EngineOptions, EventReceiver, Finished, Generation, KvCache, LoadListener, Model, Sampler,
    Sampling, Segment, SequenceInput,
};
use anyclaude::wire::{MessagesRequest, ToolChoice};
use mlx_rs::{Array, random};
use serde_json::json;
use support::{Outcome, arguments, cases};

/// Runs of which the best counts.
const RUNS: usize = 3;

/// Most tokens of an answer.
const MOST: usize = 96;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = arguments();
    let [model, traces, tokenizer] = &arguments[..] else {
        return Err("usage: cargo bench --bench decode -- MODEL_FOLDER TRACES TOKENIZER_FOLDER".into());
    };
    let bench = Bench::load(model.as_ref(), traces.as_ref())?;
    bench.drafts().await?;
    bench.at_once().await?;
    mask(tokenizer.as_ref(), &bench.asked)
}

/// A model, and what it is asked.
struct Bench {
    engine: Engine,
    /// The same model, to compute answers token by token.
    plain: Model,
    tokenizer: std::sync::Arc<Tokenizer>,
    template: ChatTemplate,
    decoders: AnswerDecoders,
    asked: Vec<Asked>,
}

struct Asked {
    trace: String,
    request: MessagesRequest,
    /// Whether the recorded answer calls a tool, which the request then asks for.
    calls: bool,
}

impl Bench {
    fn load(model: &Path, traces: &Path) -> Outcome<Self> {
        let tokenizer = Tokenizer::load(model)?;
        let template = ChatTemplate::load(model, &tokenizer)?;
        let format = ToolFormatName::written_by(&template, &tokenizer).unwrap_or(ToolFormatName::Hermes);
        Ok(Self {
            engine: Engine::load(model, EngineOptions::default())?,
            plain: Model::load(model, ComputePath::of_device()?, &LoadListener::default())?,
            decoders: AnswerDecoders::new(tokenizer.clone(), format.as_written_by(&template, &tokenizer))?,
            asked: asked(traces)?,
            tokenizer,
            template,
        })
    }

    fn generation(&self, request: &MessagesRequest) -> Outcome<Generation> {
        let prompt = self.tokenizer.encode(&self.template.render(request)?)?;
        let (decoder, sampler) = (self.decoders.start(request, None)?, Sampler::new(Sampling::GREEDY, &prompt));
        Ok(Generation { prompt, max_tokens: MOST, decoder, sampler })
    }

    /// The engine against decoding token by token, which has no drafts.
    async fn drafts(&self) -> Outcome<()> {
        println!("{:24} {:>7} {:>10} {:>12} {:>7}", "answer", "tokens", "ms a token", "one by one", "ratio");
        let mut ratios = [Vec::new(), Vec::new()];
        for asked in &self.asked {
            let (mut ours, mut plain, mut tokens) = (Duration::MAX, Duration::MAX, 0);
            let known = self.computed(&self.generation(&asked.request)?.prompt)?;
            for _ in 0..RUNS {
                let (text, finished) = finish(self.engine.generate(self.generation(&asked.request)?)?).await?;
                let (same, decode) = self.one_by_one(self.generation(&asked.request)?, &known)?;
                if text != same {
                    return Err(format!("{}: drafts change the answer: {text:?}, not {same:?}", asked.trace).into());
                }
                (ours, plain, tokens) = (ours.min(finished.decode), plain.min(decode), finished.output_tokens);
            }
            let ratio = plain.as_secs_f64() / ours.as_secs_f64();
            ratios[usize::from(asked.calls)].push(ratio);
            let each = |time: Duration| time.as_secs_f64() * 1e3 / (tokens - 1).max(1) as f64;
            println!("{:24} {tokens:>7} {:>10.2} {:>12.2} {ratio:>6.2}x", asked.trace, each(ours), each(plain));
        }
        let [text, calls] = ratios.map(|mut ratios| {
            ratios.sort_by(f64::total_cmp);
            (ratios[ratios.len() / 2], ratios[0])
        });
        println!("drafts: calls decode {:.2}x as fast (median; worst {:.2}x), ", calls.0, calls.1);
        println!("         text {:.2}x (median; worst {:.2}x)", text.0, text.1);
        Ok(())
    }

    /// All but the last token of a prompt.
    fn computed(&self, prompt: &[u32]) -> Outcome<KvCache> {
        let mut cache = self.plain.new_cache();
        for chunk in prompt[..prompt.len() - 1].chunks(512) {
            self.plain.prefill(chunk, &mut cache)?;
            cache.seal()?;
        }
        Ok(cache)
    }

    /// The same answer, each token computed when it is known, and the time after its first token.
    fn one_by_one(&self, generation: Generation, known: &KvCache) -> Outcome<(String, Duration)> {
        let Generation { prompt, max_tokens, mut decoder, mut sampler } = generation;
        let mut cache = self.plain.new_cache();
        cache.resume(known.segments().iter().map(|it| Segment { tokens: it.tokens, payload: it.payload.clone() }).collect())?;
        let last = prompt.last().ok_or("the prompt is empty")?;
        let (mut next, mut text, mut start, mut tokens) = (*last, String::new(), Instant::now(), 0);
        while !decoder.is_finished() && tokens < max_tokens {
            let logits = self.plain.logits(vec![SequenceInput::new(&[next], &mut cache)])?;
            next = sample(&mut decoder, &mut sampler, &logits)?;
            decoder.push(next)?.into_iter().for_each(|piece| write(&mut text, piece));
            tokens += 1;
            if tokens == 1 {
                start = Instant::now();
            }
        }
        let time = start.elapsed();
        decoder.finish().into_iter().for_each(|piece| write(&mut text, piece));
        Ok((text, time))
    }

    /// Four conversations one after another, then at once; their prompts are known.
    async fn at_once(&self) -> Outcome<()> {
        let text = self.asked.iter().filter(|asked| !asked.calls).take(4).collect::<Vec<_>>();
        let generations = || text.iter().map(|asked| self.generation(&asked.request)).collect::<Outcome<Vec<_>>>();
        let (mut turns, mut together, mut tokens) = (Duration::MAX, Duration::MAX, 0);
        for _ in 0..RUNS {
            let (mut alone, mut time) = (Vec::new(), Duration::ZERO);
            tokens = 0;
            for generation in generations()? {
                let start = Instant::now();
                let (text, finished) = finish(self.engine.generate(generation)?).await?;
                time += start.elapsed();
                tokens += finished.output_tokens;
                alone.push(text);
            }
            turns = turns.min(time);
            let all = generations()?;
            let start = Instant::now();
            let all = all.into_iter().map(|generation| self.engine.generate(generation)).collect::<Result<Vec<_>, _>>()?;
            let mut same = Vec::new();
            for events in all {
                same.push(finish(events).await?.0);
            }
            together = together.min(start.elapsed());
            if same != alone {
                return Err("answers at once are not those of one after another".into());
            }
        }
        let rate = |time: Duration| tokens as f64 / time.as_secs_f64();
        println!(
            "4 conversations at once: {:.0} tokens/s, one after another {:.0}: {:.2}x",
            rate(together),
            rate(turns),
            turns.as_secs_f64() / together.as_secs_f64()
        );
        Ok(())
    }
}

/// The requests of all traces; where a tool was called, they ask for it, and for it alone.
fn asked(traces: &Path) -> Outcome<Vec<Asked>> {
    let asked = cases(traces)?.into_iter().map(|case| {
        let mut request = case.request;
        if let Some(ToolChoice::Tool { disable_parallel_tool_use, .. }) = &mut request.tool_choice {
            *disable_parallel_tool_use = true;
        }
        Asked { trace: case.id.to_string(), calls: matches!(request.tool_choice, Some(ToolChoice::Tool { .. })), request }
    });
    Ok(asked.collect())
}

async fn finish(mut events: EventReceiver) -> Outcome<(String, Finished)> {
    let mut text = String::new();
    while let Some(event) = events.recv().await {
        match event? {
            EngineEvent::Started { .. } => {}
            EngineEvent::Piece(piece) => write(&mut text, piece),
            EngineEvent::Finished(finished) => return Ok((text, finished)),
        }
    }
    Err("the answer did not end".into())
}

fn write(text: &mut String, piece: Piece) {
    match piece {
        Piece::Text(more) | Piece::TextWithLogprobs { text: more, .. } | Piece::ToolInput(more) | Piece::Thinking(more) => {
            text.push_str(&more)
        }
        Piece::ToolStart { name } => text.push_str(&format!("[{name} ")),
        Piece::ToolEnd => text.push(']'),
    }
}

fn sample(decoder: &mut AnswerDecoder, sampler: &mut Sampler, logits: &[f32]) -> Outcome<u32> {
    let token = match decoder.mask()? {
        Some(mask) => sampler.sample(logits, mask.iter()),
        None => sampler.sample(logits, 0..logits.len() as u32),
    };
    token.ok_or_else(|| "no token may follow".into())
}

/// What deciding on the next token costs with a real vocabulary, against the step of a small model that has it.
fn mask(tokenizer: &Path, asked: &[Asked]) -> Outcome<()> {
    let tokenizer = Tokenizer::load(tokenizer)?;
    let request = &asked.iter().find(|asked| asked.trace.contains("edit")).ok_or("no trace edits a file")?.request;
    let request = MessagesRequest { tool_choice: None, ..request.clone() };
    let decoders = AnswerDecoders::new(tokenizer.clone(), ToolFormatName::Hermes.format())?;
    let file = "fn main() {\n    let port = 8080;\n    println!(\"listening on {port}\");\n}\n".repeat(4);
    let (old, new) = (json!(file), json!(file.to_uppercase()));
    let arguments = format!(r#"{{"file_path": "/home/user/project/src/main.rs", "old_string": {old}, "new_string": {new}}}"#);
    let call = format!("\n{{\"name\": \"Edit\", \"arguments\": {arguments}}}\n");
    let open = tokenizer.added_token("<tool_call>").ok_or("the vocabulary has no <tool_call>")?;
    let close = tokenizer.added_token("</tool_call>").ok_or("the vocabulary has no </tool_call>")?;
    let text = tokenizer.encode("I will change the port in both places, and then look at the tests once more.")?;
    let call = [&[open], &tokenizer.encode(&call)?[..], &[close]].concat();

    let vocabulary = tokenizer.vocab_size().next_multiple_of(64);
    let logits: Vec<f32> = (0..vocabulary as u32).map(|id| (id.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
    let step = step_of_small_model(vocabulary)?;
    println!("step of a random Qwen3, 4 layers, hidden 256, vocabulary {vocabulary}, f32, 512 tokens before: {step:.2?}");
    for (what, before, tokens) in [("text", &[][..], &text), ("call", &text[..], &call)] {
        let mut best = [vec![Duration::MAX; tokens.len()], vec![Duration::MAX; tokens.len()]];
        for _ in 0..RUNS {
            let mut decoder = decoders.start(&request, None)?;
            for token in before {
                decoder.push(*token)?;
            }
            for (at, token) in tokens.iter().enumerate() {
                let start = Instant::now();
                let mask = decoder.mask()?;
                let masked = start.elapsed();
                if mask.as_ref().is_some_and(|mask| !mask.allows(*token)) {
                    return Err(format!("token {at} of the {what} may not come there").into());
                }
                let mut sampler = Sampler::new(Sampling::GREEDY, &[]);
                let start = Instant::now();
                match &mask {
                    Some(mask) => sampler.sample(&logits, mask.iter()),
                    None => sampler.sample(&logits, 0..logits.len() as u32),
                };
                best[0][at] = best[0][at].min(masked);
                best[1][at] = best[1][at].min(start.elapsed());
                decoder.push(*token)?;
            }
        }
        let [mask, sample] = best.map(|times| times.iter().sum::<Duration>() / times.len() as u32);
        let share = 100.0 * mask.as_secs_f64() / step.as_secs_f64();
        println!(
            "  in a {what}, mean of {} tokens: mask {mask:.2?} ({share:.1}% of the step), sampling {sample:.2?}",
            tokens.len()
        );
    }
    draws(vocabulary, step);
    Ok(())
}

/// What it takes to draw a token at random, beside a step.
fn draws(vocabulary: usize, step: Duration) {
    // Gumbel noise: a few tokens are much likelier than all others, as in a model's answer.
    let uniform = |id: u32| (f64::from(id.wrapping_mul(2_654_435_761) >> 8) + 0.5) / f64::from(1 << 24);
    let logits: Vec<f32> = (0..vocabulary as u32).map(|id| (-2.0 * (-uniform(id).ln()).ln()) as f32).collect();
    for (what, top_k, top_p) in [("all", 0, 1.0), ("the likeliest 95%", 0, 0.95), ("the likeliest 20", 20, 1.0)] {
        let sampling = Sampling { temperature: 1.0, top_k, top_p, seed: Some(1), ..Sampling::GREEDY };
        let mut sampler = Sampler::new(sampling, &[]);
        let mut draw = || {
            let start = Instant::now();
            sampler.sample(&logits, 0..vocabulary as u32);
            start.elapsed()
        };
        let mut times: Vec<Duration> = (0..RUNS * 20).map(|_| draw()).collect();
        times.sort();
        let median = times[times.len() / 2];
        let share = 100.0 * median.as_secs_f64() / step.as_secs_f64();
        println!("  drawing from {what} of {vocabulary}: {median:.2?} ({share:.1}% of the step)");
    }
}

/// The time of one token's pass through a random model, sampling not counted.
fn step_of_small_model(vocabulary: usize) -> Outcome<Duration> {
    const HIDDEN: i32 = 256;
    const INNER: i32 = 768;
    const LAYERS: usize = 4;
    let dir = tempfile::tempdir()?;
    let config = json!({
        "model_type": "qwen3", "vocab_size": vocabulary, "hidden_size": HIDDEN, "intermediate_size": INNER,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "tie_word_embeddings": true, "max_position_embeddings": 32768,
    });
    std::fs::write(dir.path().join("config.json"), config.to_string())?;
    let mut tensors = vec![("model.embed_tokens".into(), vec![vocabulary as i32, HIDDEN]), ("model.norm".into(), vec![HIDDEN])];
    for layer in 0..LAYERS {
        let shapes: [(&str, &[i32]); 11] = [
            ("input_layernorm", &[HIDDEN]),
            ("post_attention_layernorm", &[HIDDEN]),
            ("self_attn.q_norm", &[64]),
            ("self_attn.k_norm", &[64]),
            ("self_attn.q_proj", &[256, HIDDEN]),
            ("self_attn.k_proj", &[128, HIDDEN]),
            ("self_attn.v_proj", &[128, HIDDEN]),
            ("self_attn.o_proj", &[HIDDEN, 256]),
            ("mlp.gate_proj", &[INNER, HIDDEN]),
            ("mlp.up_proj", &[INNER, HIDDEN]),
            ("mlp.down_proj", &[HIDDEN, INNER]),
        ];
        tensors.extend(shapes.map(|(name, shape)| (format!("model.layers.{layer}.{name}"), shape.to_vec())));
    }
    let tensor = |(name, shape): (String, Vec<i32>)| {
        let array = random::normal::<f32>(&shape[..], 0.0, 0.05, None)?;
        Ok((format!("{name}.weight"), array))
    };
    let tensors = tensors.into_iter().map(tensor).collect::<Outcome<Vec<(String, Array)>>>()?;
    Array::save_safetensors(tensors, None, dir.path().join("model.safetensors"))?;
    let model = Model::load(dir.path(), ComputePath::of_device()?, &LoadListener::default())?;
    let mut cache = model.new_cache();
    model.prefill(&[7; 512], &mut cache)?;
    let mut best = Duration::MAX;
    for _ in 0..4 * RUNS {
        let start = Instant::now();
        model.logits(vec![SequenceInput::new(&[7], &mut cache)])?;
        best = best.min(start.elapsed());
        cache.cut(1)?;
    }
    Ok(best)
}
