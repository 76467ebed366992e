"""A server's KV memory over time under four ways of reserving it, after sections 3.1 and 6.2 of Kwon et al. (2023).

Requests wait in a queue that is never empty, join when their memory is there, grow by a token a step, and leave. Three
of the policies reserve one contiguous stretch, for which a buddy allocator finds the place, as the paper assumes for
Orca; the fourth takes blocks one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass

SLOTS = 15_360  # the paper's OPT-13B on a 40 GB GPU has room for 15.7 thousand tokens; a multiple of 1024 is near
POLICIES = {"max": "Orca (Max)", "pow2": "Orca (Pow2)", "oracle": "Orca (Oracle)", "paged": "vLLM"}
PARTS = ("token states", "reserved", "internal", "external")
# Kwon et al. 2023, figure 2: % of the KV memory; "external" is theirs and "others".
PAPER = {
    "max": (20.4, 13.3, 57.3, 8.9),
    "pow2": (26.8, 17.9, 13.6, 41.6),
    "oracle": (38.2, 25.2, 0.0, 36.6),
    "paged": (96.3, None, None, None),
}

Slots = Callable[..., tuple[int, int, int]]  # (prompt, output, generated, policy) -> (held, reserved, internal)


@dataclass(frozen=True)
class Usage:
    """Averages over a run: each part's share of all slots in %, in the order of `PARTS`, and requests at a time."""

    shares: tuple[float, ...]
    running: float


@dataclass
class _Running:
    prompt: int
    output: int
    place: tuple[int, int] | None  # offset and size of a contiguous stretch
    generated: int = 0


def simulate(trace: list[tuple[int, int]], policy: str, kv_slots: Slots, slots: int = SLOTS) -> Usage:
    """Serve a trace and average the memory's parts over the steps in which requests still wait.

    Args:
        trace: (tokens in, tokens out) of the requests, in order of arrival.
        policy: one of `POLICIES`.
        kv_slots: what a request's reservation consists of.
        slots: tokens that the memory holds.

    Raises:
        ValueError: the trace is so small that no request has to wait.
    """
    arena = Buddies(slots)
    waiting = [_Running(prompt, output, None) for prompt, output in reversed(trace)]
    running: list[_Running] = []
    totals, steps, present = [0.0] * len(PARTS), 0, 0

    def taken(request: _Running) -> int:
        return sum(kv_slots(request.prompt, request.output, request.generated, policy))

    while waiting:
        while policy == "paged" and running and sum(map(taken, running)) > slots:
            victim = running.pop()  # preemption: it starts again later
            victim.generated = 0
            waiting.append(victim)
        in_use = sum(map(taken, running)) if policy == "paged" else 0
        while waiting:
            request = waiting[-1]
            if policy == "paged":
                in_use += taken(request)
                if in_use > slots:
                    break
            else:
                request.place = arena.allocate(taken(request))
                if request.place is None:
                    break
            running.append(waiting.pop())
        if not waiting:
            break  # the queue has run dry: what follows is no full server
        parts = [kv_slots(r.prompt, r.output, r.generated, policy) for r in running]
        for index in range(3):
            totals[index] += sum(part[index] for part in parts)
        totals[3] += slots - sum(map(sum, parts))
        steps, present = steps + 1, present + len(running)
        for request in list(running):
            request.generated += 1
            if request.generated == request.output:
                running.remove(request)
                if request.place:
                    arena.free(request.place)
    if not steps:
        raise ValueError(f"all {len(trace)} requests fit into {slots} slots at once: no memory is short")
    return Usage(tuple(100 * total / slots / steps for total in totals), present / steps)


class Buddies:
    """A buddy allocator: stretches are powers of two long, halved to fit and joined again when both halves are free."""

    def __init__(self, size: int):
        self._free: set[tuple[int, int]] = set()  # (offset, size)
        offset = 0
        while size:  # the largest powers of two first, so that every stretch starts at a multiple of its size
            part = 1 << (size.bit_length() - 1)
            self._free.add((offset, part))
            offset, size = offset + part, size - part

    def allocate(self, size: int) -> tuple[int, int] | None:
        """A stretch of at least `size`, or None if there is none in one piece."""
        wanted = 1 << (max(1, size) - 1).bit_length()
        fitting = [stretch for stretch in self._free if stretch[1] >= wanted]
        if not fitting:
            return None
        offset, found = min(fitting, key=lambda stretch: (stretch[1], stretch[0]))
        self._free.remove((offset, found))
        while found > wanted:
            found //= 2
            self._free.add((offset + found, found))
        return offset, wanted

    def free(self, stretch: tuple[int, int]) -> None:
        """Give a stretch back."""
        offset, size = stretch
        while (buddy := (offset ^ size, size)) in self._free:
            self._free.remove(buddy)
            offset, size = min(offset, buddy[0]), 2 * size
        self._free.add((offset, size))
