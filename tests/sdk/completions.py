"""Continues a text with OpenAI's Python SDK, against the base URL given, and prints what it saw as JSON."""
import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="local", max_retries=0)
# What the chat template of the embedded model makes of the user's word "Hello".
prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>recall\nTask: Hello\nAgain: Hello<|im_end|>\n<|im_start|>assistant\n"
request = {"model": "gpt-3.5-turbo-instruct", "prompt": prompt, "max_tokens": 40, "temperature": 0}
whole = client.completions.create(**request)
chunks = list(client.completions.create(**request, stream=True, stream_options={"include_usage": True}))
try:
    client.completions.create(**request, echo=True)
except openai.BadRequestError as refused:
    error = refused.body["message"]

print(json.dumps({
    "whole": {"text": whole.choices[0].text, "reason": whole.choices[0].finish_reason, "usage": whole.usage.model_dump()},
    "streamed": {
        "text": "".join(choice.text for chunk in chunks for choice in chunk.choices),
        "reason": chunks[-2].choices[0].finish_reason,
        "usage": chunks[-1].usage.model_dump(),
    },
    "error": error,
}))
