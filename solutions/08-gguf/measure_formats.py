"""Measure what each format costs and what it is worth, and keep the figures, which unit 08 draws.

python solutions/08-gguf/measure_formats.py                   # half an hour on two idle cores
python solutions/08-gguf/measure_formats.py --only speed      # quality, or speed

Reader, quantizer and writer are the master's own answers; K-quants are made by llama.cpp's quantizer, and read by
gguf-py where the unit's exercises don't. A row that the JSON has isn't measured again, and the JSON, which says on
which machine and when, is written after each: an interrupted run keeps what it has.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor

from autograder.authoring.answers import answers
from fridge import models
from fridge.models.llama import Llama
from fridge.quantization import (
    formats,
    gguf_models,
    llama_cpp_peer,
    quality,
)
from fridge.weights import embedded
from fridge.workbench import measure, records, text

ROOT = Path(__file__).parents[2]
WINDOW, SCORED = 512, 17  # tokens of a window, windows that are scored
PROMPT, NEW, ROUNDS = "The capital of France is", 64, 3
SHIPPED = "as shipped"  # the kind that a tensor has in the file

# Name -> kind of the linear layers, by what their names end in.
MIX = {"attn_": "Q8_0", "ffn_": "Q4_0"}
WHOLE = {
    "Q4_0": {"": "Q4_0"},
    "Q8_0": {"": "Q8_0"},
    "attention Q8_0, MLP Q4_0": MIX,
    "Q4_K, else Q5_0": {"ffn_down": "Q4_K", "": "Q5_0"},
    "Q4_1, as shipped": {"": SHIPPED},
    "Q6_K, else Q8_0": {"ffn_down": "Q6_K", "": "Q8_0"},
    "Q5_0": {"": "Q5_0"},
    "Q5_K, else Q5_1": {"ffn_down": "Q5_K", "": "Q5_1"},
    "F16": {"": "F16"},
}
OF_DOWN_PROJ = ("Q4_0", "Q2_K", "Q4_K", "Q3_K", "Q6_K", "Q5_0", "Q8_0", "Q5_K", "Q5_1")

Raw = tuple[str, tuple[int, ...], bytes]  # kind, shape, data


class Shipped:
    """The course's file, and the files that are made of it."""

    def __init__(self) -> None:
        self._own = answers(ROOT, "08-gguf")
        self._data = models.gguf().read_bytes()
        self.metadata, self._tensors = self._own["read_header"](self._data)

    def written(self, kinds: dict[str, str]) -> dict[str, Raw]:
        """All tensors, the linear layers in other kinds: the first entry whose key their name holds says which."""
        return {name: self._as(name, kinds) for name in self._tensors}

    def bits(self, tensors: dict[str, Raw]) -> float:
        """A weight's, in the linear layers that `tensors` holds."""
        linear = [tensors[name] for name in tensors if _is_linear(name)]
        return (
            8
            * sum(len(data) for *_, data in linear)
            / sum(math.prod(shape) for _, shape, _ in linear)
        )

    def file(self, tensors: dict[str, Raw]) -> bytes:
        """The file, by the master's writer."""
        return self._own["write_gguf"](self.metadata, tensors)

    def model(self, tensors: dict[str, Raw]) -> Llama:
        """The course's Llama on the dequantized weights."""
        return gguf_models.model_of(self.metadata, self._named(tensors))

    def _named(self, tensors: dict[str, Raw]) -> Iterator[tuple[str, np.ndarray]]:
        config = gguf_models.config_of(self.metadata)
        for name, (kind, shape, data) in tensors.items():
            values = self._values(kind, shape, data)
            yield self._own["to_hugging_face"](name, values, config.heads, config.kv_heads)

    def _as(self, name: str, kinds: dict[str, str]) -> Raw:
        kind, shape, start = self._tensors[name]
        data = self._data[start : start + self._own["tensor_bytes"](kind, shape)]
        wanted = next((kinds[part] for part in kinds if part in name), SHIPPED)
        if wanted == SHIPPED or not _is_linear(name):
            return kind, shape, data
        return wanted, shape, self._blocks(wanted, self._values(kind, shape, data))

    def _blocks(self, kind: str, values: np.ndarray) -> bytes:
        if kind == "F16":
            return values.astype("<f2").tobytes()
        if kind in ("Q8_0", "Q4_0"):
            return self._own["quantize"](kind, values)
        return llama_cpp_peer.blocks_of(values, kind)

    def _values(self, kind: str, shape: tuple[int, ...], data: bytes) -> np.ndarray:
        readers: dict[str, Callable[[bytes], np.ndarray]] = {
            "F32": lambda raw: np.frombuffer(raw, "<f4").copy(),
            "Q6_K": self._own["dequantize_q6_k"],
            "Q4_K": self._own["dequantize_q4_k"],
        }
        if kind in readers:
            return readers[kind](data).reshape(shape)
        if kind in ("F16", "Q8_0", "Q4_0", "Q4_1"):
            return self._own["dequantize"](kind, data).reshape(shape)
        return quants.dequantize(
            np.frombuffer(data, np.uint8), GGMLQuantizationType[kind]
        ).reshape(shape)


def _is_linear(name: str) -> bool:
    return name.startswith("blk.") and "norm" not in name


class Contest:
    """The text, and what the models are compared with."""

    def __init__(self, shipped: Shipped) -> None:
        self._shipped, self._tokenizer = shipped, models.load_tokenizer()
        self._scored = self.read(text.prose())[: SCORED * WINDOW]
        self.lost = quality.losses(shipped.model(shipped.written({})), self._scored, WINDOW)

    def quality(self, tensors: dict[str, Raw]) -> dict[str, Any]:
        """How good the model is with these weights."""
        lost = quality.losses(self._shipped.model(tensors), self._scored, WINDOW)
        return {
            "perplexity": vars(quality.perplexity(lost)),
            "times_shipped": vars(quality.ratio(lost, self.lost)),
        }

    def read(self, words: str) -> Tensor:
        """A text's token ids."""
        return self._tokenizer(words, return_tensors="pt").input_ids[0]


def main() -> None:
    """Measure what isn't there, print each row, write the file after it."""
    options = _options()
    record = records.read(options.out, _empty())
    shipped = Shipped()
    if options.only in ("", "quality"):
        _quality(shipped, record, options.out)
    if options.only in ("", "speed"):
        _speed(shipped, record, options.out)


def _quality(shipped: Shipped, record: dict[str, Any], out: Path) -> None:
    contest = Contest(shipped)
    record["shipped"] = vars(quality.perplexity(contest.lost))
    plan = [(formats.ALL, name, kinds) for name, kinds in WHOLE.items()]
    plan += [(formats.DOWN_PROJ, kind, {"ffn_down": kind}) for kind in OF_DOWN_PROJ]
    there = {(row["changed"], row["format"]) for row in record["rows"]}
    for changed, name, kinds in plan:
        if (changed, name) in there:
            continue
        tensors = shipped.written(kinds)
        of_changed = {
            key: tensors[key] for key in tensors if changed == formats.ALL or "ffn_down" in key
        }
        row = {
            "changed": changed,
            "format": name,
            "bits": shipped.bits(of_changed),
            "file_bytes": len(shipped.file(tensors)),
            **contest.quality(tensors),
        }
        record["rows"].append(row)
        records.keep(record, out)
        found = row["perplexity"]
        print(f"{changed:20}{name:28}{row['bits']:7.3f} bits {found['value']:8.2f}", flush=True)


def _speed(shipped: Shipped, record: dict[str, Any], out: Path) -> None:
    """Round after round over all formats, so that what else runs hits them alike; one thread, which waits for no other."""
    tokenizer = models.load_tokenizer()
    prompt = tokenizer(PROMPT)["input_ids"]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, (name, kinds) in enumerate(WHOLE.items()):
            files[name] = Path(folder) / f"{number}.gguf"
            files[name].write_bytes(shipped.file(shipped.written(kinds)))
        for _ in range(ROUNDS):
            for name, file in files.items():
                reply = llama_cpp_peer.reply(file, prompt, NEW, threads=1)
                row = found.setdefault(name, {"format": name, "per_processor_second": []})
                row["per_processor_second"].append(round(reply.per_processor_second, 2))
                row |= {
                    "says": tokenizer.decode(reply.tokens[:16]),
                    "file_bytes": file.stat().st_size,
                }
                record["llama_cpp"] = reply.version
                print(
                    f"{name:28}{reply.per_processor_second:8.1f} tokens a processor second",
                    flush=True,
                )
    record["speed"] = list(found.values())
    records.keep(record, out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Perplexity and speed by format.")
    parser.add_argument("--only", default="", choices=["quality", "speed"])
    parser.add_argument(
        "--out", type=Path, default=formats.KEPT, help="default: beside the library"
    )
    return parser.parse_args()


def _empty() -> dict[str, Any]:
    return {
        "machine": {
            **measure.machine(),
            "gguf": version("gguf"),
            "xllamacpp": version("xllamacpp"),
        },
        "model": embedded.NAME,
        "scored_tokens": SCORED * (WINDOW - 1),
        "prompt": PROMPT,
        "new_tokens": NEW,
        "speed": [],
        "rows": [],
    }


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
