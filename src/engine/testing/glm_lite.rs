//! A tiny GLM-4.7-Flash: attention through a latent space, a dense layer, and experts beside one for all tokens.

use serde_json::{Value, json};

/// What makes the random model a GLM-4.7-Flash.
pub fn glm_lite() -> Value {
    json!({
        "model_type": "glm4_moe_lite", "num_hidden_layers": 3, "q_lora_rank": 24, "kv_lora_rank": 20, "qk_nope_head_dim": 12,
        "qk_rope_head_dim": 8, "v_head_dim": 10, "first_k_dense_replace": 1, "n_routed_experts": 6, "n_shared_experts": 1,
        "num_experts_per_tok": 2, "moe_intermediate_size": 16, "routed_scaling_factor": 1.8, "norm_topk_prob": true,
    })
}

/// Its tensors' names and shapes, but for the embedding and the last norm.
pub(super) fn shapes(config: &Value) -> Vec<(String, Vec<i32>)> {
    let size = |name: &str| config[name].as_i64().unwrap_or(0) as i32;
    let (hidden, inner, heads) = (size("hidden_size"), size("intermediate_size"), size("num_attention_heads"));
    let (query, latent, turned) = (size("q_lora_rank"), size("kv_lora_rank"), size("qk_rope_head_dim"));
    let (unturned, values) = (size("qk_nope_head_dim"), size("v_head_dim"));
    let (experts, small) = (size("n_routed_experts"), size("moe_intermediate_size"));
    let mut shapes = Vec::new();
    for layer in 0..size("num_hidden_layers") {
        let mut add = |part: &str, shape: &[i32]| shapes.push((format!("model.layers.{layer}.{part}"), shape.to_vec()));
        add("input_layernorm.weight", &[hidden]);
        add("post_attention_layernorm.weight", &[hidden]);
        add("self_attn.q_a_proj.weight", &[query, hidden]);
        add("self_attn.q_a_layernorm.weight", &[query]);
        add("self_attn.q_b_proj.weight", &[heads * (unturned + turned), query]);
        add("self_attn.kv_a_proj_with_mqa.weight", &[latent + turned, hidden]);
        add("self_attn.kv_a_layernorm.weight", &[latent]);
        add("self_attn.embed_q.weight", &[heads, latent, unturned]);
        add("self_attn.unembed_out.weight", &[heads, values, latent]);
        add("self_attn.o_proj.weight", &[hidden, heads * values]);
        let mut mlp = |path: &str, of: &[i32], inner: i32| {
            for (part, shape) in [("gate", [inner, hidden]), ("up", [inner, hidden]), ("down", [hidden, inner])] {
                add(&format!("{path}.{part}_proj.weight"), &[of, &shape].concat());
            }
        };
        if layer < size("first_k_dense_replace") {
            mlp("mlp", &[], inner);
            continue;
        }
        mlp("mlp.switch_mlp", &[experts], small);
        mlp("mlp.shared_experts", &[], small * size("n_shared_experts"));
        add("mlp.gate.weight", &[experts, hidden]);
        add("mlp.gate.e_score_correction_bias", &[experts]);
    }
    shapes
}
