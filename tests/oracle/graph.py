#!/usr/bin/env python3
"""Count the operations that mlx-lm takes for one decoding step, before MLX computes any of them, as JSON.

    graph.py MODEL_FOLDER LENGTH...

One line for each length of the conversation and each kind of step: {"tokens", "step", "operations": {name: count}}. The keys and
values of the conversation are zeros: how many operations a step takes does not depend on them.
"""
import json, re, sys, tempfile
from collections import Counter
from pathlib import Path

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, KVCache
from mlx_lm.utils import load_model

# The steps: sequences, and new tokens of each.
STEPS = {"one": (1, 1), "four together": (4, 1), "a draft of four": (1, 5)}


def filled(cache, sequences, config, tokens):
    """A cache with room for more that holds `tokens` tokens."""
    shape = (sequences, config["num_key_value_heads"], (tokens // 256 + 1) * 256, config["head_dim"])
    cache.keys, cache.values = mx.zeros(shape), mx.zeros(shape)
    mx.eval(cache.keys, cache.values)
    return cache


def caches(sequences, config, tokens):
    for _ in range(config["num_hidden_layers"]):
        if sequences == 1:
            cache = filled(KVCache(), sequences, config, tokens)
            cache.offset = tokens
        else:
            cache = filled(BatchKVCache([0] * sequences), sequences, config, tokens)
            cache.offset, cache._idx = mx.array([tokens] * sequences), tokens
            mx.eval(cache.offset, cache.left_padding)
        yield cache


def operations(output):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.dot"
        mx.export_to_dot(str(path), output)
        return Counter(re.findall(r'\[label ="(\w+)"', path.read_text()))


def main(folder, *lengths):
    # As the engine counts: MLX would compile the activation on a GPU.
    mx.disable_compile()
    model, config = load_model(Path(folder))
    mx.eval(model.parameters())
    for tokens in map(int, lengths):
        for step, (sequences, new) in STEPS.items():
            tokens_in = mx.zeros((sequences, new), dtype=mx.uint32)
            mx.eval(tokens_in)
            logits = model(tokens_in, cache=list(caches(sequences, config, tokens)))
            print(json.dumps({"tokens": tokens, "step": step, "operations": operations(logits)}))


main(*sys.argv[1:])
