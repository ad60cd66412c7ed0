//! A tiny Gemma 4 with all that its models have: borrowed keys and values, inputs of the layers' own, experts, values in their keys.

use serde_json::{Value, json};

/// What makes the random model a Gemma 4.
pub fn gemma4() -> Value {
    let kinds = ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention", "full_attention"];
    json!({
        "model_type": "gemma4_text", "num_hidden_layers": 5, "layer_types": kinds, "sliding_window": 40, "global_head_dim": 24,
        "num_global_key_value_heads": 1, "attention_k_eq_v": true, "num_kv_shared_layers": 2, "use_double_wide_mlp": true,
        "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 4096, "enable_moe_block": true, "num_experts": 4,
        "top_k_experts": 2, "moe_intermediate_size": 16, "final_logit_softcapping": 30.0,
    })
}

/// Its tensors' names and shapes, but for the embedding and the last norm.
pub(super) fn shapes(config: &Value) -> Vec<(String, Vec<i32>)> {
    let size = |name: &str| config[name].as_i64().unwrap_or(0) as i32;
    let (hidden, inner, layers, heads) =
        (size("hidden_size"), size("intermediate_size"), size("num_hidden_layers"), size("num_attention_heads"));
    let (part, vocab) = (size("hidden_size_per_layer_input"), size("vocab_size_per_layer_input"));
    let (experts, small) = (size("num_experts"), size("moe_intermediate_size"));
    let mut shapes = vec![
        ("model.embed_tokens_per_layer.weight".to_owned(), vec![vocab, layers * part]),
        ("model.per_layer_model_projection.weight".into(), vec![layers * part, hidden]),
        ("model.per_layer_projection_norm.weight".into(), vec![part]),
    ];
    for layer in 0..layers {
        let is_full = config["layer_types"][layer as usize] == "full_attention";
        let (kv_heads, width) = match is_full {
            true => (size("num_global_key_value_heads"), size("global_head_dim")),
            false => (size("num_key_value_heads"), size("head_dim")),
        };
        let borrows = layer >= layers - size("num_kv_shared_layers");
        let inner = if borrows { 2 * inner } else { inner };
        let mut add = |part: &str, shape: &[i32]| shapes.push((format!("model.layers.{layer}.{part}"), shape.to_vec()));
        for norm in [
            "input_layernorm",
            "post_attention_layernorm",
            "pre_feedforward_layernorm",
            "post_feedforward_layernorm",
            "post_feedforward_layernorm_1",
            "pre_feedforward_layernorm_2",
            "post_feedforward_layernorm_2",
            "post_per_layer_input_norm",
        ] {
            add(&format!("{norm}.weight"), &[hidden]);
        }
        add("layer_scalar", &[1]);
        add("self_attn.q_norm.weight", &[width]);
        add("self_attn.q_proj.weight", &[heads * width, hidden]);
        add("self_attn.o_proj.weight", &[hidden, heads * width]);
        if !borrows {
            add("self_attn.k_norm.weight", &[width]);
            add("self_attn.k_proj.weight", &[kv_heads * width, hidden]);
        }
        if !borrows && !is_full {
            add("self_attn.v_proj.weight", &[kv_heads * width, hidden]);
        }
        add("mlp.gate_proj.weight", &[inner, hidden]);
        add("mlp.up_proj.weight", &[inner, hidden]);
        add("mlp.down_proj.weight", &[hidden, inner]);
        add("router.scale", &[hidden]);
        add("router.per_expert_scale", &[experts]);
        add("router.proj.weight", &[experts, hidden]);
        add("experts.switch_glu.gate_proj.weight", &[experts, small, hidden]);
        add("experts.switch_glu.up_proj.weight", &[experts, small, hidden]);
        add("experts.switch_glu.down_proj.weight", &[experts, hidden, small]);
        add("per_layer_input_gate.weight", &[part, hidden]);
        add("per_layer_projection.weight", &[hidden, part]);
    }
    shapes
}
