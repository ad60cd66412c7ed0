#!/usr/bin/env python3
"""Start mlx-lm's server and llama.cpp's on one model, and have anyclaude replay traces on both and on its own engine.

    compare.py --anyclaude BINARY --model FOLDER --gguf FILE --llamacpp PYTHON -- ARGUMENT_OF_REPLAY...
"""
import argparse, os, pathlib, socket, subprocess, sys, time, urllib.error, urllib.request

CONTEXT = 40960


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--anyclaude", required=True)
    parser.add_argument("--model", required=True, help="the folder of the tiny model for mlx-lm; the engine has it")
    parser.add_argument("--gguf", required=True, help="the same model for llama.cpp")
    parser.add_argument("--llamacpp", required=True, help="a Python that has xllamacpp")
    parser.add_argument("replay", nargs="*")
    return parser.parse_args()


def start(command, log):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)


def mlx_lm(model, log):
    """mlx-lm's server, and its base URL once it answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = start([sys.executable, "-m", "mlx_lm", "server", "--model", model, "--port", str(port), "--log-level", "ERROR"], log)
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).read()
            return server, f"http://127.0.0.1:{port}"
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.exit(f"compare: mlx-lm's server did not start; see {log.name}")


def llamacpp(python, gguf, log):
    """llama.cpp's server, and its base URL, which it prints when it listens."""
    program = pathlib.Path(__file__).with_name("llamacpp.py")
    server = start([python, str(program), gguf, str(CONTEXT), str(os.cpu_count())], log)
    url = server.stdout.readline().strip()
    return (server, url) if url else sys.exit(f"compare: llama.cpp's server did not start; see {log.name}")


def main(args):
    folder, servers = pathlib.Path(args.gguf).parent, []
    with open(folder / "mlx-lm.log", "w") as mlx_log, open(folder / "llamacpp.log", "w") as llama_log:
        try:
            ours, mlx_url = mlx_lm(args.model, mlx_log)
            servers.append(ours)
            theirs, llama_url = llamacpp(args.llamacpp, args.gguf, llama_log)
            servers.append(theirs)
            command = [args.anyclaude, "replay", "--check", "--model", f"mlx-lm={args.model}", "--model", f"llama.cpp={pathlib.Path(args.gguf).stem}",
                       "--backend", "engine=mlx", "--backend", f"mlx-lm=openai:{mlx_url}/v1", "--backend", f"llama.cpp=openai:{llama_url}/v1"]
            # A key is asked for before a server is, and these want none.
            environment = {"OPENAI_API_KEY": "none", **os.environ}
            code = subprocess.run(command + args.replay, env=environment).returncode
            # 1: answers differ, which is what the table is there to show.
            return 0 if code == 1 else code
        finally:
            for server in servers:
                server.terminate()
                server.wait()


sys.exit(main(parse_args()))
