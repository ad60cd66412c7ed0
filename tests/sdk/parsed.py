"""Asks both Python SDKs for typed objects, against the base URL given, and prints what they made of the answers as JSON."""
import json
import sys

import anthropic
import openai

from order import Order

# A sign of life: the test takes a long silence for a hang.
print("imported", file=sys.stderr)
messages = [{"role": "user", "content": "Order an apple"}]
claude = anthropic.Anthropic(base_url=sys.argv[1], api_key="local", max_retries=0)
gpt = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="local", max_retries=0)
request = {"model": "claude-opus-5-5", "max_tokens": 400, "messages": messages}

parsed = {
    "messages": claude.messages.parse(**request, output_format=Order).parsed_output,
    "beta": claude.beta.messages.parse(**request, output_format=Order).parsed_output,
    "chat": gpt.chat.completions.parse(model="gpt-9", messages=messages, response_format=Order).choices[0].message.parsed,
    "responses": gpt.responses.parse(model="gpt-9", input=messages, text_format=Order).output_parsed,
}
print("parsed", file=sys.stderr)
with claude.messages.stream(**request, output_format=Order) as stream:
    parsed["streamed"] = stream.get_final_message().parsed_output
with gpt.chat.completions.stream(model="gpt-9", messages=messages, response_format=Order) as stream:
    parsed["chat_streamed"] = stream.get_final_completion().choices[0].message.parsed
with gpt.responses.stream(model="gpt-9", input=messages, text_format=Order) as stream:
    for event in stream:
        pass
    parsed["responses_streamed"] = stream.get_final_response().output_parsed

assert all(isinstance(order, Order) for order in parsed.values()), parsed
print(json.dumps({name: order.model_dump() for name, order in parsed.items()}))
