"""From tokens to the text that a reader sees: a detokenizer, and a stop matcher behind it."""

from typing import Protocol


class Pipe(Protocol):
    """What a dispatcher asks of a request's way from tokens to text. `stopped`: nothing more will come."""

    stopped: bool

    def push(self, token: int) -> str:
        """The text that this token makes certain."""

    def flush(self) -> str:
        """The rest, at the end."""


class TextPipe:
    """Both parts, one behind the other.

    Args:
        detokenizer, stops: with the methods of `Detokenizer` and `StopMatcher`.
    """

    def __init__(self, detokenizer: "Detokenizes", stops: "Stops"):
        self._detokenizer, self._stops = detokenizer, stops

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._stops.stopped

    def push(self, token: int) -> str:
        """The text that this token makes certain and that no stop string can begin with."""
        return self._stops.push(self._detokenizer.push(token))

    def flush(self) -> str:
        """The rest: unfinished characters, and what was held back."""
        shown = self._stops.push(self._detokenizer.flush())
        return shown + self._stops.flush()


class Detokenizes(Protocol):
    """As `Detokenizer`."""

    def push(self, token: int) -> str: ...  # noqa: D102

    def flush(self) -> str: ...  # noqa: D102


class Stops(Protocol):
    """As `StopMatcher`."""

    stopped: bool

    def push(self, text: str) -> str: ...  # noqa: D102

    def flush(self) -> str: ...  # noqa: D102
