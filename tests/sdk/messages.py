"""Does with the Python SDK what an application does, against the base URL given, and prints what it saw as JSON."""
import json
import sys

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="local", max_retries=0)
request = {
    "model": "claude-opus-5-5",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Read hello.txt"}],
    "tools": [{
        "name": "Read",
        "description": "Reads a file.",
        "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]},
    }],
}


def seen(message):
    blocks = [{k: v for k, v in block.model_dump().items() if k in ("type", "text", "name", "input")} for block in message.content]
    usage = message.usage
    prompt = usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    return {"blocks": blocks, "stop_reason": message.stop_reason, "prompt": prompt, "output": usage.output_tokens}


with client.messages.stream(**request) as stream:
    events = [event.type for event in stream]
    streamed = seen(stream.get_final_message())
try:
    client.messages.create(model="m", max_tokens=1, messages=[{"role": "user", "content": [{"type": "text"}]}])
    error = None
except anthropic.BadRequestError as refused:
    error = refused.body["error"]

print(json.dumps({
    "first_event": events[0],
    "last_event": events[-1],
    "streamed": streamed,
    "whole": seen(client.messages.create(**request)),
    "counted": client.messages.count_tokens(**{k: v for k, v in request.items() if k != "max_tokens"}).input_tokens,
    "models": [model.id for model in client.models.list()],
    "error": error,
}))
