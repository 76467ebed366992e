"""What people quantize with, on the same texts: auto-round or llm-compressor. Needs no fridge; lives in an environment of its own.

python peers.py < task.json: {"peer", "model", "calibration" and "scored": [rows][tokens], "bits", "group_size", "prompt"}
prints one line of JSON: losses at each scored token, processor seconds, what the model says, version.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, AutoTokenizer


def auto_round(model: Any, tokenizer: Any, task: dict[str, Any], algorithm: str) -> Any:
    """`algorithm`: awq, or auto_round, which learns where to round by signed gradients (Cheng et al. 2023)."""
    from auto_round import AutoRound

    rows = torch.tensor(task["calibration"])
    texts = [
        {"input_ids": row[None], "attention_mask": torch.ones_like(row[None])} for row in rows
    ]
    quantizer = AutoRound(
        model,
        tokenizer,
        scheme={
            "bits": task["bits"],
            "group_size": task["group_size"],
            "sym": False,
            "data_type": "int",
            "act_bits": 16,
        },
        algorithm=None if algorithm == "auto_round" else algorithm,
        iters=200 if algorithm == "auto_round" else 0,
        dataset=texts,
        seqlen=rows.shape[1],
        nsamples=len(rows),
        batch_size=4,
        device_map="cpu",
        enable_torch_compile=False,
    )
    return quantizer.quantize()[0]


def llm_compressor(model: Any, _: Any, task: dict[str, Any], algorithm: str) -> Any:
    """`algorithm`: gptq, as its recipe is; or gptq-in-order, without the order that its recipe has.

    That takes the columns with the loudest inputs first, each still on the grid of its group ("static" act-order).
    Its AWQ pins memory, which it can't do where no GPU is.
    """
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier

    rows = task["calibration"]
    weights = {
        "num_bits": task["bits"],
        "type": "int",
        "symmetric": False,
        "strategy": "group",
        "group_size": task["group_size"],
    }
    groups = {
        "config_groups": {"all": {"targets": ["Linear"], "weights": weights}},
        "ignore": ["lm_head"],
    }
    recipes = {
        "gptq": lambda: GPTQModifier(**groups),
        "gptq-in-order": lambda: GPTQModifier(**groups, actorder=None),
    }
    oneshot(
        model=model,
        dataset=Dataset.from_dict(
            {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
        ),
        recipe=recipes[algorithm](),
        max_seq_length=len(rows[0]),
        num_calibration_samples=len(rows),
        shuffle_calibration_samples=False,
    )
    return model


def none(model: Any, *_: Any) -> Any:
    """The checkpoint has codes already."""
    return model


READS = "auto-round: reads our GPTQ"
PEERS = {
    "auto-round: AWQ": ("auto-round", auto_round, "awq"),
    "auto-round: SignRound": ("auto-round", auto_round, "auto_round"),
    "llm-compressor: GPTQ": ("llmcompressor", llm_compressor, "gptq"),
    "llm-compressor: GPTQ, columns as they stand": (
        "llmcompressor",
        llm_compressor,
        "gptq-in-order",
    ),
    READS: ("auto-round", none, ""),
}


@torch.no_grad()
def losses(model: Any, rows: torch.Tensor) -> list[list[float]]:
    """The negative logarithm of the probability of each token but a row's first."""
    return [
        F.cross_entropy(
            model(row[None]).logits[0, :-1].float(), row[1:], reduction="none"
        ).tolist()
        for row in rows
    ]


def main() -> None:
    """Quantize, measure, print."""
    task, said = json.load(sys.stdin), sys.stdout
    sys.stdout = sys.stderr  # the packages talk
    package, quantize, algorithm = PEERS[task["peer"]]
    # auto-round multiplies its codes in 16 bits only; of the two, processors are faster with this one.
    dtype = torch.bfloat16 if quantize is none else torch.float32
    model = AutoModelForCausalLM.from_pretrained(task["model"], dtype=dtype)
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    start = time.process_time()
    model = quantize(model, tokenizer, task, algorithm)
    seconds = time.process_time() - start
    ids = tokenizer(task["prompt"], return_tensors="pt").input_ids
    reply = model.generate(ids, max_new_tokens=12, min_new_tokens=12, do_sample=False)[
        0, ids.shape[1] :
    ]
    found = {
        "losses": losses(model, torch.tensor(task["scored"])),
        "processor_seconds": round(seconds, 1),
        "says": tokenizer.decode(reply),
        "version": f"{package} {version(package)}",
    }
    print(json.dumps(found), file=said)


if __name__ == "__main__":
    main()
