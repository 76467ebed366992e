"""The loop: schedule a step, compute it, choose a token for each sequence that has reached its end, repeat."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from fridge.models.llama import Llama
from fridge.serving.engine.batch import make_batch
from fridge.serving.engine.blocks import BlockAllocator
from fridge.serving.engine.linears import PackedLinear
from fridge.serving.engine.paged_cache import PagedKVCache
from fridge.serving.engine.paged_llama import Linear, PagedLlama
from fridge.serving.engine.sampling import GREEDY, Sampler, Sampling, log_probabilities
from fridge.serving.engine.scheduler import Scheduler, Sequence


@dataclass(frozen=True)
class Output:
    """A token of a step, for the request that it belongs to.

    Attributes:
        request: its number, as `add` gave it.
        token: the newest one; with `finish` "stop", the stop token, which is no part of the reply.
        finish: "stop" after the stop token, "length" after the last token that was asked for, None before.
        logprob, likeliest: the token's log-probability and the likeliest tokens with theirs, where asked for.
    """

    request: int
    token: int
    finish: Literal["stop", "length"] | None = None
    logprob: float | None = None
    likeliest: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Finished:
    """A complete reply: the request's number, as `add` gave it, and the tokens without the one that stopped it."""

    request: int
    tokens: list[int]


class Engine:
    """Serves many requests at once. Not for several threads: whoever calls it takes care that one does at a time.

    Args:
        llama: the model, in float32 on the CPU.
        num_blocks, block_size: of the KV cache.
        max_sequences: largest number of sequences in a step.
        token_budget: largest number of tokens in a step.
        max_waiting: largest number of requests that may wait; None lets any number.
        make_linear: `PackedLinear` for float32, `Int8Linear` for a quarter of the bytes.

    Attributes:
        config: the model's shapes.
        scheduler, cache: its parts, to look at while it runs.
    """

    def __init__(
        self,
        llama: Llama,
        num_blocks: int = 1024,
        block_size: int = 16,
        max_sequences: int = 32,
        token_budget: int = 512,
        max_waiting: int | None = None,
        make_linear: Callable[[Tensor], Linear] = PackedLinear,
    ):
        self.config = llama.config
        self._model = PagedLlama(llama, make_linear)
        self.cache = PagedKVCache(llama.config, num_blocks, block_size)
        allocator = BlockAllocator(num_blocks)
        self.scheduler = Scheduler(allocator, block_size, max_sequences, token_budget, max_waiting)
        self._sequences: dict[int, Sequence] = {}
        self._numbers: dict[Sequence, int] = {}
        self._added = 0

    @property
    def busy(self) -> bool:
        """Whether anybody waits or runs."""
        return bool(self._sequences)

    @property
    def sequences(self) -> Mapping[int, Sequence]:
        """Who waits or runs, by number: to look at."""
        return MappingProxyType(self._sequences)

    def add(
        self, prompt: list[int], max_new_tokens: int, stop_token: int | None = None, sampling: Sampling = GREEDY
    ) -> int:
        """Queue a request; return its number.

        Raises:
            ValueError: the prompt is empty, or prompt and reply don't fit into the whole cache.
            QueueFull: as many wait already as may.
        """
        sequence = Sequence(list(prompt), max_new_tokens, stop_token, Sampler(sampling))
        self.scheduler.add(sequence)
        number, self._added = self._added, self._added + 1
        self._sequences[number], self._numbers[sequence] = sequence, number
        return number

    def cancel(self, request: int) -> bool:
        """Drop a request that waits or runs: its blocks are free at once. False if it isn't there any more."""
        sequence = self._sequences.get(request)
        if sequence is None:
            return False
        self._leave(sequence)
        return True

    def step(self) -> list[Output]:
        """Compute one step; return its tokens, one for each sequence that has reached its end."""
        return [output for output, _ in self._step()]

    def run(self) -> Iterator[Finished]:
        """Step until nobody is left; yield each reply as it is complete."""
        while self.busy:
            for output, sequence in self._step():
                if output.finish:
                    yield Finished(output.request, sequence.reply)

    @torch.inference_mode()
    def _step(self) -> list[tuple[Output, Sequence]]:
        scheduled = self.scheduler.schedule()
        if not scheduled:
            return []
        batch = make_batch(scheduled, self.cache.block_size)
        logits = self._model(batch, self.cache)
        for sequence, new in batch.sequences:
            self.scheduler.computed(sequence, new)
        largest = logits.argmax(-1).tolist()
        outputs = []
        for row, sequence in enumerate(batch.answering):
            greedy = sequence.sampler.sampling.is_greedy
            token = largest[row] if greedy else sequence.sampler(logits[row], sequence.tokens)
            outputs.append((self._append(sequence, token, logits[row]), sequence))
        return outputs

    def _append(self, sequence: Sequence, token: int, logits: Tensor) -> Output:
        sequence.tokens.append(token)
        number, told = self._numbers[sequence], sequence.sampler.sampling.logprobs
        logprob, likeliest = (None, []) if told is None else log_probabilities(logits, token, told)
        finish: Literal["stop", "length"] | None = None
        if sequence.finished:
            finish = "stop" if sequence.stopped else "length"
            self._leave(sequence)
        return Output(number, token, finish, logprob, likeliest)

    def _leave(self, sequence: Sequence) -> None:
        self.scheduler.finish(sequence)
        del self._sequences[self._numbers.pop(sequence)]
