"""llama.cpp's server (wheel xllamacpp) on a given port, until it is asked to stop. Takes a task as JSON. No fridge."""

import json
import signal
import sys

import xllamacpp


def _main() -> None:
    task = json.loads(sys.argv[1])
    params = xllamacpp.CommonParams()
    params.model.path = task["gguf"]
    params.n_parallel = task["slots"]
    params.n_ctx = task["context"] * task["slots"]
    params.cpuparams.n_threads = task["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = task["port"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = xllamacpp.Server(params)  # kept: it ends with the object
    print(server.listening_address, flush=True)
    signal.pause()


_main()
