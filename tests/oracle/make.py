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
# Gated delta nets between layers with attention, wide enough for groups of 64 to be packed.
HYBRID = dict(BASE, num_hidden_layers=4, head_dim=32, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=16,
              linear_value_head_dim=16, linear_conv_kernel_dim=4, full_attention_interval=4)
SHARED_MOE = dict(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=64, shared_expert_intermediate_size=64,
                  norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
NEXT = dict(HYBRID, **SHARED_MOE, model_type="qwen3_next", partial_rotary_factor=0.25)
QWEN35 = dict({k: v for k, v in HYBRID.items() if k != "rope_theta"}, model_type="qwen3_5",
              rope_parameters=dict(rope_type="default", rope_theta=1e6, partial_rotary_factor=0.25, mrope_section=[2, 1, 1]))
MINISTRAL = dict({k: v for k, v in BASE.items() if k != "rope_theta"}, model_type="ministral3", head_dim=32,
                 rope_parameters=dict(rope_type="yarn", rope_theta=1e6, factor=8.0, original_max_position_embeddings=1024,
                                      beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0,
                                      llama_4_scaling_beta=0.1))
# Experts chosen by sigmoids, after a dense layer.
GLM4 = dict(BASE, model_type="glm4_moe", head_dim=32, num_hidden_layers=3, partial_rotary_factor=0.5, rope_scaling=None,
            attention_bias=True, use_qk_norm=True, n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=64,
            n_shared_experts=1, first_k_dense_replace=1, norm_topk_prob=True, routed_scaling_factor=1.8, n_group=1, topk_group=1)

# Norms over all heads at once; experts chosen by sigmoids in every layer.
MINIMAX = dict(BASE, model_type="minimax_m2", head_dim=32, rotary_dim=16, use_qk_norm=True, num_local_experts=8,
               num_experts_per_tok=2, intermediate_size=64, shared_intermediate_size=0, scoring_func="sigmoid")

# Sinks, a window in every other layer, experts with biases. Without "truncate": false, which mlx-lm does not read.
GPT_OSS = dict(BASE, model_type="gpt_oss", head_dim=32, num_hidden_layers=4, sliding_window=128, rope_theta=150000,
               rms_norm_eps=1e-5, num_local_experts=8, num_experts_per_tok=2, intermediate_size=64, attention_bias=True,
               swiglu_limit=7.0, rope_scaling=dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=1024,
                                                   beta_fast=32.0, beta_slow=1.0))

# Attention through a latent space.
GLM4_LITE = dict(BASE, model_type="glm4_moe_lite", num_key_value_heads=4, rms_norm_eps=1e-5, num_hidden_layers=3, q_lora_rank=64,
                 kv_lora_rank=64, qk_nope_head_dim=32, qk_rope_head_dim=16, v_head_dim=48, n_routed_experts=8, n_shared_experts=1,
                 num_experts_per_tok=2, moe_intermediate_size=64, routed_scaling_factor=1.8, norm_topk_prob=True, n_group=1,
                 topk_group=1, scoring_func="sigmoid", topk_method="noaux_tc", first_k_dense_replace=1, moe_layer_freq=1,
                 num_nextn_predict_layers=1, attention_bias=False)
# As the small models are: the last layers borrow keys and values, and every layer has an input of its own.
GEMMA4 = dict({k: v for k, v in BASE.items() if k not in ("rope_theta", "hidden_act")}, model_type="gemma4_text", head_dim=16,
              global_head_dim=32, num_hidden_layers=7, sliding_window=128, num_kv_shared_layers=3, use_double_wide_mlp=True,
              hidden_size_per_layer_input=64, vocab_size_per_layer_input=512, final_logit_softcapping=30.0,
              hidden_activation="gelu_pytorch_tanh", attention_k_eq_v=False, enable_moe_block=False, tie_word_embeddings=True,
              layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"] * 2)
GEMMA4["layer_types"] = GEMMA4["layer_types"][:7]
GEMMA4["rope_parameters"] = dict(
    full_attention=dict(rope_type="proportional", rope_theta=1e6, partial_rotary_factor=0.25),
    sliding_attention=dict(rope_type="default", rope_theta=10000.0))
# As the large ones are: experts beside the MLP, and values that are their keys.
GEMMA4_MOE = dict(GEMMA4, num_kv_shared_layers=0, use_double_wide_mlp=False, hidden_size_per_layer_input=0, attention_k_eq_v=True,
                  num_global_key_value_heads=1, enable_moe_block=True, num_experts=8, top_k_experts=2, moe_intermediate_size=64)


def with_images(model_type, text, **changes):
    """The configuration of a model that also reads images: the text model's is within it."""
    text = text | changes
    return dict(model_type=model_type, text_config=text, vision_config=dict(depth=1), vocab_size=text["vocab_size"])


TIED = dict(tie_word_embeddings=True)
YARN = dict(rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=1024))
LLAMA3 = dict(rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                original_max_position_embeddings=1024))
WIDE = dict(hidden_size=128)


def packed(group_size, bits, **layers):
    """The `quantization` of a config; layers by the end of their path."""
    return dict(group_size=group_size, bits=bits, **layers)


MXFP4 = dict(group_size=32, bits=4, mode="mxfp4")
EXPERTS = ["experts.gate_proj", "experts.up_proj", "experts.down_proj"]


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

MODELS |= {
    "ministral3": (MINISTRAL, dict(dtype=mx.bfloat16)),
    "mistral3-ministral3-sliding-4bit": (with_images("mistral3", MINISTRAL, sliding_window=300, layer_types=[
        "full_attention", "sliding_attention"]), dict(packing=packed(32, 4))),
    "mistral3-mistral": (with_images("mistral3", MISTRAL), {}),
    "glm4_moe": (GLM4, {}),
    "glm4_moe-bf16-raw": (
        GLM4 | dict(use_qk_norm=False, n_shared_experts=2, norm_topk_prob=False, first_k_dense_replace=0),
        dict(dtype=mx.bfloat16, split_experts=True, more_layers=True)),
    "glm4_moe-4bit": (GLM4 | WIDE, dict(packing=packed(64, 4))),
    "minimax": (MINIMAX, {}),
    "minimax-bf16-raw": (MINIMAX | dict(use_qk_norm=False), dict(dtype=mx.bfloat16, split_experts=True)),
    "minimax-4bit": (MINIMAX | WIDE, dict(packing=packed(
        64, 4, **{"block_sparse_moe.gate": dict(group_size=64, bits=8)}), dtype=mx.bfloat16)),
    "gpt_oss": (GPT_OSS, {}),
    "gpt_oss-8bit-mxfp4-experts": (GPT_OSS | dict(layer_types=["full_attention", "sliding_attention"] * 2), dict(
        packing=packed(64, 8, **dict.fromkeys(EXPERTS, MXFP4)))),
    "gpt_oss-8bit": (GPT_OSS, dict(packing=packed(64, 8), dtype=mx.bfloat16)),
    "gpt_oss-mxfp4-raw": (GPT_OSS, dict(packing=packed(64, 8, others=False, **dict.fromkeys(EXPERTS, MXFP4)), openai=True)),
    "qwen3_next": (NEXT | dict(num_hidden_layers=8, mlp_only_layers=[1], head_dim=64), {}),
    "qwen3_next-4bit": (NEXT | WIDE, dict(packing=packed(
        64, 4, **{"mlp.gate": dict(group_size=64, bits=8), "mlp.shared_expert_gate": dict(group_size=64, bits=8)}))),
    "qwen3_next-raw": (NEXT, dict(dtype=mx.bfloat16, raw=True)),
    "qwen3_5": (with_images("qwen3_5", QWEN35, full_attention_interval=2), {}),
    "qwen3_5-tied-bf16-raw": (with_images("qwen3_5", QWEN35 | TIED), dict(dtype=mx.bfloat16, raw=True)),
    "qwen3_5-text-5bit": (QWEN35 | WIDE, dict(packing=packed(32, 5))),
    "qwen3_5_moe-mixed-bits": (with_images("qwen3_5_moe", QWEN35 | SHARED_MOE | WIDE), dict(packing=packed(
        64, 4, **{"mlp.gate": dict(group_size=64, bits=8), "mlp.shared_expert_gate": dict(group_size=64, bits=8),
                  "linear_attn.in_proj_qkv": dict(group_size=32, bits=6), "linear_attn.in_proj_a": False,
                  "self_attn.v_proj": dict(group_size=128, bits=8)}))),
    "qwen3_5_moe-raw": (with_images("qwen3_5_moe", QWEN35 | SHARED_MOE), dict(raw=True)),
    "glm4_moe_lite": (GLM4_LITE, {}),
    "glm4_moe_lite-bf16-raw": (GLM4_LITE | dict(q_lora_rank=None, n_shared_experts=2), dict(
        dtype=mx.bfloat16, split_experts=True, more_layers=True, raw_latent=True)),
    "glm4_moe_lite-4bit": (GLM4_LITE | WIDE | dict(qk_nope_head_dim=64), dict(packing=packed(64, 4))),
    "gemma4": (with_images("gemma4", GEMMA4), {}),
    "gemma4-text-4bit": (GEMMA4, dict(packing=packed(64, 4), dtype=mx.bfloat16)),
    "gemma4-moe": (with_images("gemma4_unified", GEMMA4_MOE), {}),
    "gemma4-moe-mixed-bits": (with_images("gemma4", GEMMA4_MOE), dict(packing=packed(
        64, 4, **{"router.proj": dict(group_size=64, bits=8), "self_attn.q_proj": dict(group_size=32, bits=6)}))),
    "gemma4-moe-bf16-raw": (with_images("gemma4", GEMMA4_MOE, num_kv_shared_layers=1), dict(dtype=mx.bfloat16, raw_gemma=True)),
}

# MLX multiplies with plain experts in f32 only on a CPU. Of a hybrid in half precision, mlx-lm's own logits are up to 2 from those
# in f32: where the delta rule is computed in another order, there is nothing to compare. A router of gpt_oss-mxfp4-raw has two
# experts that are as good but for rounding, in the longest prompt: what is computed after that hangs on how the prompt is cut.
F32_ONLY = ["qwen3_moe-sparse-single-experts", "glm4_moe-bf16-raw", "gpt_oss-mxfp4-raw", "minimax-bf16-raw", "qwen3_next-raw",
            "qwen3_5-tied-bf16-raw", "gemma4-moe-bf16-raw",
            "glm4_moe_lite-bf16-raw"]


def randomize(model):
    """Weights large enough that tokens far back matter, and nothing saturates."""
    def value(path, old):
        noise = mx.random.normal(old.shape)
        if "norm" in path or path.endswith(("layer_scalar", "router.scale", "per_expert_scale")):
            return 1 + 0.1 * noise
        if path.endswith("A_log"):
            return noise
        if path.endswith("dt_bias"):
            return noise - 2
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
        if not own:
            return packing.get("others", usual)
        written[path] = own[0]
        return own[0]
    nn.quantize(model, **usual, class_predicate=choose)
    return written


def single_experts(weights):
    """Stacks of experts taken apart, as Hugging Face keeps them."""
    for name, weight in weights.items():
        if ".block_sparse_moe.switch_mlp." in name:
            for part, raw in dict(gate_proj="w1", down_proj="w2", up_proj="w3").items():
                name = name.replace(part, raw)
        if ".switch_mlp." in name:
            yield from ((name.replace("switch_mlp", f"experts.{i}"), expert) for i, expert in enumerate(weight))
        else:
            yield name, weight


def as_raw(weights):
    """A hybrid's weights as Hugging Face keeps them: most norms less 1, the convolution's axes and experts otherwise."""
    text = any(name.startswith("language_model.") for name in weights)
    stacks = {}
    for name, weight in weights.items():
        name = name.replace("language_model.model.", "model.language_model.").replace("language_model.", "")
        if "norm" in name and "linear_attn" not in name:
            yield name, (weight.astype(mx.float32) - 1).astype(weight.dtype)
        elif "conv1d" in name:
            yield name, mx.contiguous(weight.moveaxis(1, 2))
        elif ".switch_mlp." in name and text:
            path, part = name.removesuffix(".weight").split(".switch_mlp.")
            stacks.setdefault(path, {})[part] = weight
        elif ".switch_mlp." in name:
            yield from single_experts({name: weight})
        else:
            yield name, weight
    for path, parts in stacks.items():
        yield f"{path}.experts.gate_up_proj", mx.concatenate([parts["gate_proj"], parts["up_proj"]], axis=1)
        yield f"{path}.experts.down_proj", parts["down_proj"]
    # Parts that only say how images are read and how to guess several tokens at once.
    yield ("model.visual.patch_embed.proj.weight" if text else "mtp.fc.weight"), mx.zeros((4, 4))


def as_raw_latent(weights):
    """Each head's matrices between keys, values and latents in one tensor, as Hugging Face keeps them."""
    for name, weight in weights.items():
        if name.endswith("embed_q.weight"):
            values = weights[name.replace("embed_q", "unembed_out")]
            yield name.replace("embed_q", "kv_b_proj"), mx.concatenate([weight.swapaxes(-1, -2), values], axis=1).flatten(0, 1)
        elif "unembed_out" not in name:
            yield name, weight


def as_raw_gemma(weights, layers):
    """Gemma 4 as Hugging Face keeps it: gates and ups in one tensor, and keys also in layers that borrow them."""
    for name, weight in weights.items():
        name = name.replace("language_model.model.", "model.language_model.")
        if name.endswith(".switch_glu.gate_proj.weight"):
            up = weights[name.replace("model.language_model.", "language_model.model.").replace("gate_proj", "up_proj")]
            yield name.replace("switch_glu.gate_proj.weight", "gate_up_proj"), mx.concatenate([weight, up], axis=1)
        elif name.endswith(".switch_glu.down_proj.weight"):
            yield name.replace("switch_glu.down_proj.weight", "down_proj"), weight
        elif ".switch_glu." not in name:
            yield name, weight
    yield f"model.language_model.layers.{layers - 1}.self_attn.k_proj.weight", mx.zeros((4, 4))
    yield "model.vision_tower.patch_embedder.input_proj.weight", mx.zeros((4, 4))
    yield "model.embed_vision.embedding_projection.weight", mx.zeros((4, 4))


def as_openai(weights):
    """gpt-oss as OpenAI keeps it: gates and ups in one tensor, row by row in turn, and codes as bytes in blocks."""
    def whole(gates, ups):
        return mx.stack([gates, ups], axis=2).flatten(1, 2)

    def stored(part, array):
        return mx.unflatten(array.view(mx.uint8), -1, (-1, 16)) if part == "blocks" else array
    raw = dict(weight="blocks", scales="scales", bias="bias")
    for name, weight in weights.items():
        path, _, layer = name.partition(".experts.")
        projection, _, part = layer.partition(".")
        if projection == "gate_proj":
            both = whole(weight, weights[f"{path}.experts.up_proj.{part}"])
            yield f"{path}.experts.gate_up_proj_{raw[part]}", stored(raw[part], both)
        elif projection == "down_proj":
            yield f"{path}.experts.down_proj_{raw[part]}", stored(raw[part], weight)
        elif projection != "up_proj":
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


def make(folder, config, dtype=mx.float32, packing=None, shards=1, split_experts=False, more_layers=False, raw=False,
         raw_gemma=False, raw_latent=False, openai=False):
    model_class, arguments = _get_classes(config)
    model = model_class(arguments.from_dict(config))
    randomize(model)
    if packing:
        config = config | dict(quantization=pack(model, packing))
    # Every checkpoint keeps these in f32.
    kept = [(path, value) for path, value in tree_flatten(model.parameters())
            if path.endswith(("A_log", "e_score_correction_bias"))]
    model.set_dtype(dtype)
    model.update(tree_unflatten(kept))
    weights = dict(tree_flatten(model.parameters()))
    if split_experts:
        weights = dict(single_experts(weights))
    if raw:
        weights = dict(as_raw(weights))
    if raw_latent:
        weights = dict(as_raw_latent(weights))
    if raw_gemma:
        weights = dict(as_raw_gemma(weights, config["text_config"]["num_hidden_layers"]))
    if openai:
        weights = dict(as_openai(weights))
        del config["quantization"]
        config["quantization_config"] = dict(quant_method="mxfp4", modules_to_not_convert=["lm_head"])
    if more_layers:
        # A layer beyond the last one, which guesses several tokens at once.
        weights[f"model.layers.{config['num_hidden_layers']}.eh_proj.weight"] = mx.zeros((4, 4))
    folder.mkdir(parents=True)
    save(folder, weights, shards)
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def reference(folder):
    """What mlx-lm, loading the folder, computes in both precisions."""
    model, config = load_model(folder)
    vocabulary = config.get("text_config", config)["vocab_size"]
    prompts = {n: mx.random.randint(0, vocabulary, (n,)).astype(mx.uint32) for n in PROMPTS}
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


def main(out, some):
    """Makes all models, or only those whose name contains `some`."""
    # A model is the same whichever others are made: its place in the list is its seed, so new ones come last.
    seeds = [seed for seed, name in enumerate(MODELS) if some in name]
    folders = [out / name for name in MODELS if some in name]
    for folder in [out] if not some else folders:
        shutil.rmtree(folder, ignore_errors=True)
    with concurrent.futures.ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for name in pool.map(make_and_ask, folders, seeds):
            print(f"oracle: made {name}", flush=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
