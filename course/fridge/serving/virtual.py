"""A server in virtual time: requests arrive, a step computes a token for each that runs, and nobody waits for a clock.

It has what decides how fast a server feels: a step costs a fixed time and a little for each sequence, and places are
few. Records are those of unit 09: a dict with `scheduled`, `sent`, `tokens` and `finished`.
"""

import heapq
import random
from collections import deque
from typing import Any

Record = dict[str, Any]


def arrivals(rate: float, count: int, seed: int = 0) -> list[float]:
    """Times of a Poisson process, people who don't know of one another: `rate` a second on average."""
    draw, now, times = random.Random(seed), 0.0, []
    for _ in range(count):
        now += draw.expovariate(rate)
        times.append(now)
    return times


def serve(
    scheduled: list[float],
    reply_tokens: int = 20,
    places: int = 16,
    step: float = 0.04,
    each: float = 0.004,
    most_open: int | None = None,
    stall: tuple[float, float] | None = None,
    until: float | None = None,
) -> list[Record]:
    """Serve requests; a record of each.

    Args:
        scheduled: when each is due, in order, in seconds.
        reply_tokens: tokens of each reply.
        places: most sequences in a step.
        step, each: seconds of a step, and those that each sequence adds.
        most_open: most requests that the load generator has open; it sends the next one late when so many are. None:
            it sends each when it is due (open loop).
        stall: (begin, seconds) in which the server does nothing.
        until: the measurement's end; who isn't complete then isn't finished. None: all end.
    """
    records = [{"scheduled": due, "sent": due, "tokens": [], "finished": False} for due in scheduled]
    unsent, waiting, running = deque(range(len(records))), deque(), []
    free: list[float] = [] if most_open is None else [0.0] * most_open  # when each connection can send again
    now = 0.0
    while unsent or waiting or running:
        if until is not None and now >= until:
            break
        while unsent and (most_open is None or free):
            record = records[unsent[0]]
            sent = record["scheduled"] if most_open is None else max(record["scheduled"], free[0])
            if sent > now:
                break
            if most_open is not None:
                heapq.heappop(free)
            record["sent"] = sent
            waiting.append(unsent.popleft())
        while waiting and len(running) < places:
            running.append(waiting.popleft())
        if not running:
            due = records[unsent[0]]["scheduled"]
            now = max(now, due if most_open is None or not free else max(due, free[0]))
            continue
        end = now + step + each * len(running)
        if stall and now < stall[0] + stall[1] and end > stall[0]:
            end += stall[1]
            stall = None
        now = end
        for number in list(running):
            record = records[number]
            record["tokens"].append(now)
            if len(record["tokens"]) == reply_tokens:
                record["finished"] = True
                running.remove(number)
                if most_open is not None:
                    heapq.heappush(free, now)
    return records
