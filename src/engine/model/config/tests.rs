use super::*;
use serde_json::json;

fn file() -> Value {
    json!({"model_type": "qwen3", "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
           "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
           "rope_scaling": null, "tie_word_embeddings": true, "max_position_embeddings": 4096})
}

fn parse_with(change: Value) -> Result<Config, String> {
    let mut file = file();
    file.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    Config::parse(file)
}

#[test]
fn rope_theta_is_read_from_both_places() {
    let old = parse_with(json!({})).unwrap();
    let new = parse_with(json!({"rope_theta": null, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}})).unwrap();
    assert_eq!((old.rope.theta, &old), (1e6, &new));
}

#[test]
fn unsupported_features_are_refused_by_name() {
    let cases = [
        (
            json!({"model_type": "gpt2"}),
            "model_type \"gpt2\" is not supported; the engine runs llama, mistral, qwen2, qwen3, qwen3_moe, qwen3_next, qwen3_5, qwen3_5_moe, glm4_moe, glm4_moe_lite, minimax_m2, gpt_oss, gemma4, ministral3 and mistral3",
        ),
        (json!({"model_type": "qwen3_moe"}), "missing field `num_experts`"),
        (json!({"rope_theta": null}), "rope_theta is missing"),
        (json!({"rope_scaling": {"rope_type": "linear"}}), "RoPE scaling \"linear\": factor is missing"),
        (json!({"num_key_value_heads": 3}), "num_attention_heads 4 is not a multiple of num_key_value_heads 3"),
        (json!({"num_key_value_heads": 0}), "num_key_value_heads 0 is out of range"),
        (json!({"quantization": {"bits": 4}}), "quantization: missing field `group_size`"),
        (
            json!({"quantization_config": {"quant_method": "gptq"}}),
            "quantization_config: quant_method \"gptq\" is not supported; take an MLX or a bf16 release",
        ),
        (json!({"hidden_act": "gelu"}), "hidden_act \"gelu\" is not supported; the engine computes \"silu\""),
        (json!({"attention_bias": true}), "attention_bias is not supported for this model_type"),
        (
            json!({"model_type": "llama", "layer_types": ["full_attention", "sliding_attention"]}),
            "layer_types: \"sliding_attention\" is not supported for this model_type",
        ),
    ];
    for (change, reason) in cases {
        assert_eq!(parse_with(change), Err(reason.to_string()));
    }
}

#[test]
fn fields_that_families_leave_out_have_defaults() {
    let llama = parse_with(json!({"model_type": "llama", "rope_theta": null, "head_dim": null, "num_key_value_heads": null}));
    let llama = llama.unwrap();
    assert_eq!((llama.rope.theta, llama.head_dim, llama.kv_heads), (10_000.0, 16, 4));
    let yarn = json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 4096});
    assert_eq!(parse_with(json!({"rope_scaling": yarn})).unwrap().context, 16_384);
}

#[test]
fn a_layer_has_a_window_where_its_family_says_so() {
    let layers = json!(["full_attention", "sliding_attention"]);
    let cases = [
        (json!({"model_type": "llama", "sliding_window": 9}), [None, None]),
        (json!({"model_type": "mistral"}), [None, None]),
        (json!({"model_type": "mistral", "sliding_window": 9}), [Some(9), Some(9)]),
        (json!({"model_type": "mistral", "sliding_window": 9, "layer_types": layers}), [None, Some(9)]),
        (json!({"sliding_window": 9, "layer_types": layers}), [None, None]),
        (json!({"sliding_window": 9, "use_sliding_window": true}), [None, None]),
        (json!({"sliding_window": 9, "use_sliding_window": true, "max_window_layers": 1}), [None, Some(9)]),
        (json!({"model_type": "qwen2", "sliding_window": 9, "use_sliding_window": true, "layer_types": layers}), [None, Some(9)]),
    ];
    for (change, windows) in cases {
        assert_eq!(parse_with(change.clone()).unwrap().windows, windows, "{change}");
    }
}

/// A `model_type` of each group of families that is read in its own way.
const FAMILIES: [&str; 11] = [
    "llama",
    "mistral3",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_5",
    "glm4_moe",
    "glm4_moe_lite",
    "minimax_m2",
    "gpt_oss",
    "gemma4",
    "gemma4_text",
];

/// Fields without which some of these families are refused.
fn own_fields() -> serde_json::Map<String, Value> {
    json!({
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
        "linear_value_head_dim": 12, "linear_conv_kernel_dim": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
        "full_attention_interval": 2,
    })
    .as_object()
    .unwrap()
    .clone()
}

#[test]
fn a_window_without_tokens_is_refused_in_every_family() {
    for family in ["mistral", "qwen3"].iter().chain(&FAMILIES) {
        let mut config = file();
        config.as_object_mut().unwrap().extend(own_fields());
        config["model_type"] = json!(family);
        config["sliding_window"] = json!(0);
        assert_eq!(Config::parse(config), Err("sliding_window 0 is out of range".into()), "{family}");
    }
}

#[test]
fn more_layers_than_fit_in_memory_are_refused_in_every_family() {
    for family in FAMILIES {
        for is_nested in [false, true] {
            let mut config = file();
            config.as_object_mut().unwrap().extend(own_fields());
            config["num_hidden_layers"] = json!(1u64 << 45);
            if is_nested {
                config = json!({"text_config": config});
            }
            config["model_type"] = json!(family);
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
            let error = Config::load(dir.path()).unwrap_err().to_string();
            assert!(error.ends_with("num_hidden_layers 35184372088832 is out of range"), "{family}: {error}");
        }
    }
}

#[test]
fn a_missing_field_is_named() {
    let mut file = file();
    file.as_object_mut().unwrap().remove("hidden_size");
    assert_eq!(Config::parse(file), Err("missing field `hidden_size`".into()));
}
