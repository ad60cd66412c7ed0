#!/usr/bin/env python3
"""Answers for tests/oracle_prompts.rs, one JSON object a line: what transformers makes of conversations.

    {"conversations": true}             the conversations that every template is tried with, and texts for tokenizers
    {"source", "messages", "tools", "thinking", "tokens"}    the template filled: {"text"} or {"error"}
    {"folder", "text"}                                       the text's {"ids"} as that folder's tokenizer has them
"""
import functools, json, sys

from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

from conversations import conversations, texts


@functools.cache
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def answer(asked):
    if "conversations" in asked:
        return {kind: [one.json() for one in made()] for kind, made in (("conversations", conversations), ("texts", texts))}
    if "folder" in asked:
        return {"ids": tokenizer(asked["folder"]).encode(asked["text"], add_special_tokens=False)}
    try:
        rendered, _ = render_jinja_template([asked["messages"]], tools=asked["tools"] or None, chat_template=asked["source"],
                                            add_generation_prompt=True, enable_thinking=asked["thinking"], **asked["tokens"])
        return {"text": rendered[0]}
    except Exception as error:
        return {"error": str(error)}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
