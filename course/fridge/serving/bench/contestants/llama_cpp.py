"""llama.cpp's server (wheel xllamacpp) on the trace, with the GGUF file as it is: 4-bit weights. Needs no fridge."""

import json
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import xllamacpp

CONTEXT_PER_SLOT = 512  # tokens: longest prompt and longest reply of the trace, and some room


def _main() -> None:
    task = json.load(sys.stdin)
    params = xllamacpp.CommonParams()
    params.model.path = task["gguf"]
    params.n_parallel = task["options"]["slots"]
    params.n_ctx = CONTEXT_PER_SLOT * params.n_parallel
    params.cpuparams.n_threads = task["threads"]
    params.hostnames = ["127.0.0.1"]
    server = xllamacpp.Server(params)
    requests = task["requests"]

    def ask(request: list) -> int:
        prompt, new = request
        body = {"prompt": prompt, "max_tokens": new, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        post = urllib.request.Request(
            f"{server.listening_address}/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(post) as answer:
            return json.load(answer)["usage"]["completion_tokens"]

    ask([[1, 2, 3], 4])
    seconds = []
    for _ in range(task["repeats"]):
        started = time.perf_counter()
        with ThreadPoolExecutor(len(requests)) as pool:
            generated = list(pool.map(ask, requests))
        seconds.append(time.perf_counter() - started)
        if generated != [new for _, new in requests]:
            raise SystemExit(f"llama.cpp generated {sum(generated)} tokens, not {sum(new for _, new in requests)}")
    print(json.dumps({"seconds": seconds, "replies": None, "version": f"xllamacpp {version('xllamacpp')}"}))


_main()
