"""What a run of requests felt like: percentiles of TTFT and TPOT, and how many requests in a second were good ones.

Goodput counts the requests that meet every objective (Zhong et al. 2024, DistServe, section 2). What has failed, and
what has no tokens, is no good one, and the rate is over the whole run, to the last answer.
"""

import json
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from fridge.serving.bench.load import Record

PERCENTILES = (50, 95, 99)
_RECORD = re.compile(r'\{\s+"scheduled":[^{}]*\}')


@dataclass(frozen=True)
class Objective:
    """What a user is content with: seconds to the first token, and seconds for each one after it."""

    name: str
    ttft: float
    tpot: float

    def met(self, record: Record) -> bool:
        """Whether this request meets both."""
        return not record.failure and record.ttft <= self.ttft and (record.tpot or 0.0) <= self.tpot


# People read about four words in a second (Brysbaert 2019: 238 in a minute), so 200 ms a token keeps up with a reader.
OBJECTIVES = (Objective("reading", 3.0, 0.2), Objective("brisk", 1.0, 0.1))


def summary(records: Sequence[Record]) -> dict:
    """Counts, percentiles in seconds, tokens per second, goodput under each objective."""
    good = [record for record in records if not record.failure]
    duration = max(record.ended for record in records)
    return {
        "requests": len(records),
        "failed": len(records) - len(good),
        "failures": sorted({record.failure for record in records if record.failure})[:3],
        "seconds": duration,
        "tokens_per_second": sum(record.tokens for record in good) / duration,
        "ttft": percentiles([record.ttft for record in good]),
        "tpot": percentiles([record.tpot for record in good if record.tpot is not None]),
        "sent_late": percentiles([record.sent - record.scheduled for record in records]),
        "goodput": {one.name: sum(map(one.met, records)) / duration for one in OBJECTIVES},
        "share_good": {one.name: statistics.fmean(map(one.met, records)) for one in OBJECTIVES},
    }


def kept(record: Record) -> dict:
    """What a file keeps of a record: the times of its tokens as milliseconds between them, which are short."""
    times = record.arrivals
    return {
        "scheduled": round(record.scheduled, 4),
        "sent": round(record.sent, 4),
        "first": round(times[0], 4) if times else None,
        "gaps_ms": [round(1000 * (later - earlier)) for earlier, later in pairwise(times)],
        "tokens": record.tokens,
        "failure": record.failure,
    }


def told(entry: dict) -> dict:
    """A kept record as unit 09's exercises take it: "scheduled", "sent", "tokens" (a time for each), "finished".

    Where one event brought several tokens, they have the time of the last event; so the last token's time is right.
    """
    times = [] if entry["first"] is None else [entry["first"]]
    for gap in entry["gaps_ms"]:
        times.append(times[-1] + gap / 1000)
    times += times[-1:] * (entry["tokens"] - len(times))
    return {"scheduled": entry["scheduled"], "sent": entry["sent"], "tokens": times, "finished": not entry["failure"]}


def written(results: dict) -> str:
    """Results as JSON, with a line for each request."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    return _RECORD.sub(lambda found: json.dumps(json.loads(found.group()), ensure_ascii=False), text) + "\n"


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """The smallest value that so many per cent don't exceed (nearest rank); None if there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return {f"p{percent}": ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] for percent in PERCENTILES}
