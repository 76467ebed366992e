"""A language model that says what was written down before, and keeps account of the work it was asked for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fridge.llama import Cache
from fridge.testing.outcome import Wrong


@dataclass(frozen=True)
class Call:
    """One call of a `ScriptedModel`: the tokens that were fed, and the position of the first."""

    start: int
    tokens: list[int]


class ScriptedModel:
    """Stands for a `fridge.llama.Llama` in a test: call it as you call that.

    The whole conversation is known beforehand. At each position the model finds the next token of it most likely, and a
    call that feeds something else, or feeds it at another position, is an error that says so.

    Attributes:
        calls: what was asked, in order.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("__call__", "device")
    device = "cpu"

    def __init__(self, conversation: list[int], vocab_size: int = 64):
        outside = [token for token in conversation if not 0 <= token < vocab_size]
        if outside:
            raise ValueError(f"the conversation has tokens outside the vocabulary of {vocab_size}: {outside}")
        self.conversation = list(conversation)
        self.vocab_size = vocab_size
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
        if not isinstance(tokens, Tensor) or tokens.ndim != 2 or tokens.shape[0] != 1 or tokens.shape[1] == 0:
            got = f"shape {list(tokens.shape)}" if isinstance(tokens, Tensor) else type(tokens).__name__
            raise Wrong(f"  The tokens fed to the model\n  expected: a tensor [1, new], new > 0\n  got:      {got}")
        if tokens.dtype not in (torch.int32, torch.int64):  # all that an embedding accepts
            raise Wrong(f"  The tokens fed to the model\n  expected: int64 ids\n  got:      {tokens.dtype}")
        start = 0 if cache is None else len(cache)
        fed = tokens[0].tolist()
        self.calls.append(Call(start, fed))
        end = start + len(fed)
        if fed != self.conversation[start:end]:
            raise Wrong(
                f"  Call {len(self.calls)} fed the model tokens for positions {start} to {end - 1}\n"
                f"  expected: {self.conversation[start:end]}\n  got:      {fed}\n"
                "  likely cause: each call must go on where the cache ends; tokens in the cache are not fed again, and "
                "the token just chosen is fed next"
            )
        if cache is not None:
            keys = torch.tensor(fed, dtype=torch.float32).reshape(1, 1, -1, 1)
            cache.update(0, keys, keys)
        logits = torch.zeros(1, len(fed), self.vocab_size)
        for row, position in enumerate(range(start, end)):
            if position + 1 < len(self.conversation):
                logits[0, row, self.conversation[position + 1]] = 10.0
        return logits[:, -1:] if last_only else logits
