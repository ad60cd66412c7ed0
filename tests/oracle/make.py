#!/usr/bin/env python3
"""Make small random models of every family, and what mlx-lm computes with them: logits after every token, greedy answers.

Each model is a folder in Hugging Face layout with a `reference.safetensors` beside its weights: `prompt.<n>` for prompts of
several lengths, and for each precision, which is `f32` or `shipped` (the weights' own), `<precision>.logits.<n>`, and
`<precision>.greedy`, what follows the longest prompt but one. Models that a CPU computes in f32 only have no `shipped`.
"""
import concurrent.futures, json, multiprocessing, pathlib, shutil, sys

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm.generate import generate_step
from mlx_lm.utils import _get_classes, load_model

PROMPTS = [1, 7, 512, 4096]
GREEDY_PROMPT, GREEDY_TOKENS = 512, 64

BASE = dict(vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=10000.0, max_position_embeddings=8192, hidden_act="silu",
            tie_word_embeddings=False)
QWEN3 = dict(BASE, model_type="qwen3", head_dim=32)
QWEN2 = dict(BASE, model_type="qwen2", rope_theta=1e6)
LLAMA = dict(BASE, model_type="llama", rms_norm_eps=1e-5, rope_theta=500000.0)
MISTRAL = dict(BASE, model_type="mistral", head_dim=16, sliding_window=None)
MOE = dict(QWEN3, model_type="qwen3_moe", num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32,
           norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
TIED = dict(tie_word_embeddings=True)
YARN = dict(rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=1024))
LLAMA3 = dict(rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                original_max_position_embeddings=1024))
WIDE = dict(hidden_size=128)


def packed(group_size, bits, **layers):
    """The `quantization` of a config; layers by the end of their path."""
    return dict(group_size=group_size, bits=bits, **layers)


# name: config, and how the weights are kept: type, packing, files, experts one by one
MODELS = {
    "qwen3": (QWEN3, {}),
    "qwen3-tied-bf16-sharded": (QWEN3 | TIED, dict(dtype=mx.bfloat16, shards=3)),
    "qwen3-yarn": (QWEN3 | YARN, {}),
    "qwen2": (QWEN2, {}),
    "qwen2-tied-yarn-f16": (QWEN2 | TIED | YARN, dict(dtype=mx.float16)),
    "llama": (LLAMA, {}),
    "llama3-tied-scaled": (LLAMA | TIED | LLAMA3, dict(dtype=mx.bfloat16)),
    "llama-linear-biased": (LLAMA | dict(attention_bias=True, mlp_bias=True, rope_scaling=dict(type="linear", factor=4.0)), {}),
    "mistral": (MISTRAL, dict(dtype=mx.bfloat16)),
    "mistral-sliding": (MISTRAL | dict(sliding_window=300, layer_types=["full_attention", "sliding_attention"]), {}),
    "qwen3_moe": (MOE, {}),
    "qwen3_moe-sparse-single-experts": (
        MOE | dict(num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1], norm_topk_prob=False),
        dict(dtype=mx.bfloat16, split_experts=True)),
    "qwen3-4bit": (QWEN3 | TIED, dict(packing=packed(64, 4), dtype=mx.bfloat16)),
    "llama-2bit": (LLAMA | LLAMA3, dict(packing=packed(32, 2))),
    "qwen2-3bit": (QWEN2, dict(packing=packed(64, 3), dtype=mx.float16)),
    "mistral-6bit": (MISTRAL, dict(packing=packed(32, 6))),
    "qwen3-8bit": (QWEN3 | WIDE, dict(packing=packed(128, 8))),
    "qwen3-mixed-bits": (QWEN3 | WIDE, dict(packing=packed(
        64, 4, lm_head=False, **{"layers.0.self_attn.v_proj": False, "embed_tokens": dict(group_size=32, bits=8),
                                 "layers.1.mlp.down_proj": dict(group_size=128, bits=6)}))),
    "qwen3_moe-4bit": (MOE | WIDE | dict(moe_intermediate_size=64), dict(
        packing=packed(64, 4, **{"mlp.gate": dict(group_size=64, bits=8)}), dtype=mx.bfloat16)),
}

# MLX multiplies with plain experts in f32 only on a CPU.
F32_ONLY = ["qwen3_moe-sparse-single-experts"]


def randomize(model):
    """Weights large enough that tokens far back matter, and nothing saturates."""
    def value(path, old):
        noise = mx.random.normal(old.shape)
        if "norm" in path:
            return 1 + 0.1 * noise
        return (0.3 if path.endswith("bias") else 1.6 / old.shape[-1] ** 0.5) * noise
    model.update(tree_unflatten([(path, value(path, old)) for path, old in tree_flatten(model.parameters())]))


def pack(model, packing):
    """Quantizes the model; gives the packing with full paths, as mlx-lm writes it to config.json."""
    usual = dict(group_size=packing["group_size"], bits=packing["bits"])
    written = dict(usual)

    def choose(path, module):
        if not hasattr(module, "to_quantized"):
            return False
        own = [value for end, value in packing.items() if path.endswith("." + end) or path == end]
        if own:
            written[path] = own[0]
        return own[0] if own else usual
    nn.quantize(model, **usual, class_predicate=choose)
    return written


def single_experts(weights):
    """Stacks of experts taken apart, as Hugging Face keeps them."""
    for name, weight in weights.items():
        if ".switch_mlp." in name:
            yield from ((name.replace("switch_mlp", f"experts.{i}"), expert) for i, expert in enumerate(weight))
        else:
            yield name, weight


def save(folder, weights, shards):
    names = sorted(weights)
    if shards == 1:
        return mx.save_safetensors(str(folder / "model.safetensors"), weights)
    places = {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[i::shards]}
        mx.save_safetensors(str(folder / file), part)
        places |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def make(folder, config, dtype=mx.float32, packing=None, shards=1, split_experts=False):
    model_class, arguments = _get_classes(config)
    model = model_class(arguments.from_dict(config))
    randomize(model)
    if packing:
        config = config | dict(quantization=pack(model, packing))
    model.set_dtype(dtype)
    weights = dict(tree_flatten(model.parameters()))
    if split_experts:
        weights = dict(single_experts(weights))
    folder.mkdir(parents=True)
    save(folder, weights, shards)
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def reference(folder):
    """What mlx-lm, loading the folder, computes in both precisions."""
    model, config = load_model(folder)
    prompts = {n: mx.random.randint(0, config["vocab_size"], (n,)).astype(mx.uint32) for n in PROMPTS}
    found = {f"prompt.{n}": prompt for n, prompt in prompts.items()}
    if folder.name not in F32_ONLY:
        found |= answers(model, prompts, "shipped")
    model.set_dtype(mx.float32)
    found |= answers(model, prompts, "f32")
    mx.save_safetensors(str(folder / "reference.safetensors"), found)


def answers(model, prompts, precision):
    found = {f"{precision}.logits.{n}": model(prompt[None])[0] for n, prompt in prompts.items()}
    answer = generate_step(prompts[GREEDY_PROMPT], model, max_tokens=GREEDY_TOKENS)
    found[f"{precision}.greedy"] = mx.array([int(token) for token, _ in answer], dtype=mx.uint32)
    mx.eval(found)
    return found


def drop_global_scale():
    """mlx-lm 0.32.2 gives gather_qmm an argument that MLX 0.32.2 does not have yet; it is None for affine packing."""
    gather = mx.gather_qmm
    mx.gather_qmm = lambda *arrays, global_scale=None, **options: gather(*arrays, **options)


def make_and_ask(folder, seed):
    # Compiled functions start a C++ compiler on the CPU.
    mx.disable_compile()
    drop_global_scale()
    mx.random.seed(seed)
    config, kept = MODELS[folder.name]
    make(folder, config, **kept)
    reference(folder)
    return folder.name


def main(out):
    shutil.rmtree(out, ignore_errors=True)
    folders = [out / name for name in MODELS]
    with concurrent.futures.ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for name in pool.map(make_and_ask, folders, range(len(folders))):
            print(f"oracle: made {name}", flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
