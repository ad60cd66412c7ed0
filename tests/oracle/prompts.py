#!/usr/bin/env python3
"""Write what transformers makes of conversations: the token ids of apply_chat_template, with a real tokenizer and template.

    prompts.py TOKENIZER_FOLDER OUTPUT.json

Each conversation is given twice: as a Messages API request, for the engine, and as chat messages, for transformers.
"""
import json, sys

from transformers import AutoTokenizer

SCHEMA = {"type": "object", "properties": {"path": {"type": "string", "description": "Where, e.g. \"a/b\"."},
                                           "lines": {"type": "array", "items": {"type": "integer"}}}, "required": ["path"]}
TOOLS = [("Read", "Reads <a file> & 'more'.\n\tÉ, 日本語, 🙂.", SCHEMA), ("Bash", None, {"type": "object"})]
ARGUMENTS = {"path": "src/é 🙂.rs", "lines": [1, 2, 10], "more": {"x": None, "y": [True, 1.5, "a\nb"], "z": {}}}

TEXTS = ["Hi", "  two  spaces and\ttabs \n\n\n end  ", "fn main() {\n    println!(\"{}\", 1_000);\n}\n", "日本語のテキスト、한국어, العربية",
         "emoji 🙂👩‍👩‍👧 and é vs e\u0301", "numbers 1234567890 3.14 0xff", "don't we'll I'M", "<b>html</b> &amp; <not-a-token>", "\r\n line \r\n"]


def request(messages, system=None, tools=(), thinking=False):
    body = {"model": "m", "max_tokens": 1, "messages": messages}
    if system:
        body["system"] = [{"type": "text", "text": text} for text in system]
    if tools:
        body["tools"] = [dict(name=name, input_schema=schema, **({"description": text} if text else {}))
                         for name, text, schema in tools]
    if thinking:
        body["thinking"] = {"type": "adaptive"}
    return body


def functions(tools):
    return [{"type": "function", "function": dict(name=name, **({"description": text} if text else {}), parameters=schema)}
            for name, text, schema in tools]


def use(id, name, arguments):
    return {"type": "tool_use", "id": id, "name": name, "input": arguments}


def call(id, name, arguments):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def user(text):
    return {"role": "user", "content": text}


def conversations():
    """Name, request, chat messages, tools, thinking."""
    for number, text in enumerate(TEXTS):
        yield f"text {number}", request([user(text)]), [user(text)], (), False
    yield ("system and thinking", request([user("Hi")], system=["You are A.", "Be brief."], thinking=True),
           [{"role": "system", "content": "You are A.\n\nBe brief."}, user("Hi")], (), True)
    first = [{"role": "system", "content": "S"}, user("Read it.")]
    turn = {"role": "assistant", "content": "Reading.", "tool_calls": [call("t1", "Read", ARGUMENTS), call("t2", "Bash", {})]}
    results = [{"role": "tool", "tool_call_id": "t1", "content": "one\n"}, {"role": "tool", "tool_call_id": "t2", "content": "Error: no"}]
    blocks = [{"type": "text", "text": "Reading."}, use("t1", "Read", ARGUMENTS), use("t2", "Bash", {})]
    told = [{"type": "tool_result", "tool_use_id": "t1", "content": "one\n"},
            {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [{"type": "text", "text": "no"}]}]
    thought = {"type": "thinking", "thinking": "I should\nread.", "signature": "s"}
    body = [user("Read it."), {"role": "assistant", "content": blocks}, {"role": "user", "content": told}]
    yield "tools", request([user("Read it.")], system=["S"], tools=TOOLS), first, TOOLS, False
    yield "tool calls and results", request(body, system=["S"], tools=TOOLS), first + [turn] + results, TOOLS, False
    yield ("thoughts before calls", request([body[0], {"role": "assistant", "content": [thought] + blocks}, body[2]], system=["S"],
                                            tools=TOOLS, thinking=True),
           first + [dict(turn, reasoning_content=thought["thinking"])] + results, TOOLS, True)
    yield ("a later turn", request(body + [{"role": "assistant", "content": [thought, {"type": "text", "text": "It says one.\n"}]},
                                           user([{"type": "text", "text": "Thanks."}])], system=["S"], tools=TOOLS, thinking=True),
           first + [turn] + results + [{"role": "assistant", "content": "It says one.\n", "reasoning_content": thought["thinking"]},
                                       user("Thanks.")], TOOLS, True)
    yield ("a call without text", request([user("Go."), {"role": "assistant", "content": [use("t", "Bash", {"a": "</tool>"})]},
                                           {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": ""},
                                                                        {"type": "text", "text": "And now?"}]}], tools=TOOLS),
           [user("Go."), {"role": "assistant", "content": "", "tool_calls": [call("t", "Bash", {"a": "</tool>"})]},
            {"role": "tool", "tool_call_id": "t", "content": ""}, user("And now?")], TOOLS, False)
    late = [user("a"), {"role": "system", "content": "Be quick."}]
    yield "a late system message", request(late), late, (), False


def main(folder, output):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = []
    for name, body, messages, tools, thinking in conversations():
        ids = tokenizer.apply_chat_template(messages, tools=functions(tools) or None, add_generation_prompt=True,
                                            enable_thinking=thinking, tokenize=True, return_dict=False)
        cases.append({"name": name, "request": body, "ids": ids})
    json.dump(cases, open(output, "w"))
    print(f"oracle: {len(cases)} conversations as transformers tokenizes them")


main(*sys.argv[1:])
