#!/usr/bin/env python3
"""Write traces of short requests with three tools, which fit into the tiny model's window of 640 tokens.

    short.py OUT_FOLDER
"""
import json, pathlib, sys

FOLDER = "/home/user/project"


def tool(name, description, *arguments):
    properties = {argument: {"type": "string"} for argument in arguments}
    schema = {"type": "object", "properties": properties, "required": list(arguments), "additionalProperties": False}
    return {"name": name, "description": description, "input_schema": schema}


TOOLS = [tool("Read", "Reads a file.", "file_path"), tool("Write", "Writes a file.", "file_path", "content"),
         tool("Bash", "Runs a command.", "command", "description")]
# What the user says, and the call that is wanted: the tool and the arguments that are certain.
ASKED = [
    ("Read hello.txt", "Read", {"file_path": f"{FOLDER}/hello.txt"}),
    ("read src/main.rs", "Read", {"file_path": f"{FOLDER}/src/main.rs"}),
    ("Read notes.md and tell me what it says", "Read", {"file_path": f"{FOLDER}/notes.md"}),
    ("Run `git status` and tell me what it prints", "Bash", {"command": "git status"}),
    ("Write a file named greeting.txt that says good morning", "Write",
     {"file_path": f"{FOLDER}/greeting.txt", "content": "good morning"}),
]


def trace(seq, text, name, arguments):
    request = {"model": "claude", "max_tokens": 64, "stream": True, "tools": TOOLS,
               "system": f"You help with files.\nPrimary working directory: {FOLDER}\n",
               "messages": [{"role": "user", "content": text}]}
    call = {"type": "tool_use", "id": f"toolu_{seq}", "name": name, "input": arguments}
    answer = {"id": f"msg_{seq}", "type": "message", "role": "assistant", "model": "claude", "content": [call],
              "stop_reason": "tool_use", "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    return {"version": 1, "id": f"short-{seq}", "session": "short", "seq": seq, "recorded_at": "2026-01-01T00:00:00Z",
            "client": "short.py", "mode": "anthropic",
            "request": {"method": "POST", "path": "/v1/messages", "headers": {}, "body": request},
            "response": {"status": 200, "headers": {}, "events": [], "body": answer},
            "timing": {"ttft_us": None, "e2e_us": None, "itl_us": None}, "outcome": "complete"}


def main(out):
    folder = pathlib.Path(out) / "short"
    folder.mkdir(parents=True, exist_ok=True)
    for seq, asked in enumerate(ASKED, 1):
        (folder / f"{seq:04}.json").write_text(json.dumps(trace(seq, *asked), indent=2))


main(*sys.argv[1:])
