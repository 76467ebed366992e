"""What all requests to one server have in common, and what an endpoint knows of it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fridge.serving.api.language import Language
from fridge.serving.api.limits import LIMITS, Limits
from fridge.serving.api.metrics import Metrics
from fridge.serving.api.parts import Parts
from fridge.serving.api.pump import Pump
from fridge.serving.api.refusal import Refused
from fridge.serving.engine import Engine

TOO_LONG = "context_length_exceeded"

Made = TypeVar("Made")


class Service:
    """An engine with a name, ready to be asked.

    Args:
        key: what a client has to show; None lets everybody in.
        parts: the library's own, or a learner's.

    Attributes:
        vocabulary: the bytes of each token that the model may choose.
        context: tokens of a prompt and its reply that fit into the cache, the model's positions and the limits.
        bytes: that the engine's cache has reserved.
        created: when it was made, in seconds of Unix time.
        pump: the engine's thread.
        draining: whether new requests are turned away, because the server is to stop.
        active: requests that are being answered.
    """

    def __init__(
        self,
        engine: Engine,
        language: Language,
        name: str,
        parts: Parts | None = None,
        limits: Limits = LIMITS,
        key: str | None = None,
    ):
        self.language, self.name, self.limits, self.key = language, name, limits, key
        self.parts = parts or Parts()
        self.vocabulary = _of_length(language.vocabulary, engine.config.vocab_size)
        cached = engine.scheduler.allocator.num_blocks * engine.cache.block_size
        self.context = min(size for size in (limits.context, language.context, cached) if size is not None)
        self.bytes = engine.cache.nbytes
        self.created = int(time.time())
        self.metrics = Metrics()
        self._scheduler = engine.scheduler
        self.pump = Pump(engine, self.parts, self.vocabulary)
        self.draining = False
        self.active = 0
        # Long prompts take tokenizers a while, for which the event loop mustn't wait.
        self._tokenizing = ThreadPoolExecutor(1, "fridge-tokenizer")

    @property
    def healthy(self) -> bool:
        """Whether a request would be served."""
        return self.pump.alive and not self.draining

    def numbers(self) -> dict[str, tuple[str, str, float]]:
        """Of the engine: name -> Prometheus's kind, what it is, its value. Single numbers, read while it runs."""
        scheduler, allocator = self._scheduler, self._scheduler.allocator
        return {
            "requests_active": (
                "gauge",
                "requests that are being answered, whatever the engine knows of them",
                self.active,
            ),
            "num_requests_running": ("gauge", "requests in the batch", len(scheduler.running)),
            "num_requests_waiting": ("gauge", "requests in the queue", len(scheduler.waiting)),
            "kv_cache_usage_perc": (
                "gauge",
                "share of blocks with owners",
                1 - allocator.num_free / allocator.num_blocks,
            ),
            "num_preemptions_total": ("counter", "sequences that had to start over", scheduler.preemptions),
            "engine_steps_total": ("counter", "steps so far", self.pump.steps),
        }

    def conversation(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """A conversation's tokens.

        Raises:
            Refused: 400, the model's chat template can't take these messages.
        """
        try:
            return self.language.chat(messages)
        except ValueError as error:
            raise Refused(400, str(error), "messages") from error

    def room(self, prompts: Sequence[Sequence[int]], asked_for: int | None, default: int, parameter: str) -> int:
        """Tokens that the reply to each prompt may have.

        Args:
            asked_for: None if the request doesn't say; then `default`, or as many as there is room for.
            parameter: that asks for them.

        Raises:
            Refused: 400, prompt and reply don't fit together, or a prompt isn't one.
        """
        if not all(prompts):
            raise Refused(400, "a prompt of no tokens can't be continued", "prompt")
        if any(token >= len(self.vocabulary) for prompt in prompts for token in prompt):
            raise Refused(400, f"this model has tokens from 0 to {len(self.vocabulary) - 1}", "prompt")
        longest = max(map(len, prompts))
        left = self.context - longest
        if left < 1:
            message = f"the prompt has {longest} tokens; with its reply at most {self.context} fit"
            raise Refused(400, message, "prompt", TOO_LONG)
        wanted = min(default, left) if asked_for is None else asked_for
        if wanted > left:
            message = f"after a prompt of {longest} tokens there is room for {left}, not {wanted}"
            raise Refused(400, message, parameter, TOO_LONG)
        return wanted

    async def aside(self, call: Callable[..., Made], *arguments: Any) -> Made:
        """The result of a call in the tokenizer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._tokenizing, call, *arguments)

    async def start(self) -> None:
        """Start the engine's thread."""
        self.pump.start()

    async def stop(self) -> None:
        """End what runs, and both threads."""
        self.draining = True
        await self.pump.stop()
        self._tokenizing.shutdown()


def _of_length(vocabulary: Sequence[bytes], length: int) -> list[bytes]:
    # Models have a few numbers more than their tokenizers, to make the matrices' sizes round.
    return [*vocabulary[:length], *[b""] * (length - len(vocabulary))]
