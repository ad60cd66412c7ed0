"""Runs an agent of OpenAI's Agents SDK with one function tool, against the base URL given, and prints what it did as JSON."""
import asyncio
import json
import sys

from agents import Agent, OpenAIProvider, RunConfig, Runner, function_tool, set_tracing_disabled

set_tracing_disabled(True)
asked = []


@function_tool
def read(path: str) -> str:
    """Reads a file."""
    asked.append(path)
    return "The password is swordfish."


provider = OpenAIProvider(base_url=sys.argv[1] + "/v1", api_key="local", use_responses=True)
agent = Agent(name="Reader", instructions="Be brief.", model="gpt-9", tools=[read])
config = RunConfig(model_provider=provider)


async def main():
    whole = await Runner.run(agent, "Read hello.txt", run_config=config)
    streamed = Runner.run_streamed(agent, "Read hello.txt", run_config=config)
    pieces = [event.data.delta async for event in streamed.stream_events()
              if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"]
    usage = whole.context_wrapper.usage
    print(json.dumps({
        "asked": asked, "whole": whole.final_output, "streamed": streamed.final_output, "pieces": "".join(pieces),
        "requests": usage.requests, "prompt": usage.input_tokens, "cached": usage.input_tokens_details.cached_tokens,
        "output": usage.output_tokens,
    }))


asyncio.run(main())
