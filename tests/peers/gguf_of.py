#!/usr/bin/env python3
"""Write a Qwen3 model's folder as a GGUF file for llama.cpp, in f32, with its tokenizer and chat template.

    gguf_of.py MODEL_FOLDER OUT PRE_TOKENIZER

PRE_TOKENIZER: llama.cpp's name for the rule that cuts a text into words, such as llama-bpe. llama.cpp knows no rules but those that
it has a name for; whether one fits a tokenizer is seen by comparing tokens.
"""
import json, pathlib, struct, sys

import gguf
import numpy

# The folder's name of a tensor, without its block, and llama.cpp's.
TENSORS = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def tensors(file):
    """Each tensor's name and its numbers as f32."""
    data = file.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    for name, tensor in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        begin, end = (start + offset for offset in tensor["data_offsets"])
        words = numpy.frombuffer(data[begin:end], {"BF16": "<u2", "F16": "<f2", "F32": "<f4"}[tensor["dtype"]])
        if tensor["dtype"] == "BF16":
            words = (words.astype("<u4") << 16).view("<f4")
        yield name, words.astype("<f4").reshape(tensor["shape"])


def name_of(name):
    name = name.removesuffix(".weight")
    if name.startswith("model.layers."):
        _, _, block, rest = name.split(".", 3)
        return f"blk.{block}.{TENSORS[rest]}.weight"
    return f"{TENSORS[name]}.weight"


def vocabulary(folder, size):
    """Texts and kinds of all tokens, by their numbers. What the tokenizer has not is never used."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    texts, kinds = [f"[unused {number}]" for number in range(size)], [gguf.TokenType.UNUSED] * size
    for text, number in tokenizer["model"]["vocab"].items():
        texts[number], kinds[number] = text, gguf.TokenType.NORMAL
    for token in tokenizer["added_tokens"]:
        texts[token["id"]] = token["content"]
        kinds[token["id"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    return texts, kinds, merges


def main(folder, out, pre_tokenizer):
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_name(folder.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(config["rope_theta"]))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    texts, kinds, merges = vocabulary(folder, config["vocab_size"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    template = folder / "chat_template.jinja"
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    writer.add_chat_template(template.read_text() if template.exists() else settings["chat_template"])
    for name, numbers in tensors(folder / "model.safetensors"):
        writer.add_tensor(name_of(name), numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(*sys.argv[1:])
