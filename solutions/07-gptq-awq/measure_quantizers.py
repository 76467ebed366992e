"""Measure every way to round the model's weights and keep the figures, which unit 07 draws.

python solutions/07-gptq-awq/measure_quantizers.py                # an hour and more on two idle cores
python solutions/07-gptq-awq/measure_quantizers.py --only 3:64    # three bits, groups of 64

Rounding to nearest, GPTQ and AWQ are the master's own answers. Calibrated on the docstrings of the standard library,
measured on the reference manual. A row that the JSON has isn't measured again, and the JSON, which says on which machine
and when, is written after each: an interrupted run keeps what it has.
"""

import argparse
import copy
import math
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autograder.authoring.answers import answers
from fridge import models
from fridge.models.caches import ConcatCache
from fridge.models.llama import Llama
from fridge.quantization import grids, quality, quantized, sharing
from fridge.quantization.decoder import Block, blocks_of, embedded
from fridge.workbench import measure, records, text

ROOT = Path(__file__).parents[2]
CALIBRATION, WINDOW, SCORED = 16, 512, 17  # sequences, tokens of each, windows that are scored
BITS, GROUPS = (3, 4, 2), (64, None, 32, 96)
CLOSELY = (3, 64)  # where the experiments are, and the layers' own errors
PROMPT = "The capital of France is"

Quantize = Callable[[nn.Linear, Tensor], None]


class Ways:
    """Each way to round a whole model: `way(model, x, bits, group_size)` changes the model's weights.

    x is what the first block is given for the calibration's tokens.
    """

    def __init__(self) -> None:
        self.own = answers(ROOT, "07-gptq-awq")

    def all(self) -> dict[str, Callable[[Llama, Tensor, int, int | None], None]]:
        """By the names that the figures have, in the order in which they are measured."""
        return {
            "rounding": self.rounding,
            "GPTQ": self.gptq,
            "AWQ": self.awq,
            "AWQ + clipping": self.awq_clipped,
        }

    def experiments(self) -> dict[str, Callable[[Llama, Tensor, int, int | None], None]]:
        """What goes wrong when GPTQ is given other Hessians."""
        return {
            "GPTQ, Hessians of the float model": self.gptq_from_the_float_model,
            "GPTQ, first token left out": self.gptq_without_the_first_token,
        }

    def rounding(self, model: Llama, _: Tensor, bits: int, group_size: int | None) -> None:
        """Each weight to the nearest value."""
        for _, layer in quantized.linears(model):
            layer.weight.copy_(grids.round_to_nearest(layer.weight, bits, group_size))

    def gptq(self, model: Llama, x: Tensor, bits: int, group_size: int | None) -> None:
        """Block after block, from the inputs that the rounded blocks give."""
        self.own["quantize_model"](blocks_of(model), x, self._by_gptq(bits, group_size))

    def gptq_without_the_first_token(
        self, model: Llama, x: Tensor, bits: int, group_size: int | None
    ) -> None:
        """The same, but no Hessian sees the first token of a sequence."""
        quantize = self._by_gptq(bits, group_size)

        def without_the_first(layer: nn.Linear, inputs: Tensor) -> None:
            quantize(layer, inputs.reshape(len(x), -1, layer.in_features)[:, 1:])

        self.own["quantize_model"](blocks_of(model), x, without_the_first)

    def gptq_from_the_float_model(
        self, model: Llama, x: Tensor, bits: int, group_size: int | None
    ) -> None:
        """All Hessians from the model before it was rounded."""
        quantize = self._by_gptq(bits, group_size)
        for block in blocks_of(model):
            after = block(x)
            self.own["quantize_model"]([block], x, quantize)
            x = after

    def awq(self, model: Llama, x: Tensor, bits: int, group_size: int | None) -> None:
        """Scales by the inputs of the float model, shared by all layers that read the same."""

        def rounded(weight: Tensor, mean_abs: Tensor, hessian: Tensor) -> Tensor:
            return self.own["awq_scale"](weight, mean_abs, hessian, bits, group_size)[2]

        sharing.round_together(model, x, self.own["quantize_model"], rounded)

    def awq_clipped(self, model: Llama, x: Tensor, bits: int, group_size: int | None) -> None:
        """And each group's grid as narrow as its output error wants it."""

        def rounded(weight: Tensor, mean_abs: Tensor, hessian: Tensor) -> Tensor:
            _, scales, _ = self.own["awq_scale"](weight, mean_abs, hessian, bits, group_size)
            of_scaled = hessian / (scales[:, None] * scales)
            return sharing.clipped(weight * scales, of_scaled, bits, group_size) / scales

        sharing.round_together(model, x, self.own["quantize_model"], rounded)

    def _by_gptq(self, bits: int, group_size: int | None) -> Quantize:
        def quantize(layer: nn.Linear, inputs: Tensor) -> None:
            hessian = self.own["Hessian"](layer.in_features)
            hessian.add(inputs)
            factor = self.own["inverse_factor"](hessian.value)
            layer.weight.copy_(self.own["gptq"](layer.weight.float(), factor, bits, group_size))

        return quantize


class Contest:
    """The model, both texts, and what the rounded models are compared with.

    Args:
        record: runs blocks and calls for each layer with its inputs: the master's `quantize_model`.
    """

    def __init__(self, record: Callable[[list[Block], Tensor, Quantize], None]) -> None:
        self._record = record
        self.model, self._tokenizer = models.load(device="cpu"), models.load_tokenizer()
        tokens = self._read(text.docstrings(100_000))[: CALIBRATION * WINDOW]
        self.calibration = tokens.view(CALIBRATION, WINDOW)
        self.scored = self._read(text.prose())[: SCORED * WINDOW].view(SCORED, WINDOW)
        self.x = embedded(self.model, self.calibration)
        self.lost = self._losses(self.model)

    def row(
        self,
        way: Callable[[Llama, Tensor, int, int | None], None],
        bits: int,
        group: int | None,
    ) -> dict[str, Any]:
        """One way at one width: how good, how long, and what it says."""
        small = copy.deepcopy(self.model)
        start = time.process_time()
        with torch.no_grad():
            way(small, self.x, bits, group)
        seconds = time.process_time() - start
        lost = self._losses(small)
        return {
            "perplexity": vars(quality.perplexity(lost)),
            "times_float": vars(quality.ratio(lost, self.lost)),
            **({"layer_error": self._layer_error(small)} if (bits, group) == CLOSELY else {}),
            "processor_seconds": round(seconds, 1),
            "says": self._say(small),
        }

    @torch.no_grad()
    def _layer_error(self, small: Llama) -> float:
        """What each layer makes of the float model's inputs, off by which share: the layers' geometric mean."""
        x, logarithms = self.x, []
        for block, rounded in zip(blocks_of(self.model), blocks_of(small), strict=True):
            seen: dict[nn.Linear, Tensor] = {}
            self._record([block], x, seen.__setitem__)
            for name, layer in block.layers.items():
                inputs = seen[layer].flatten(0, -2)
                error = rounded.layers[name].weight - layer.weight
                share = (inputs @ error.T).square().sum() / (
                    inputs @ layer.weight.T
                ).square().sum()
                logarithms.append(math.log(max(float(share), 1e-12)))
            x = block(x)
        return math.exp(sum(logarithms) / len(logarithms))

    def _losses(self, model: Llama) -> Tensor:
        return quality.losses(model, self.scored.flatten(), WINDOW)

    def _read(self, words: str) -> Tensor:
        return self._tokenizer(words, return_tensors="pt").input_ids[0]

    def _say(self, model: Llama, tokens: int = 12) -> str:
        ids, cache, said = self._read(PROMPT)[None], ConcatCache(), []
        for _ in range(tokens):
            ids = model(ids, cache, last_only=True).argmax(-1)
            said.append(int(ids))
        return self._tokenizer.decode(said)


def main() -> None:
    """Measure what isn't there, print each row, write the file after it."""
    options = _options()
    record = records.read(options.out, _empty())
    ways = Ways()
    contest = Contest(ways.own["quantize_model"])
    record["float"] = vars(quality.perplexity(contest.lost))
    plan = [
        (bits, group, name, way)
        for group in GROUPS
        for bits in BITS
        for name, way in (
            ways.all() | (ways.experiments() if (bits, group) == CLOSELY else {})
        ).items()
        if options.only in ("", f"{bits}:{group or 'row'}")
    ]
    there = {(row["bits"], row["group_size"], row["way"]) for row in record["rows"]}
    for bits, group, name, way in plan:
        if (bits, group, name) in there:
            continue
        row = {"bits": bits, "group_size": group, "way": name, **contest.row(way, bits, group)}
        record["rows"].append(row)
        records.keep(record, options.out)
        found = row["perplexity"]
        print(
            f"{bits} bits, {group or 'row':>3}, {name:34} {found['value']:8.2f} "
            f"({found['low']:.2f} to {found['high']:.2f}) {row['processor_seconds']:6.0f} s",
            flush=True,
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Perplexity of every way to round the model.")
    parser.add_argument("--only", default="", metavar="BITS:GROUP", help="such as 3:64, 4:row")
    parser.add_argument(
        "--out", type=Path, default=quality.KEPT, help="default: beside the library"
    )
    return parser.parse_args()


def _empty() -> dict[str, Any]:
    return {
        "machine": {**measure.machine(), "transformers": version("transformers")},
        "model": models.name(),
        "calibration_tokens": CALIBRATION * WINDOW,
        "scored_tokens": SCORED * (WINDOW - 1),
        "prompt": PROMPT,
        "rows": [],
    }


if __name__ == "__main__":
    main()
