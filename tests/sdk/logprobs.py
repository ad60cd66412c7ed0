"""Asks for log-probabilities with OpenAI's Python SDK, against the base URL given, and prints what it saw as JSON.

Each token is [token, logprob, bytes, top], where top has [token, logprob] for each of the likeliest.
"""
import functools
import json
import operator
import sys

import openai

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="local", max_retries=0)
question = [{"role": "user", "content": "Hello"}]
chat = {"model": "m", "messages": question, "temperature": 0, "max_completion_tokens": 40}
response = {"model": "m", "input": "Hello", "temperature": 0, "max_output_tokens": 40}
include = {"include": ["message.output_text.logprobs"], "top_logprobs": 5}
prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>recall\nTask: Hello\nAgain: Hello<|im_end|>\n<|im_start|>assistant\n"
completion = {"model": "m", "prompt": prompt, "max_tokens": 40, "temperature": 0, "logprobs": 5}


def seen(tokens):
    return [[token.token, token.logprob, token.bytes, [[top.token, top.logprob] for top in token.top_logprobs]] for token in tokens or []]


def refused(call, request, **changes):
    try:
        call(**{**request, **changes})
    except openai.BadRequestError as error:
        return f"{error.param} {error.body['message']}"


def chat_pieces(**changes):
    chunks = client.chat.completions.create(**{**chat, **changes}, stream=True)
    choices = [choice for chunk in chunks for choice in chunk.choices]
    pieces = [[choice.delta.content or "", seen(choice.logprobs and choice.logprobs.content)] for choice in choices]
    return [piece for piece in pieces if piece != ["", []]]


def of_completion(choice):
    given = choice.logprobs
    return {"text": choice.text, "tokens": given.tokens, "token_logprobs": given.token_logprobs, "text_offset": given.text_offset,
            "top_logprobs": given.top_logprobs}


def joined(pieces):
    return {name: functools.reduce(operator.add, (piece[name] for piece in pieces)) for name in pieces[0]}


def of_response(given):
    part = next(item for item in given.output if item.type == "message").content[0]
    return [part.text, seen(part.logprobs)]


with client.chat.completions.stream(**chat, logprobs=True, top_logprobs=5) as stream:
    for event in stream:
        pass
    final = stream.get_final_completion().choices[0]
whole = client.chat.completions.create(**chat, logprobs=True, top_logprobs=5).choices[0]
plain = client.chat.completions.create(**chat).choices[0]
stopped = client.chat.completions.create(**chat, logprobs=True, stop=["tiny"]).choices[0]
drawn = client.chat.completions.create(**{**chat, "temperature": 20}, logprobs=True, top_logprobs=20, seed=7).choices[0]

raw = list(client.responses.create(**response, **include, stream=True))
deltas = [event for event in raw if event.type == "response.output_text.delta"]
done = next(event for event in raw if event.type == "response.output_text.done")
with client.responses.stream(**response, **include) as events:
    for event in events:
        pass
    assembled = events.get_final_response()

completed = client.completions.create(**completion)
chunks = [choice for chunk in client.completions.create(**completion, stream=True) for choice in chunk.choices if choice.logprobs]

print(json.dumps({
    "plain": [plain.message.content, plain.logprobs],
    "chat": [whole.message.content, seen(whole.logprobs.content)],
    "chat_streamed": [final.message.content, seen(final.logprobs.content)],
    "chat_pieces": chat_pieces(logprobs=True, top_logprobs=5),
    "chat_stopped": [stopped.message.content, seen(stopped.logprobs.content)],
    "chat_stopped_pieces": chat_pieces(logprobs=True, stop=["tiny"]),
    "chat_drawn": [drawn.message.content, seen(drawn.logprobs.content)],
    "response": of_response(client.responses.create(**response, **include)),
    "response_streamed": of_response(assembled),
    "response_deltas": [[event.delta, [[token.token, token.logprob] for token in event.logprobs]] for event in deltas],
    "response_done": [done.text, [[token.token, token.logprob] for token in done.logprobs]],
    "response_without": of_response(client.responses.create(**response)),
    "completion": of_completion(completed.choices[0]),
    "completion_streamed": joined([of_completion(choice) for choice in chunks]),
    "refused": [
        refused(client.chat.completions.create, chat, top_logprobs=3),
        refused(client.chat.completions.create, chat, logprobs=True, top_logprobs=21),
        refused(client.responses.create, response, top_logprobs=21),
        refused(client.completions.create, completion, logprobs=6),
    ],
}))
