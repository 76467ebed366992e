"""Measure what people quantize with on unit 07's texts: auto-round and llm-compressor. `make bench-quantizers` runs it.

python solutions/07-gptq-awq/bench_quantizers.py --install    # first makes their environments: 8 GB

Three bits in groups of 64, each by its own recipe. And a checkpoint of the master's GPTQ, packed by the course, which
transformers loads and auto-round multiplies. Rows go into the JSON that measure_quantizers.py keeps; those that it has
aren't measured again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from measure_quantizers import CLOSELY, PROMPT, ROOT, Contest, Ways
from peers import PEERS, READS

from fridge import models
from fridge.quantization import packed, quality, quantized
from fridge.workbench import environments, records

ENVIRONMENTS = ROOT / ".venv-quantizers"
SCRIPT = Path(__file__).with_name("peers.py")
PACKAGES = {
    "auto-round": ("torch==2.13.0", "transformers==5.23.0", "auto-round==0.16.1"),
    "llm-compressor": (
        "llmcompressor==0.14.0.1",
    ),  # which brings a torch and a transformers of its own
}


def main() -> int:
    """Measure what isn't there, print each row, write the file after it."""
    options = _options()
    if options.install:
        _install()
    record = json.loads(options.out.read_text(encoding="utf-8"))
    there = {row["way"] for row in record["rows"]}
    contest = Contest(Ways().own["quantize_model"])
    for peer in PEERS:
        python = environments.python_of(ENVIRONMENTS / peer.partition(":")[0])
        if python is None:
            print(f"{peer}: no environment; --install makes it", file=sys.stderr)
        elif peer not in there:
            row = _measured(python, peer, contest)
            record["rows"].append(row)
            records.keep(record, options.out)
            print(
                f"{peer:28}{row['perplexity']['value']:8.2f}{row['processor_seconds']:7.0f} s",
                flush=True,
            )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Perplexity of other packages' quantizers.")
    parser.add_argument(
        "--install", action="store_true", help="make their environments first: 8 GB of disk"
    )
    parser.add_argument(
        "--out", type=Path, default=quality.KEPT, help="default: beside the library"
    )
    return parser.parse_args()


def _install() -> None:
    for package, requirements in PACKAGES.items():
        environment = ENVIRONMENTS / package
        if environments.python_of(environment) is None:
            with environments.making(environment, package) as (_, pip_install):
                pip_install(*requirements)


def _measured(python: Path, peer: str, contest: Contest) -> dict[str, Any]:
    bits, group_size = CLOSELY
    task = {
        "peer": peer,
        "bits": bits,
        "group_size": group_size,
        "model": str(models.folder()),
        "calibration": contest.calibration.tolist(),
        "scored": contest.scored.tolist(),
        "prompt": PROMPT,
    }
    with tempfile.TemporaryDirectory() as folder:
        if peer == READS:
            task["model"] = folder
            _write_packed(contest, Path(folder))
        process = subprocess.run(
            [python, SCRIPT],
            input=json.dumps(task),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found = json.loads(process.stdout)
    lost = torch.tensor(found.pop("losses"))
    return {
        "bits": bits,
        "group_size": group_size,
        "way": peer,
        "perplexity": vars(quality.perplexity(lost)),
        "times_float": vars(quality.ratio(lost, contest.lost)),
        **found,
    }


def _write_packed(contest: Contest, folder: Path) -> None:
    small = quantized.round_trip(contest.model, torch.clone)
    with torch.no_grad():
        Ways().gptq(small, contest.x, *CLOSELY)
    packed.save(small, models.folder(), folder, *CLOSELY)


if __name__ == "__main__":
    sys.exit(main())
