"""All contestants on the serving trace, each in a process of its own, and the check that the answers are right."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch

from fridge import models
from fridge.serving.traces import serving_trace
from fridge.workbench.environments import python_of

SCRIPTS = Path(__file__).with_name("contestants")
NEAR_TIE = 1e-3  # logits closer than that may change places when sums are added up in another order


@dataclass(frozen=True)
class Contestant:
    """Who takes part: a script, its options, the package that it needs beyond the course's own, how often it runs."""

    name: str
    script: str
    options: dict = field(default_factory=dict)
    needs: str | None = None
    repeats: int = 3


CONTESTANTS = (
    Contestant("engine, float32", "ours", {"weights": "float32"}),
    Contestant("engine, INT8", "ours", {"weights": "int8"}),
    Contestant("vLLM CPU, float32", "vllm_cpu", needs="vllm"),
    Contestant("llama.cpp Q4_1, 8 slots", "llama_cpp", {"slots": 8}, needs="xllamacpp"),
    Contestant("llama.cpp Q4_1, 32 slots", "llama_cpp", {"slots": 32}, needs="xllamacpp"),
    Contestant("transformers, batches of 8", "transformers_static", {"batch": 8}, repeats=1),
    Contestant("transformers, batch of 32", "transformers_static", {"batch": 32}, repeats=1),
)


def run(contestant: Contestant, threads: int, vllm_environment: Path) -> dict | None:
    """Seconds of each run, version and replies; None when the package that it needs isn't there.

    Raises:
        RuntimeError: its process failed; with the end of what it wrote.
    """
    python: Path | None = Path(sys.executable)
    if contestant.needs == "vllm":
        python = python_of(vllm_environment)
    elif contestant.needs and find_spec(contestant.needs) is None:
        python = None
    if python is None:
        return None
    task = {
        "requests": [[request.prompt, request.output] for request in serving_trace()],
        "model": str(models.folder()),
        "gguf": str(models.gguf()),
        "threads": threads,
        "options": contestant.options,
        "repeats": contestant.repeats,
    }
    command = [str(python), str(SCRIPTS / f"{contestant.script}.py")]
    done = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{contestant.name} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@torch.inference_mode()
def check_greedy(replies: list[list[int]]) -> dict[str, int]:
    """Compare each token with transformers' first choice after the same tokens, in float32.

    Returns:
        tokens: how many; same: those equal to the first choice; near_ties: others within `NEAR_TIE` of it; wrong: the
        rest.
    """
    model = models.load_transformers()
    counts = {"tokens": 0, "same": 0, "near_ties": 0, "wrong": 0}
    for request, reply in zip(serving_trace(), replies, strict=True):
        tokens = torch.tensor([request.prompt + reply])
        logits = model(tokens).logits[0, len(request.prompt) - 1 : -1]
        chosen = logits.gather(1, torch.tensor(reply)[:, None])[:, 0]
        behind = logits.amax(1) - chosen
        counts["tokens"] += len(reply)
        counts["same"] += int((behind == 0).sum())
        counts["near_ties"] += int(((behind > 0) & (behind <= NEAR_TIE)).sum())
        counts["wrong"] += int((behind > NEAR_TIE).sum())
    return counts
