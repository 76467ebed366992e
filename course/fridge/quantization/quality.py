"""How well a model predicts a text, and what chance leaves open: perplexity, its range, two models on the same text.

Windows of text are scored apart, so their means are what varies by chance (Miller, "Adding Error Bars to Evals", 2024,
arXiv 2411.00640, clusters questions for the same reason: tokens of a window aren't independent).
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SIGMAS = 1.96  # of a normal distribution: 95 %
KEPT = Path(__file__).parent / "measurements" / "quantizers.json"


@dataclass(frozen=True)
class Range:
    """A value, and where it lies with 95 % confidence on other text of this kind."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@torch.no_grad()
def losses(model: Callable[[Tensor], Tensor], tokens: Tensor, window: int = 512) -> Tensor:
    """What the model loses at each token of each whole window, the window's first excepted.

    Args:
        model: [1, window] ids -> logits [1, window, vocab_size].
        tokens: [n] ids, n at least `window`; what is left behind the last whole window isn't read.

    Returns:
        [windows, window - 1], float32: the negative logarithm of the probability of each.
    """
    rows = []
    for text in tokens.unfold(0, window, window):
        logits = model(text[None])[0, :-1].float()
        rows.append(F.cross_entropy(logits, text[1:].to(logits.device), reduction="none").cpu())
    return torch.stack(rows)


def perplexity(lost: Tensor) -> Range:
    """The exponential of the mean of `losses`."""
    return _exponential(lost.double().mean(1))


def ratio(lost: Tensor, other: Tensor) -> Range:
    """One model's perplexity over another's on the same windows, which varies far less than either."""
    return _exponential(lost.double().mean(1) - other.double().mean(1))


def kept() -> dict[str, Any]:
    """What `solutions/07-gptq-awq/measure_quantizers.py` measured: machine, texts, and a row for each way and width."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def _exponential(means: Tensor) -> Range:
    error = SIGMAS * float(means.std()) / math.sqrt(len(means)) if len(means) > 1 else math.inf
    mean = float(means.mean())
    return Range(*(math.exp(min(each, 700.0)) for each in (mean, mean - error, mean + error)))
