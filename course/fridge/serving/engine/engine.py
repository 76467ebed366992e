"""The loop: schedule a step, compute it, choose a token for each sequence that has reached its end, repeat."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fridge.models.llama import Llama
from fridge.serving.engine.batch import make_batch
from fridge.serving.engine.blocks import BlockAllocator
from fridge.serving.engine.linears import PackedLinear
from fridge.serving.engine.paged_cache import PagedKVCache
from fridge.serving.engine.paged_llama import Linear, PagedLlama
from fridge.serving.engine.scheduler import Scheduler, Sequence


@dataclass(frozen=True)
class Finished:
    """A complete reply: the request's number, as `add` gave it, and the tokens without the one that stopped it."""

    request: int
    tokens: list[int]


class Engine:
    """Serves many requests at once with greedy decoding.

    Args:
        llama: the model, in float32 on the CPU.
        num_blocks, block_size: of the KV cache.
        max_sequences: largest number of sequences in a step.
        token_budget: largest number of tokens in a step.
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
        make_linear: Callable[[Tensor], Linear] = PackedLinear,
    ):
        self.config = llama.config
        self._model = PagedLlama(llama, make_linear)
        self.cache = PagedKVCache(llama.config, num_blocks, block_size)
        self.scheduler = Scheduler(BlockAllocator(num_blocks), block_size, max_sequences, token_budget)
        self._numbers: dict[Sequence, int] = {}
        self._added = 0

    def add(self, prompt: list[int], max_new_tokens: int, stop_token: int | None = None) -> int:
        """Queue a request; return its number.

        Raises:
            ValueError: the prompt is empty, or prompt and reply don't fit into the whole cache.
        """
        sequence = Sequence(list(prompt), max_new_tokens, stop_token)
        self.scheduler.add(sequence)
        self._added += 1
        self._numbers[sequence] = self._added - 1
        return self._added - 1

    @torch.inference_mode()
    def step(self) -> list[Finished]:
        """Compute one step; return who has finished with it."""
        batch = make_batch(self.scheduler.schedule(), self.cache.block_size)
        logits = self._model(batch, self.cache)
        for sequence, new in batch.sequences:
            self.scheduler.computed(sequence, new)
        finished = []
        for sequence, token in zip(batch.answering, logits.argmax(-1).tolist(), strict=True):
            sequence.tokens.append(token)
            if sequence.finished:
                self.scheduler.finish(sequence)
                finished.append(Finished(self._numbers.pop(sequence), sequence.reply))
        return finished

    def run(self) -> Iterator[Finished]:
        """Step until nobody is left; yield each reply as it is complete."""
        while self.scheduler.waiting or self.scheduler.running:
            yield from self.step()
