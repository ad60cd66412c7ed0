#!/usr/bin/env python3
"""Two servers of one model, one at a time, asked the same chat completions: a table of what they took, in ratios.

The long prompt is a recorded request of Claude Code, with some of its own text repeated up to a real prompt's length; the
prompts for prefill speed are parts of that text. Both servers get the very same bodies.
"""
import argparse, collections, concurrent.futures, http.client, json, os, pathlib, signal, socket, statistics, subprocess, sys, time

PROMPT_TOKENS = 18000       # about
REPEATS = 5
DECODE_TOKENS = 64


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--trace", required=True, help="folder of a session's traces")
    parser.add_argument("--ours", required=True, help="the anyclaude binary")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--aims", choices=AIMS, default="cpu", help="what the ratios must be: those for a CPU, for a hybrid on a CPU, or for a GPU")
    parser.add_argument("--path", help="our compute path; default: as the device does it best")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures to this file")
    return parser.parse_args()


# What is asked.

def text_of(content):
    blocks = [content] if isinstance(content, str) else [block.get("text", "") for block in content or []]
    return "\n\n".join(block for block in blocks if not block.startswith("x-anthropic-billing-header"))


def chat(trace, tokenizer):
    """The request of a trace as a chat completion of about PROMPT_TOKENS tokens."""
    body = json.loads(trace.read_text())["request"]["body"]
    tools = [{"type": "function", "function": {"name": tool["name"], "description": tool["description"],
                                               "parameters": tool["input_schema"]}} for tool in body["tools"]]
    system = text_of(body["system"])
    rest = [text_of(message["content"]) for message in body["messages"]]
    count = lambda text: len(tokenizer.encode(text).ids)
    missing = PROMPT_TOKENS - count(system + json.dumps(tools) + "".join(rest))
    lines = (system + "\n").splitlines(keepends=True)
    index = 0
    while missing > 0:
        line = f"{index}. {lines[index % len(lines)]}"
        system, missing, index = system + "\n" + line, missing - count(line), index + 1
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": "\n".join(rest)}], "tools": tools}


def plain(text, tokens, tokenizer, name):
    """A prompt of `tokens` tokens that shares no prefix with the prompt of another name."""
    encoding = tokenizer.encode(f"{name}: " + text * (1 + tokens * 8 // len(text)))
    return {"messages": [{"role": "user", "content": tokenizer.decode(encoding.ids[:tokens])}]}


def continued(request, number):
    turns = [{"role": "assistant", "content": "I have read it."}, {"role": "user", "content": f"Now read file number {number}, please."}]
    return dict(request, messages=request["messages"] + turns)


def another(request, number):
    """Another first question after the same tools and system prompt."""
    return dict(request, messages=[request["messages"][0], {"role": "user", "content": f"What is {number} times {number}?"}])


# A server.

Taken = collections.namedtuple("Taken", "ttft speed cpu prompt_tokens")


class Server:
    def __init__(self, command, port):
        self.port = port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.time() + 120
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/v1/models")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.time() > deadline:
                sys.exit(f"peers: did not start: {' '.join(command)}")
            time.sleep(0.2)

    def ask(self, request, max_tokens):
        """What a request took: seconds to the first content, tokens a second after it, the server's seconds of CPU, and the
        prompt's tokens."""
        body = dict(request, model="default_model", max_tokens=max_tokens, temperature=0, stream=True,
                    stream_options={"include_usage": True})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        cpu, start, first, last, usage = self.cpu(), time.perf_counter(), None, None, {}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            sys.exit(f"peers: {response.status}: {response.read()[:300]}")
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            event, now = json.loads(line[6:]), time.perf_counter()
            for choice in event.get("choices") or []:
                delta = choice.get("delta") or {}
                if any(delta.get(kind) for kind in ("content", "reasoning", "reasoning_content", "tool_calls")) or choice.get("finish_reason"):
                    first, last = first or now, now
            usage = event.get("usage") or usage
        tokens = usage["completion_tokens"]
        speed = (tokens - 1) / (last - first) if tokens > 1 else None
        return Taken(first - start, speed, self.cpu() - cpu, usage["prompt_tokens"])

    def cpu(self):
        """Seconds of CPU that the server has had; 0 where the system has no /proc."""
        if not pathlib.Path("/proc/self/stat").exists():
            return 0.0
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self):
        if not pathlib.Path("/proc/self/status").exists():
            # The memory now: near its most, after the longest prompt.
            return int(subprocess.run(["ps", "-o", "rss=", "-p", str(self.process.pid)], capture_output=True, text=True).stdout) / 1e3
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmHWM:"))

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def four_at_once(server, requests):
    """How many times as fast four answers at once are as one after another. Their prompts are cached when it counts."""
    asked = [continued(requests["long"], 100 + number) for number in range(4)]
    for request in asked:
        server.ask(request, 1)
    start = time.perf_counter()
    for request in asked:
        server.ask(request, DECODE_TOKENS)
    one_by_one = time.perf_counter() - start
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda request: server.ask(request, DECODE_TOKENS), asked))
    return one_by_one / (time.perf_counter() - start)


def device_peak_mb():
    """Memory in use on the NVIDIA card, in MB; None without one."""
    try:
        asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return float(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]) * 1.048576
    except (OSError, subprocess.CalledProcessError):
        return None


def measure(command, requests, aims):
    """One server's figures, the seconds of CPU behind them, and the tokens of the prompts as it counts them."""
    port = free_port()
    server = Server([part.format(port=port) for part in command], port)
    try:
        server.ask(plain("Hello there. ", 20, requests["tokenizer"], "warm"), 4)
        figures, cpu, prompts = {}, {}, {}
        for name in ("2k", "16k", "long"):
            taken = server.ask(requests[name], 1)
            prompts[name] = taken.prompt_tokens
            if name == "long":
                figures["TTFT cold, ms"], cpu["TTFT cold, ms"] = taken.ttft * 1e3, taken.cpu
            else:
                figure = f"prefill {name}, tokens/s"
                figures[figure], cpu[figure] = taken.prompt_tokens / taken.ttft, taken.cpu
        repeats, follow_ups, others = [], [], []
        for number in range(REPEATS):
            repeats.append(server.ask(requests["long"], 1))
            follow_ups.append(server.ask(continued(requests["long"], number), 1))
            others.append(server.ask(another(requests["long"], number), 1))
        again = {"TTFT repeat, ms": repeats, "TTFT follow-up, ms": follow_ups, "TTFT other question, ms": others}
        for figure, taken in again.items():
            figures[figure] = statistics.median(one.ttft for one in taken) * 1e3
            # The clock of CPU time is coarse.
            cpu[figure] = statistics.mean(one.cpu for one in taken)
        taken = server.ask(requests["long"], DECODE_TOKENS)
        figures["decode, tokens/s"] = taken.speed
        cpu["decode, tokens/s"] = taken.cpu - cpu["TTFT repeat, ms"]
        if aims == "gpu":
            figures["four at once, times faster"] = four_at_once(server, requests)
        # MLX gives a card's memory back late, so at the end nearly its most is in use.
        figures["peak memory, MB"] = device_peak_mb() or server.peak_mb()
        return figures, cpu, prompts
    finally:
        server.stop()


# name of the figure, whether more is better, and what ours by theirs must be
GOALS = {
    "prefill 2k, tokens/s": (True, 4.0), "prefill 16k, tokens/s": (True, 4.0), "decode, tokens/s": (True, 1.4),
    "TTFT cold, ms": (False, 0.25), "TTFT repeat, ms": (False, 0.4), "TTFT follow-up, ms": (False, 0.4),
    "TTFT other question, ms": (False, 0.4), "peak memory, MB": (False, 0.6),
}
GPU_GOALS = {
    "prefill 2k, tokens/s": (True, 1.0), "prefill 16k, tokens/s": (True, 1.0), "decode, tokens/s": (True, 1.0),
    "TTFT cold, ms": (False, 1.0), "TTFT repeat, ms": (False, 0.5), "TTFT follow-up, ms": (False, 0.5),
    "TTFT other question, ms": (False, 0.5), "four at once, times faster": (True, 1.0), "peak memory, MB": (False, 1.2),
}
# A recurrent layer's state cannot be cut back, so what a server keeps of a prompt it must have kept on the way.
HYBRID_GOALS = dict(GOALS, **{f"TTFT {which}, ms": (False, 0.2) for which in ("repeat", "follow-up", "other question")})
AIMS = {"cpu": GOALS, "hybrid": HYBRID_GOALS, "gpu": GPU_GOALS}


def main():
    args = parse_args()
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(f"{args.model}/tokenizer.json")
    traces = sorted(pathlib.Path(args.trace).glob("*.json"))
    long = chat(traces[0], tokenizer)
    text = long["messages"][0]["content"]
    requests = {"tokenizer": tokenizer, "long": long, "2k": plain(text, 2000, tokenizer, "a"), "16k": plain(text, 16000, tokenizer, "b")}
    commands = {
        "mlx-lm": [sys.executable, "-m", "mlx_lm", "server", "--model", args.model, "--port", "{port}", "--log-level", "ERROR"],
        "anyclaude": [args.ours, "serve", "--model", args.model, "--port", "{port}", "--warm", "0"] + (["--compute-path", args.path] if args.path else []),
    }
    rounds = {name: [] for name in commands}
    for number in range(args.rounds):
        for name, command in commands.items():
            print(f"peers: round {number + 1} of {args.rounds}: {name} (load {os.getloadavg()[0]:.1f})", file=sys.stderr)
            figures, cpu, prompts = measure(command, requests, args.aims)
            rounds[name].append((figures, cpu))
            rounded = {figure: round(value, 1) for figure, value in figures.items()}
            print(f"peers: {name}: prompts of {prompts} tokens; {json.dumps(rounded)}", file=sys.stderr)
    median = lambda name, which, figure: statistics.median(taken[which][figure] for taken in rounds[name])
    print("\n| | mlx-lm | anyclaude | ratio | CPU time | goal | |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    written = {}
    for figure, (more, goal) in AIMS[args.aims].items():
        theirs, ours = median("mlx-lm", 0, figure), median("anyclaude", 0, figure)
        ratio = ours / theirs
        written[figure] = {"mlx-lm": theirs, "anyclaude": ours, "ratio": ratio, "goal": f"{'>=' if more else '<='} {goal}"}
        met = ratio >= goal if more else ratio <= goal
        # On a machine with other work the time on the clock says less than the time computed.
        cpu = "" if "memory" in figure else f"{median('anyclaude', 1, figure) / max(median('mlx-lm', 1, figure), 0.01):.2f}"
        goal = f"{'>=' if more else '<='} {goal}"
        print(f"| {figure} | {theirs:,.0f} | {ours:,.0f} | {ratio:.2f} | {cpu} | {goal} | {'met' if met else 'missed'} |")
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "figures": written}, indent=2) + "\n")


main()
