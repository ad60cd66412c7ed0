"""Asks pydantic-ai for typed objects through each of our protocols, against the base URL given, and prints them as JSON."""
import json
import sys

from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from order import Order

print("imported", file=sys.stderr)
url = sys.argv[1]
claude = AnthropicProvider(base_url=url, api_key="local")
gpt = OpenAIProvider(base_url=url + "/v1", api_key="local")
models = {
    "messages": AnthropicModel("claude-opus-5-5", provider=claude),
    "chat": OpenAIChatModel("gpt-9", provider=gpt),
    "responses": OpenAIResponsesModel("gpt-9", provider=gpt),
}
# By default the object is the arguments of a call. The other way is the format of the text.
ways = {"": Order, "_native": NativeOutput(Order)}
seen = {}
for protocol, model in models.items():
    for way, output in ways.items():
        ran = Agent(model, output_type=output, retries=0, model_settings={"max_tokens": 400}).run_sync("Order an apple")
        seen[protocol + way] = ran.output.model_dump()
        # A sign of life: the test takes a long silence for a hang.
        print(protocol + way, file=sys.stderr)
print(json.dumps(seen))
