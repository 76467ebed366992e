"""Run llama.cpp's server (wheel xllamacpp) on one GGUF file, ask it, and print what it said as JSON. Needs no fridge.

A process of its own: what llama.cpp holds is given back at the end, and what it prints isn't the notebook's.
"""

import json
import sys
import time
import urllib.request
from importlib.metadata import version


def _main() -> None:
    import xllamacpp  # importing this module must do nothing

    task = json.load(sys.stdin)
    params = xllamacpp.CommonParams()
    params.model.path = task["file"]
    params.n_parallel = 1
    params.n_ctx = task["context"]
    params.cpuparams.n_threads = task["threads"]
    params.hostnames = ["127.0.0.1"]
    server = xllamacpp.Server(params)
    replies, processor_seconds = [], []
    for _ in range(task["repeats"]):
        body = {
            "prompt": task["prompt"],
            "n_predict": task["new"],
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
            "return_tokens": True,
        }
        post = urllib.request.Request(
            f"{server.listening_address}/completion", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        started = time.process_time()  # of all threads, llama.cpp's too
        with urllib.request.urlopen(post) as answer:
            replies.append(json.load(answer))
        processor_seconds.append(time.process_time() - started)
    print(
        json.dumps(
            {
                "tokens": replies[-1]["tokens"],
                "per_second": [reply["timings"]["predicted_per_second"] for reply in replies],
                "processor_seconds": processor_seconds,
                "version": f"xllamacpp {version('xllamacpp')}",
            }
        )
    )


if __name__ == "__main__":
    _main()
