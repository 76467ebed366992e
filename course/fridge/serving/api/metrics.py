"""What happens in the server, in numbers that Prometheus reads: counters, gauges and histograms as text.

The text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats. The names are vLLM's with `fridge_`
in front, so that a dashboard made for one is soon made for the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fridge.serving.api.asked import Reply, Timing

NANO = 1_000_000_000

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Histogram:
    """How many observations were at most each bound, and their sum."""

    def __init__(self, bounds: Sequence[float] = SECONDS):
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # of each bucket alone; the last has no bound
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one."""
        place = next((place for place, bound in enumerate(self._bounds) if value <= bound), len(self._bounds))
        self._counts[place] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Its samples: each bucket holds those of the smaller ones, too."""
        lines, total = [], 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum!r}", f"{name}_count {total}"]


@dataclass
class Metrics:
    """Of all requests so far. Written and read in the event loop alone.

    Attributes:
        ended: requests by how they ended: "stop", "length", "error", "gone" (the reader hung up), "late".
        refused: requests that weren't served, by status.
        first: seconds from a request's arrival to its first text.
        each: seconds for each token after the first, one observation a reply.
        whole: seconds from a request's arrival to its end.
    """

    ended: dict[str, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    generated_tokens: int = 0
    first: Histogram = field(default_factory=Histogram)
    each: Histogram = field(default_factory=Histogram)
    whole: Histogram = field(default_factory=Histogram)

    def refuse(self, status: int) -> None:
        """A request wasn't served."""
        self.refused[status] = self.refused.get(status, 0) + 1

    def end(self, how: str) -> None:
        """A reply has ended."""
        self.ended[how] = self.ended.get(how, 0) + 1

    def done(self, prompt_tokens: int, replies: Sequence[Reply], timing: Timing) -> None:
        """All replies to a request are complete."""
        for reply in replies:
            self.end(reply.finish or "")
            self.generated_tokens += len(reply.outputs)
        self.prompt_tokens += prompt_tokens
        self.first.observe((timing.first - timing.arrived) / NANO)
        self.whole.observe((timing.ended - timing.arrived) / NANO)
        longest = max(len(reply.outputs) for reply in replies)
        if longest > 1:
            self.each.observe((timing.ended - timing.first) / NANO / (longest - 1))

    def text(self, numbers: Mapping[str, tuple[str, str, float]]) -> str:
        """Everything in Prometheus's format.

        Args:
            numbers: of the engine: name -> kind, what it is, its value.
        """
        families = [
            _family(
                "request_success_total",
                "counter",
                "replies by how they ended",
                _labelled("finished_reason", self.ended),
            ),
            _family("request_refused_total", "counter", "requests not served", _labelled("status", self.refused)),
            _family("prompt_tokens_total", "counter", "tokens of prompts", [f" {self.prompt_tokens}"]),
            _family("generation_tokens_total", "counter", "tokens of replies", [f" {self.generated_tokens}"]),
            *(_family(name, kind, what, [f" {value}"]) for name, (kind, what, value) in numbers.items()),
            _histogram("time_to_first_token_seconds", "from arrival to the first text", self.first),
            _histogram("time_per_output_token_seconds", "for each token after the first", self.each),
            _histogram("e2e_request_latency_seconds", "from arrival to the end", self.whole),
        ]
        return "".join(f"{line}\n" for family in families for line in family)


def _family(name: str, kind: str, what: str, samples: Sequence[str]) -> list[str]:
    name = f"fridge_{name}"
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}", *(name + sample for sample in samples)]


def _labelled(label: str, counts: Mapping) -> list[str]:
    return [f'{{{label}="{value}"}} {count}' for value, count in sorted(counts.items())]


def _histogram(name: str, what: str, histogram: Histogram) -> list[str]:
    return _family(name, "histogram", what, []) + histogram.lines(f"fridge_{name}")
