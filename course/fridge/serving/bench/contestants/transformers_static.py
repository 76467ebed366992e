"""transformers' `generate` in static batches on the trace: padded on the left, as long as the longest reply."""

import json
import sys
import time

import torch
import transformers

from fridge import models

PADDING = 2


def _main() -> None:
    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    model, size = models.load_transformers(), task["options"]["batch"]
    model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=4, do_sample=False, pad_token_id=PADDING)
    seconds, replies = [], []
    for _ in range(task["repeats"]):
        started, replies = time.perf_counter(), []
        for first in range(0, len(task["requests"]), size):
            replies += _batch(model, task["requests"][first : first + size])
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "replies": replies, "version": f"transformers {transformers.__version__}"}))


@torch.inference_mode()
def _batch(model: transformers.PreTrainedModel, requests: list) -> list[list[int]]:
    longest, new = max(len(prompt) for prompt, _ in requests), max(new for _, new in requests)
    tokens = torch.full((len(requests), longest), PADDING)
    mask = torch.zeros_like(tokens)
    for row, (prompt, _) in enumerate(requests):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    out = model.generate(
        tokens, attention_mask=mask, do_sample=False, min_new_tokens=new, max_new_tokens=new, pad_token_id=PADDING
    )
    return [row[longest : longest + n].tolist() for row, (_, n) in zip(out, requests, strict=True)]


_main()
