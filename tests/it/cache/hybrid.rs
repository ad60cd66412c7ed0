//! A small random model with recurrent layers through the built binary: replay creates and checks all states of its prefix cache,
//! and the real client talks with it.

use std::fs;
use std::path::Path;

use anyclaude::trace;
use anyclaude::wire::{ContentBlock, Message};
use mlx_rs::{Array, random};
use serde_json::json;

use crate::support::MODEL;
use crate::support::clients::run_claude;
use crate::support::demo::write_trace;
use crate::support::recorder::Recorder;
use crate::support::sandbox::Sandbox;
use crate::support::serving::Serving;

#[test]
fn a_hybrid_answers_alike_cold_warm_and_cached() {
    for path in ["cpu", "gpu"] {
        let sandbox = Sandbox::new();
        write_hybrid(&sandbox.path("hybrid"));
        let text_only = |seq, text: &str| {
            let overrides = [
                ("/request/body/tools", json!([])),
                ("/request/body/max_tokens", json!(24)),
                ("/request/body/messages/0/content", json!(text.repeat(30))),
                ("/response/body/content", json!([{"type": "text", "text": "Hello."}])),
                ("/response/body/stop_reason", json!("end_turn")),
            ];
            write_trace(&sandbox, seq, &overrides);
        };
        text_only(1, "Say hello. ");
        text_only(2, "Count to ten. ");
        let replay = |more: &[&str]| {
            let usual = ["replay", "traces", "--model", "hybrid", "--compute-path", path];
            let output = sandbox.anyclaude(&[&usual[..], more].concat()).output().unwrap();
            (
                output.status.success(),
                [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat(),
            )
        };
        let (accepted, shown) = replay(&["--update"]);
        assert!(accepted, "on the {path} path: {shown}");
        let (same, shown) = replay(&["--check"]);
        assert!(same, "on the {path} path: {shown}");
    }
}

#[test]
fn a_session_of_claude_code_on_a_hybrid_computes_only_what_is_new() {
    let sandbox = Sandbox::new();
    let model = sandbox.path("hybrid");
    write_hybrid(&model);
    answer_in_a_few_random_words(&model);
    let server = Serving::start(model.to_str().unwrap(), &[]);
    let mut recorder = Recorder::start_in(sandbox, &server.url, &[]);
    for (number, prompt) in ["Hello.", "And what now?", "Tell me more.", "Why?", "Count to five.", "Goodbye."].iter().enumerate()
    {
        let goes_on: &[&str] = if number == 0 { &[] } else { &["--continue"] };
        run_claude(&recorder.sandbox, &recorder.address, &[goes_on, &["-p", prompt]].concat()).exits(0);
    }
    recorder.stop();

    let files = recorder.files();
    let answers: Vec<Message> = files.iter().map(|file| trace::recorded_message(&trace::read(file).unwrap()).unwrap()).collect();
    // After an answer that shows nothing the client asks again, with a word on it in the middle of what it had said: there may be
    // more requests than turns, and those are no follow-ups.
    assert!(answers.len() >= 6, "{files:?}");
    let follow_ups: Vec<_> = answers.iter().zip(&answers[1..]).filter(|(before, _)| shows_text(before)).collect();
    assert!(!follow_ups.is_empty(), "{files:?}");
    for (before, follow_up) in follow_ups {
        let usage = &follow_up.usage;
        let known = usage.cache_read_input_tokens.unwrap_or_default();
        assert!(known * 100 > usage.prompt_tokens() * 95, "after {:?}: {usage:?}", before.content);
    }

    // The last request has all turns in it. Its cold answer is what is accepted; the warm and the cached one must be equal.
    let last = files[files.len() - 1].to_str().unwrap();
    let output = recorder.sandbox.anyclaude(&["replay", last, "--model", "hybrid", "--update"]).output().unwrap();
    let [shown, said] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success() && shown.contains("1 updated"), "{shown}{said}");
}

fn shows_text(answer: &Message) -> bool {
    answer.content.iter().any(|block| matches!(block, ContentBlock::Text { text, .. } if !text.trim().is_empty()))
}

/// Lets about one token in twelve end an answer, and those that begin a call or thoughts too; all others are random.
fn answer_in_a_few_random_words(model: &Path) {
    const BEGIN_CALL: u32 = 4090;
    const BEGIN_THINKING: u32 = 4094;
    let ends: Vec<u32> = (7..4087).step_by(12).chain([4087, 4089, BEGIN_CALL, BEGIN_THINKING]).collect();
    let config = json!({"do_sample": true, "temperature": 1.0, "eos_token_id": ends});
    fs::write(model.join("generation_config.json"), config.to_string()).unwrap();
}

/// A random model of Qwen3.5's shape with the embedded model's tokenizer and template.
fn write_hybrid(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for entry in fs::read_dir(MODEL).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json" || extension == "jinja") {
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    let config = json!({
        "model_type": "qwen3_5", "eos_token_id": 4089, "text_config": {
            "vocab_size": 4096, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 16, "rms_norm_eps": 1e-6, "max_position_embeddings": 65536,
            "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
            "linear_conv_kernel_dim": 4, "tie_word_embeddings": true,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5},
        },
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut shapes = vec![("embed_tokens.weight".to_string(), vec![4096, 32]), ("norm.weight".into(), vec![32])];
    for layer in 0..4 {
        let mixer: &[(&str, &[i32])] = if layer == 3 {
            &[
                ("self_attn.q_proj.weight", &[64, 32]),
                ("self_attn.k_proj.weight", &[16, 32]),
                ("self_attn.v_proj.weight", &[16, 32]),
                ("self_attn.o_proj.weight", &[32, 32]),
                ("self_attn.q_norm.weight", &[16]),
                ("self_attn.k_norm.weight", &[16]),
            ]
        } else {
            &[
                ("linear_attn.in_proj_qkv.weight", &[64, 32]),
                ("linear_attn.in_proj_z.weight", &[32, 32]),
                ("linear_attn.in_proj_b.weight", &[4, 32]),
                ("linear_attn.in_proj_a.weight", &[4, 32]),
                ("linear_attn.conv1d.weight", &[64, 4, 1]),
                ("linear_attn.A_log", &[4]),
                ("linear_attn.dt_bias", &[4]),
                ("linear_attn.norm.weight", &[8]),
                ("linear_attn.out_proj.weight", &[32, 32]),
            ]
        };
        let shared: &[(&str, &[i32])] = &[
            ("input_layernorm.weight", &[32]),
            ("post_attention_layernorm.weight", &[32]),
            ("mlp.gate_proj.weight", &[48, 32]),
            ("mlp.up_proj.weight", &[48, 32]),
            ("mlp.down_proj.weight", &[32, 48]),
        ];
        shapes.extend(mixer.iter().chain(shared).map(|(name, shape)| (format!("layers.{layer}.{name}"), shape.to_vec())));
    }
    let tensor = |(seed, (name, shape)): (usize, (String, Vec<i32>))| {
        let (mean, deviation) = if name.contains("norm") { (1.0, 0.1) } else { (0.0, 0.2) };
        let array = random::normal::<f32>(&shape[..], mean, deviation, &random::key(seed as u64).unwrap()).unwrap();
        (format!("language_model.model.{name}"), array)
    };
    let tensors: Vec<_> = shapes.into_iter().enumerate().map(tensor).collect();
    Array::save_safetensors(tensors, None, folder.join("model.safetensors")).unwrap();
}
