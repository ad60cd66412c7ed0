#!/usr/bin/env python3
"""Make the model that servers are compared on: a small random Qwen3 with the real vocabulary. Always the same.

    model.py TOKENIZER_FOLDER OUT
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


def main(tokenizer, out):
    tokenizer, out = pathlib.Path(tokenizer), pathlib.Path(out)
    if (out / "config.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, out / name)
    model_class, args_class = _get_classes(CONFIG)
    model = model_class(args_class.from_dict(CONFIG))
    mx.random.seed(7)
    # Norms stay 1; what is multiplied is as a fresh model has it.
    random = lambda path, weight: weight if "norm" in path else mx.random.normal(weight.shape) * 0.02
    model.update(tree_map_with_path(random, model.parameters()))
    mx.save_safetensors(str(out / "model.safetensors"), dict(tree_flatten(model.parameters())), {"format": "mlx"})
    (out / "generation_config.json").write_text(json.dumps(dict(do_sample=False, eos_token_id=[151645, 151643])))
    # Last: it says that the folder is whole.
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2))


main(*sys.argv[1:])
