"""Serve a set of requests with a scheduler, and say how well it went: throughput, TTFT, TPOT, how full everything was.

One loop for all: with a `PagedRunner` a real model runs and the clock is the machine's; without, a step is a second
and any token will do, which is enough to count steps and places. `generate_in_batches` is transformers' way.
"""

import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria

from fridge.serving.paging import PagedRunner, Piece
from fridge.serving.traces import Request
from fridge.workbench import busy, tables


class Scheduler(Protocol):
    """What the loop asks of a scheduler: exercise `scheduler` of unit 04."""

    def add(self, name: str, prompt_tokens: int, max_new_tokens: int) -> None:
        """A request arrives."""
        ...

    def schedule(self) -> tuple[list[tuple[str, int]], list[str]]:
        """The next step's batch, and who is preempted."""
        ...

    def update(self, stopped: Iterable[str] = ()) -> list[str]:
        """The step is done; who has ended."""
        ...


class Cache(Protocol):
    """What the loop asks of a cache: exercise `paged-cache` of unit 04."""

    def append(self, name: str, new: int) -> list[int]:
        """Make room for new positions."""
        ...

    def block_table(self, name: str) -> list[int]:
        """A sequence's blocks."""
        ...

    def free(self, name: str) -> None:
        """A sequence leaves."""
        ...


@dataclass
class Step:
    """One step of a server.

    Attributes:
        end: when it ended, in seconds.
        computed: tokens computed, by name.
        padding: who took part though the reply was complete.
        held: tokens in memory that somebody still needs.
    """

    end: float
    computed: dict[str, int]
    padding: set[str]
    held: int
    preempted: list[str] = field(default_factory=list)


@dataclass
class Served:
    """One request's reply, and when each of its tokens came (seconds after the start)."""

    tokens: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def ttft(self) -> float:
        """Time to first token."""
        return self.times[0]

    @property
    def tpot(self) -> float | None:
        """Time per output token after the first; None for a reply of one token."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1) if len(self.times) > 1 else None


@dataclass
class Run:
    """What a server did with a set of requests."""

    replies: dict[str, Served]
    steps: list[Step]
    places: int

    @property
    def seconds(self) -> float:
        """From the first request to the last token."""
        return self.steps[-1].end

    @property
    def tokens(self) -> int:
        """Tokens of all replies: the useful ones."""
        return sum(len(reply.tokens) for reply in self.replies.values())

    @property
    def throughput(self) -> float:
        """Useful tokens per second."""
        return self.tokens / self.seconds

    @property
    def utilisation(self) -> float:
        """Share of the places, over all steps, that worked on a request which still wanted a token."""
        useful = sum(len(step.computed) - len(step.padding) for step in self.steps)
        return useful / (self.places * len(self.steps))

    @property
    def tokens_per_step(self) -> float:
        """Useful tokens that a step gives, on average: a count of work, the same on any machine."""
        return self.tokens / len(self.steps)

    def first_step(self, quantile: float = 0.5) -> float:
        """Quantile over the requests of the step that gave the first token; the first step is 1."""
        ends = [step.end for step in self.steps]
        return _quantile([1 + bisect_left(ends, reply.ttft) for reply in self.replies.values()], quantile)

    def ttft(self, quantile: float = 0.5) -> float:
        """Quantile over the requests of the time to first token, in seconds."""
        return _quantile([reply.ttft for reply in self.replies.values()], quantile)

    def tpot(self, quantile: float = 0.5) -> float:
        """Quantile over the requests of the time per output token, in seconds."""
        return _quantile([reply.tpot for reply in self.replies.values() if reply.tpot is not None], quantile)


def serve(
    scheduler: Scheduler,
    requests: list[Request],
    places: int,
    cache: Cache | None = None,
    runner: PagedRunner | None = None,
    watch: Callable[[Step], None] | None = None,
) -> Run:
    """Serve requests that are all there at the start, greedily and to their full length.

    Args:
        scheduler: decides each step.
        requests: named r0, r1, … here.
        places: most requests at a time, for the utilisation.
        cache, runner: the memory and the model; without, the steps are only counted.
        watch: called after each step, when those that have ended have not yet left.
    """
    names = [f"r{index}" for index in range(len(requests))]
    wanted = dict(zip(names, (request.output for request in requests), strict=True))
    known = dict(zip(names, (list(request.prompt) for request in requests), strict=True))
    computed = dict.fromkeys(names, 0)
    run = Run({name: Served() for name in names}, [], places)
    for name, request in zip(names, requests, strict=True):
        scheduler.add(name, len(request.prompt), request.output)
    if runner:
        busy.look()
    start, left = time.perf_counter(), len(requests)
    while left:
        batch, preempted = scheduler.schedule()
        for name in preempted:
            computed[name] = 0
            if cache is not None:
                cache.free(name)
        pieces = []
        for name, new in batch:
            first = computed[name]
            if cache is not None:
                cache.append(name, new)
                pieces.append(Piece(known[name][first : first + new], first, list(cache.block_table(name))))
            computed[name] = first + new
        chosen = runner.step(pieces).argmax(-1).tolist() if runner else [0] * len(batch)
        now = time.perf_counter() - start if runner else float(len(run.steps) + 1)
        padding = set()
        for (name, _), token in zip(batch, chosen, strict=True):
            if len(run.replies[name].tokens) == wanted[name]:
                padding.add(name)
            if computed[name] == len(known[name]):
                known[name].append(token)
                if name not in padding:
                    run.replies[name].tokens.append(token)
                    run.replies[name].times.append(now)
        held = sum(count for name, count in computed.items() if name not in padding)
        run.steps.append(Step(now, dict(batch), padding, held, list(preempted)))
        if watch:
            watch(run.steps[-1])
        for name in scheduler.update():
            left, computed[name] = left - 1, 0
            if cache is not None:
                cache.free(name)
    if runner:
        busy.look()
    return run


def compare(runs: dict[str, Run]) -> None:
    """Show runs as a table, what was counted before what was measured, and who did best at what.

    A run that served fewer requests than the largest one is left out of who did best: its times to a first token are
    those of a shorter queue.
    """
    head = ("", "steps", "tokens a step", "first token in step", "tokens/s", "TTFT p50", "p95", "TPOT p50", "p95")
    most = max(len(run.replies) for run in runs.values())
    full = {name: run for name, run in runs.items() if len(run.replies) == most}
    best = {
        "most tokens per second": max(full, key=lambda name: full[name].throughput),
        "shortest TTFT": min(full, key=lambda name: full[name].ttft()),
        "shortest TPOT": min(full, key=lambda name: full[name].tpot()),
    }
    below = "The first three numbers are counted, the others measured. Here: "
    below += ", ".join(f"{what}: {name}" for what, name in best.items())
    tables.show(head, [_row(name, run) for name, run in runs.items()], below, numbers=range(1, len(head)))


def _row(name: str, run: Run) -> tuple[str, ...]:
    counted = (f"{len(run.steps)}", f"{run.tokens_per_step:.1f}", f"{run.first_step():g}")
    ttft, tpot = ((quantity(0.5), quantity(0.95)) for quantity in (run.ttft, run.tpot))
    seconds = [f"{value:.1f} s" for value in ttft] + [f"{1000 * value:.0f} ms" for value in tpot]
    return name, *counted, f"{run.throughput:.1f}", *seconds


class StaticScheduler:
    """Static batching: a batch begins together, and nobody leaves or joins before its longest reply is complete."""

    def __init__(self, places: int):
        self.places = places
        self.waiting: list[str] = []
        self.running: list[str] = []
        self._left: dict[str, int] = {}
        self._prompts: dict[str, int] = {}

    def add(self, name: str, prompt_tokens: int, max_new_tokens: int) -> None:
        """A request arrives."""
        self.waiting.append(name)
        self._prompts[name], self._left[name] = prompt_tokens, max_new_tokens

    def schedule(self) -> tuple[list[tuple[str, int]], list[str]]:
        """Everyone of the batch takes part in every step."""
        if self.running:
            return [(name, 1) for name in self.running], []
        self.running, self.waiting = self.waiting[: self.places], self.waiting[self.places :]
        return [(name, self._prompts[name]) for name in self.running], []

    def update(self, stopped: Iterable[str] = ()) -> list[str]:
        """The whole batch ends when its last one does."""
        for name in self.running:
            self._left[name] -= 1
        if any(self._left[name] > 0 for name in self.running):
            return []
        ended, self.running = self.running, []
        return ended


@busy.watched()
def generate_in_batches(model: PreTrainedModel, requests: list[Request], batch: int) -> Run:
    """transformers' `generate` on static batches, shorter prompts padded on the left, end-of-text ignored."""
    run = Run({f"r{index}": Served() for index in range(len(requests))}, [], batch)
    start = time.perf_counter()
    for first in range(0, len(requests), batch):
        group = requests[first : first + batch]
        names = [f"r{first + index}" for index in range(len(group))]
        width, longest = max(len(r.prompt) for r in group), max(r.output for r in group)
        ids = torch.zeros(len(group), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, request in enumerate(group):
            ids[row, width - len(request.prompt) :] = torch.tensor(request.prompt)
            mask[row, width - len(request.prompt) :] = 1
        ends: list[float] = []
        config = GenerationConfig(max_new_tokens=longest, do_sample=False, pad_token_id=0, eos_token_id=None)
        with torch.inference_mode():
            out = model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=config,
                stopping_criteria=[_Clock(ends, start)],
            )
        for row, (name, request) in enumerate(zip(names, group, strict=True)):
            run.replies[name].tokens = out[row, width : width + request.output].tolist()
            run.replies[name].times = ends[: request.output]
        for index, end in enumerate(ends):
            padding = {name for name, request in zip(names, group, strict=True) if index >= request.output}
            new = dict.fromkeys(names, 1) if index else {n: len(r.prompt) for n, r in zip(names, group, strict=True)}
            held = sum(len(r.prompt) + index for n, r in zip(names, group, strict=True) if n not in padding)
            run.steps.append(Step(end, new, padding, held))
    return run


class _Clock(StoppingCriteria):
    # `generate` asks its stopping criteria after each token: the moment at which the token is there.
    def __init__(self, ends: list[float], start: float):
        self._ends, self._start = ends, start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: object) -> torch.Tensor:
        self._ends.append(time.perf_counter() - self._start)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def _quantile(values: list[float], quantile: float) -> float:
    ordered = sorted(values)
    return (
        statistics.median(ordered) if quantile == 0.5 else ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]
    )
