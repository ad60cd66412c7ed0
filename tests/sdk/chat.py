"""Does with OpenAI's Python SDK what an application does, against the base URL given, and prints what it saw as JSON."""
import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="local", max_retries=0)
request = {
    "model": "gpt-9",
    "max_completion_tokens": 64,
    "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Read hello.txt"}],
    "tools": [{
        "type": "function",
        "function": {
            "name": "Read",
            "description": "Reads a file.",
            "parameters": {"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]},
        },
    }],
}


def seen(completion):
    choice, usage = completion.choices[0], completion.usage
    calls = [{"name": call.function.name, "arguments": json.loads(call.function.arguments)} for call in choice.message.tool_calls or []]
    cached = usage.prompt_tokens_details.cached_tokens
    return {"text": choice.message.content, "calls": calls, "reason": choice.finish_reason,
            "prompt": usage.prompt_tokens, "cached": cached, "output": usage.completion_tokens}


def error_of(**changes):
    try:
        client.chat.completions.create(**{**request, **changes})
    except openai.BadRequestError as refused:
        return {"type": refused.type, "message": refused.body["message"]}


with client.chat.completions.stream(**request, stream_options={"include_usage": True}) as stream:
    for event in stream:
        pass
    streamed = stream.get_final_completion()

# The next turn: the call's result goes back with the id that the server gave.
call = streamed.choices[0].message.tool_calls[0]
turn = [
    {"role": "assistant", "content": streamed.choices[0].message.content,
     "tool_calls": [{"id": call.id, "type": "function", "function": {"name": "Read", "arguments": call.function.arguments}}]},
    {"role": "tool", "tool_call_id": call.id, "content": "The password is swordfish."},
]
follow_up = client.chat.completions.create(**{**request, "messages": request["messages"] + turn})

print(json.dumps({
    "streamed": seen(streamed),
    "whole": seen(client.chat.completions.create(**request)),
    "follow_up": follow_up.choices[0].message.content,
    "call_id": call.id,
    "models": [model.id for model in client.models.list()],
    "error": error_of(messages=[{"role": "user", "content": [{"type": "hologram"}]}]),
}))
