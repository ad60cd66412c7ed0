"""Does with the Responses API of OpenAI's Python SDK what an application does, against the base URL given, and prints what it saw as JSON."""
import json
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="local", max_retries=0)
tool = {
    "type": "function", "name": "Read", "description": "Reads a file.", "strict": False,
    "parameters": {"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]},
}
question = [{"role": "user", "content": "Read hello.txt"}]
request = {"model": "gpt-9", "max_output_tokens": 64, "instructions": "Be brief.", "tools": [tool]}


def seen(response):
    calls = [{"name": item.name, "arguments": json.loads(item.arguments)} for item in response.output if item.type == "function_call"]
    usage = response.usage
    return {"text": response.output_text, "calls": calls, "status": response.status, "prompt": usage.input_tokens,
            "cached": usage.input_tokens_details.cached_tokens, "output": usage.output_tokens}


def error_of(**changes):
    try:
        client.responses.create(input=question, **request, **changes)
    except openai.BadRequestError as refused:
        return {"type": refused.type, "param": refused.param, "message": refused.body["message"]}


with client.responses.stream(input=question, **request) as stream:
    events = [event.type for event in stream]
    streamed = stream.get_final_response()
raw = list(client.responses.create(input=question, stream=True, **request))

# The next turn: what the model said goes back as it came, and the call's output with the id that the server gave.
call = next(item for item in streamed.output if item.type == "function_call")
output = {"type": "function_call_output", "call_id": call.call_id, "output": "The password is swordfish."}
turn = [item.model_dump(exclude={"parsed_arguments", "parsed"}) for item in streamed.output]
follow_up = client.responses.create(input=[*question, *turn, output], **request)

print(json.dumps({
    "streamed": seen(streamed),
    "whole": seen(client.responses.create(input=question, **request)),
    "follow_up": follow_up.output_text,
    "call_id": call.call_id,
    "first_event": events[0],
    "last_event": events[-1],
    "numbers_are_in_order": [event.sequence_number for event in raw] == list(range(len(raw))),
    "error": error_of(previous_response_id="resp_1"),
}))
