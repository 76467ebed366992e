"""The course's engine on the trace. Reads a task as JSON from stdin, writes a result as JSON to stdout's last line."""

import json
import sys
import time

import torch

from fridge import models
from fridge.serving.engine import Engine
from fridge.serving.engine.linears import Int8Linear, PackedLinear


def _main() -> None:
    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    linear = {"float32": PackedLinear, "int8": Int8Linear}[task["options"]["weights"]]
    engine = Engine(models.load(), make_linear=linear)
    engine.add([1, 2, 3], 4)
    list(engine.run())
    seconds, replies = [], []
    for _ in range(task["repeats"]):
        engine.scheduler.allocator.clear_kept()  # a repeated prompt must not be found in the prefix cache
        started = time.perf_counter()
        numbers = [engine.add(prompt, new) for prompt, new in task["requests"]]
        finished = {reply.request: reply.tokens for reply in engine.run()}
        seconds.append(time.perf_counter() - started)
        replies = [finished[number] for number in numbers]
    print(json.dumps({"seconds": seconds, "replies": replies, "version": f"torch {torch.__version__}"}))


_main()
