#!/usr/bin/env python3
"""llama.cpp's server in this process, until somebody ends it. Its address is a line on standard output.

    llamacpp.py GGUF CONTEXT THREADS
"""
import signal, sys

import xllamacpp


def main(model, context, threads):
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = int(context)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    params.port = 0
    params.use_jinja = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


main(*sys.argv[1:])
