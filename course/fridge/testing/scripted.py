"""A language model that says what was written down before, and keeps account of the work it was asked for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fridge.models.llama import Cache
from fridge.testing.expect import InWords, wrong
from fridge.workbench import arguments

MOST_FED = 4096  # tokens of one call, all rows together: a test's conversations are far shorter
MOST_TOLD = 20  # tokens that a message shows
_FED = "The tokens fed to the model"
_GOES_ON = (
    "each call must go on where the cache ends; tokens in the cache are not fed again, and the token just chosen is "
    "fed next"
)


@dataclass(frozen=True)
class Call:
    """One call of a `ScriptedModel`: the tokens that were fed, and the position of the first."""

    start: int
    tokens: list[int]


class ScriptedModel:
    """Stands for a `fridge.models.llama.Llama` in a test: call it as you call that.

    The whole conversation is known beforehand. At each position the model finds the next token of it most likely, and a
    call that feeds something else, or feeds it at another position, is an error that says so.

    Args:
        lead: by how much the next token's logit, 10, lies above all others.

    Attributes:
        calls: what was asked, in order.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("__call__", "device")
    device = "cpu"

    def __init__(self, conversation: list[int], vocab_size: int = 64, lead: float = 10.0):
        outside = [token for token in conversation if not 0 <= token < vocab_size]
        if outside:
            raise ValueError(f"the conversation has tokens outside the vocabulary of {vocab_size}: {outside}")
        self.conversation = list(conversation)
        self.vocab_size = vocab_size
        self.lead = lead
        self.calls: list[Call] = []

    @property
    def positions(self) -> int:
        """Positions processed in all calls: the work done."""
        return sum(len(call.tokens) for call in self.calls)

    def __call__(self, tokens: Tensor, cache: Cache | None = None, last_only: bool = False) -> Tensor:
        """Logits [1, new, vocab_size] (or [1, 1, vocab_size]) for tokens [1, new]; the cache grows by `new`.

        Raises:
            Wrong: tokens of another shape, or not those of the conversation at these positions.
        """
        start = positions_held(cache)
        fed = ids_fed(tokens, last_only, rows=1, vocab_size=self.vocab_size)[0].tolist()
        self.calls.append(Call(start, fed))
        end = start + len(fed)
        if fed != self.conversation[start:end]:
            how, cause = "", _GOES_ON
            if cache is None:
                how, cause = ", without a cache", "hand the model the cache in every call: without one it begins anew"
            what = f"Call {len(self.calls)} fed the model tokens for positions {start} to {end - 1}{how}"
            right = self.conversation[start:end]
            if len(fed) > MOST_TOLD:
                pairs = enumerate(zip(fed, right, strict=False))
                same = next((i for i, (token, due) in pairs if token != due), len(right))
                what += f"; from position {start + same} on"
                right, fed = right[same:][:MOST_TOLD], fed[same:][:MOST_TOLD]
            raise wrong(what, right, InWords(f"{fed}"), cause)
        if cache is not None:
            keys = torch.tensor(fed, dtype=torch.float32).reshape(1, 1, -1, 1)
            cache.update(0, keys, keys)
        logits = torch.zeros(1, len(fed), self.vocab_size)
        known = torch.tensor(self.conversation[start + 1 : end + 1], dtype=torch.int64)
        logits[0, : len(known)] = 10.0 - self.lead
        logits[0, torch.arange(len(known)), known] = 10.0
        return logits[:, -1:] if last_only else logits


def ids_fed(tokens: Any, last_only: Any, rows: int | None, vocab_size: int) -> Tensor:
    """The ids that a test's model is fed, as an embedding would take them.

    Args:
        rows: how many sequences; None: any number.

    Raises:
        Wrong: tokens of another shape or kind, too many, or outside the vocabulary; `last_only` is no truth value.
    """
    ids = arguments.tensor(tokens)
    if ids is None or ids.ndim != 2 or ids.shape[0] != (rows or ids.shape[0]) or not 0 < ids.numel() <= MOST_FED:
        expected = f"a tensor [{rows or 'batch'}, new], new > 0, at most {MOST_FED} ids"
        raise wrong(_FED, expected, InWords(arguments.said(tokens)))
    if ids.dtype not in (torch.int32, torch.int64):  # all that an embedding accepts
        raise wrong(_FED, "int64 ids", InWords(f"{ids.dtype}"))
    if not 0 <= int(ids.min()) <= int(ids.max()) < vocab_size:
        raise wrong(_FED, f"ids from 0 to {vocab_size - 1}", InWords(f"{int(ids.min())} to {int(ids.max())}"))
    if type(last_only) is not bool:
        raise wrong("last_only", "True or False", InWords(arguments.said(last_only)))
    return ids


def positions_held(cache: Any) -> int:
    """What a cache says of its length, 0 for none. Raises Wrong for what is no cache."""
    if cache is None:
        return 0
    kind = type(cache)  # a learner's own class may do; what the language, torch and NumPy have doesn't
    known = kind.__module__ == "builtins" or issubclass(kind, Tensor | np.ndarray | np.generic)
    if known or not hasattr(kind, "__len__"):
        got = InWords(arguments.said(cache))
        raise wrong("The cache given to the model", "one with len() and update()", got)
    return len(cache)
