#!/usr/bin/env python3
"""Ask a server of ours for answers to prompts of some lengths, each twice: computed, then from the prefix cache. Both must be equal.

    lengths.py ANYCLAUDE MODEL_FOLDER TOKENS... [-- OPTION_OF_SERVE...]

Short and long prompts take different kernels on a GPU, and a long one many command buffers.
"""
import json, socket, subprocess, sys, time, urllib.error, urllib.request

from tokenizers import Tokenizer

ANSWER_TOKENS = 16


def post(port, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=1800) as response:
        return json.load(response)


def wait_for(port, server):
    while server.poll() is None:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).read()
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.exit("lengths: the server did not start")


def main(binary, model, *arguments):
    end = arguments.index("--") if "--" in arguments else len(arguments)
    lengths, options = arguments[:end], arguments[end + 1:]
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = subprocess.Popen([binary, "serve", "--model", model, "--port", str(port), "--warm", "0", *options], stderr=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        for tokens in map(int, lengths):
            text = f"{tokens}: " + " ".join(f"line {n} says {n * 7919 % 1009}." for n in range(tokens))
            prompt = tokenizer.decode(tokenizer.encode(text).ids[:tokens - 32])
            body = {"model": "m", "messages": [{"role": "user", "content": prompt}], "max_tokens": ANSWER_TOKENS, "temperature": 0}
            start = time.perf_counter()
            first = post(port, body)
            between = time.perf_counter()
            again = post(port, body)
            seconds = between - start, time.perf_counter() - between
            print(f"{first['usage']['prompt_tokens']} tokens: {seconds[0]:.2f} s, again {seconds[1]:.2f} s", flush=True)
            if first["choices"] != again["choices"]:
                sys.exit(f"lengths: another answer from the cache:\n{first['choices']}\n{again['choices']}")
    finally:
        server.terminate()
        server.wait()


main(*sys.argv[1:])
