#!/usr/bin/env python3
"""Make a model that servers are compared on, with random weights and Qwen3's own vocabulary. Always the same.

    model.py TOKENIZER_FOLDER OUT [SHAPE]

SHAPE: small (a Qwen3 of 4 layers, f32), hybrid (a Qwen3.5 of 4 layers, three of them recurrent, f32), 30b-a3b (as
mlx-community's Qwen3-30B-A3B-4bit: 17 GB), or 30b-a3b-cut (the same cut to 2 layers of 8 experts, to try the way on a machine
without such a card).
"""
import json, pathlib, shutil, sys

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.utils import _get_classes

CONFIG = dict(
    architectures=["Qwen3ForCausalLM"], model_type="qwen3", vocab_size=151936, hidden_size=256, intermediate_size=768,
    num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=64, rms_norm_eps=1e-6, rope_theta=1000000,
    rope_scaling=None, max_position_embeddings=40960, tie_word_embeddings=True, attention_bias=False, hidden_act="silu",
    bos_token_id=151643, eos_token_id=151645, torch_dtype="float32")

HYBRID = dict(
    architectures=["Qwen3_5ForConditionalGeneration"], model_type="qwen3_5", torch_dtype="float32",
    text_config=dict(
        {name: value for name, value in CONFIG.items() if name not in ("architectures", "model_type", "rope_theta", "rope_scaling")},
        model_type="qwen3_5", linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=64, linear_value_head_dim=64,
        linear_conv_kernel_dim=4, full_attention_interval=4,
        rope_parameters=dict(type="default", rope_theta=1000000.0, partial_rotary_factor=0.25, mrope_section=[4, 2, 2])))

BIG = dict(
    CONFIG, architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", hidden_size=2048, intermediate_size=6144,
    num_hidden_layers=48, num_attention_heads=32, num_key_value_heads=4, head_dim=128, num_experts=128, num_experts_per_tok=8,
    moe_intermediate_size=768, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[], tie_word_embeddings=False,
    torch_dtype="bfloat16", quantization=dict(group_size=64, bits=4))
SHAPES = {"small": CONFIG, "hybrid": HYBRID, "30b-a3b": BIG, "30b-a3b-cut": dict(BIG, num_hidden_layers=2, num_experts=8)}


def packed(name, *shape):
    """A random matrix in groups of 64 weights of 4 bits, about as a trained one is scaled."""
    *stack, rows, columns = shape
    groups = [*stack, rows, columns // 64]
    words = mx.random.randint(0, 2**16, [*stack, rows, columns // 4]).astype(mx.uint16).view(mx.uint32)
    scales = mx.full(groups, 0.3 / columns**0.5, mx.bfloat16)
    return {f"{name}.weight": words, f"{name}.scales": scales, f"{name}.biases": -7.5 * scales}


def plain(name, size):
    return {f"{name}.weight": mx.ones(size, mx.bfloat16)}


def big_files(config):
    """The files of a mixture of experts, one for each layer: all at once would need twice the memory."""
    hidden, inner, width = config["hidden_size"], config["moe_intermediate_size"], config["head_dim"]
    experts, queries, keys = config["num_experts"], config["num_attention_heads"] * width, config["num_key_value_heads"] * width
    yield packed("model.embed_tokens", config["vocab_size"], hidden) | packed("lm_head", config["vocab_size"], hidden) | plain("model.norm", hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        attention, mlp = name + "self_attn.", name + "mlp."
        yield (
            packed(attention + "q_proj", queries, hidden) | packed(attention + "k_proj", keys, hidden)
            | packed(attention + "v_proj", keys, hidden) | packed(attention + "o_proj", hidden, queries)
            | plain(attention + "q_norm", width) | plain(attention + "k_norm", width)
            | plain(name + "input_layernorm", hidden) | plain(name + "post_attention_layernorm", hidden)
            | packed(mlp + "gate", experts, hidden) | packed(mlp + "switch_mlp.gate_proj", experts, inner, hidden)
            | packed(mlp + "switch_mlp.up_proj", experts, inner, hidden) | packed(mlp + "switch_mlp.down_proj", experts, hidden, inner))


def write_big(out, config):
    count, index = config["num_hidden_layers"] + 1, {}
    for number, tensors in enumerate(big_files(config), 1):
        file = f"model-{number:05}-of-{count:05}.safetensors"
        mx.save_safetensors(str(out / file), tensors, {"format": "mlx"})
        index |= {name: file for name in tensors}
    (out / "model.safetensors.index.json").write_text(json.dumps(dict(metadata={}, weight_map=index)))


def write_small(out, config):
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    model.update(tree_map_with_path(random_weight, model.parameters()))
    mx.save_safetensors(str(out / "model.safetensors"), dict(tree_flatten(model.parameters())), {"format": "mlx"})


def random_weight(path, weight):
    """What is multiplied is as a fresh model has it, norms stay 1."""
    if "norm" in path:
        return weight
    if path.endswith("A_log"):
        # A state that keeps between 20 and 2,000 tokens in mind, as trained ones do; 0 would forget all within a few.
        return mx.random.uniform(-7.0, -2.5, weight.shape)
    return mx.random.normal(weight.shape) * 0.02


def main(tokenizer, out, shape="small"):
    tokenizer, out = pathlib.Path(tokenizer), pathlib.Path(out)
    if (out / "config.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, out / name)
    mx.random.seed(7)
    config = SHAPES[shape]
    if "quantization" in config:
        write_big(out, config)
    else:
        write_small(out, config)
    (out / "generation_config.json").write_text(json.dumps(dict(do_sample=False, eos_token_id=[151645, 151643])))
    # Last: it says that the folder is whole.
    (out / "config.json").write_text(json.dumps(config, indent=2))


main(*sys.argv[1:])
