"""SmolLM2's step, exported as in exercise 5, lowered and run by ExecuTorch; kept in `fridge/fusion/measurements/`.

python solutions/11-edge/measure_executorch.py --install   # its environment first, once (0.8 GB)
python solutions/11-edge/measure_executorch.py

The step is the master's `attend_step` in the whole model, float32, one thread, processor seconds. The model's own greedy
tokens are what ExecuTorch's are held against.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch

from autograder.authoring.answers import answers
from fridge import models
from fridge.fusion import exporting
from fridge.models.llama import Llama
from fridge.workbench import environments, measure, records

PROMPT, NEW, PLACES = "The capital of France is", 24, 64
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-executorch"
EXECUTORCH = "executorch==1.5.1"


def main() -> None:
    """Export here, lower and run there, keep what came of it."""
    options = _options()
    if options.install:
        with environments.making(ENVIRONMENT, "ExecuTorch") as (_, install):
            install(f"torch=={torch.__version__.partition('+')[0]}", EXECUTORCH)
    python = environments.python_of(ENVIRONMENT)
    if python is None:
        print("ExecuTorch's environment is missing: --install makes it", file=sys.stderr)
        sys.exit(2)
    torch.set_num_threads(1)
    model, prompt = models.load(), models.load_tokenizer()(PROMPT)["input_ids"]
    step = exporting.StaticModel(model, PLACES, answers(ROOT, "11-edge")["attend_step"])
    whole, exporting_seconds = exporting.timed_export(step)
    with tempfile.TemporaryDirectory() as folder:
        task = {
            "exported": f"{folder}/step.pt2",
            "program": f"{folder}/step.pte",
            "prompt": prompt,
            "new": NEW,
            "buffers": list(step.buffers_shape),
        }
        torch.export.save(whole, task["exported"])
        script = Path(__file__).with_name("executorch_script.py")
        done = subprocess.run(
            [python, script],
            input=json.dumps(task),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout.splitlines()[-1])
    own = _greedy(model, prompt)
    record = {
        "machine": {**measure.machine(), "threads": found.pop("threads")},
        "versions": found.pop("versions"),
        "prompt": PROMPT,
        "places": PLACES,
        "exporting_seconds": round(exporting_seconds, 1),
        "per_processor_second": round(1 / median(found["spent"][len(prompt) :]), 1),
        "same_tokens": sum(a == b for a, b in zip(own, found["tokens"], strict=True)),
        **found,
    }
    records.keep(record, options.out)
    print({name: value for name, value in record.items() if name not in ("spent", "machine")})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="SmolLM2's step by ExecuTorch.")
    parser.add_argument("--install", action="store_true", help="make ExecuTorch's environment")
    parser.add_argument("--out", type=Path, default=exporting.KEPT)
    return parser.parse_args()


@torch.no_grad()
def _greedy(model: Llama, prompt: list[int]) -> list[int]:
    tokens = list(prompt)
    for _ in range(NEW):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


if __name__ == "__main__":
    main()
