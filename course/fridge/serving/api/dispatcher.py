"""Between one engine and many readers: each token goes through its request's own pipe into its reader's own box.

Plain calls, no threads and no clock. Nobody waits for anybody: a box takes whatever comes, whether it is read or not,
and what is wrong with one request ends that one alone. vLLM's `OutputProcessor` stands at the same place.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from fridge.serving.api.text import Pipe

Finish = Literal["stop", "length", "error"]
Event = tuple[str, Finish | None]


class Serves(Protocol):
    """What a dispatcher asks of an engine."""

    def add(self, **wishes: Any) -> int:
        """Queue a request; its number."""

    def step(self) -> list[tuple[int, int, Literal["stop", "length"] | None]]:
        """Compute a step: (number, token, why it has ended or None)."""

    def cancel(self, number: int) -> Any:
        """Drop a request; of one that isn't there any more nothing comes."""


class Dispatcher:
    """Submit, step, read.

    Args:
        engine: as `Serves` says.
        text_of: makes a request's pipe from its stop strings.
    """

    def __init__(self, engine: Serves, text_of: Callable[[Sequence[str]], Pipe]):
        self._engine, self._text_of = engine, text_of
        self._pipes: dict[int, Pipe] = {}  # of those that run
        self._boxes: dict[int, list[Event]] = {}  # of those that are known

    @property
    def open(self) -> int:
        """How many numbers are known."""
        return len(self._boxes)

    def submit(self, stops: Sequence[str] = (), **wishes: Any) -> int:
        """Queue a request with these wishes; return its number. What the engine raises comes out of here."""
        pipe = self._text_of(stops)
        number = self._engine.add(**wishes)
        self._pipes[number], self._boxes[number] = pipe, []
        return number

    def step(self) -> None:
        """Let the engine compute a step, and put what comes of it into the boxes."""
        for number, token, finish in self._engine.step():
            if number not in self._pipes:
                continue  # nobody wants it any more
            try:
                piece, ended = self._through(self._pipes[number], token, finish)
            except Exception:
                piece, ended = "", "error"
            if piece or ended:
                self._boxes[number].append((piece, ended))
            if ended:
                del self._pipes[number]
                if finish is None:
                    self._engine.cancel(number)

    def read(self, number: int) -> list[Event]:
        """What has come since the last time, in order. After the event with a finish the number is forgotten.

        Raises:
            KeyError: there is no such number (any more).
        """
        events, self._boxes[number] = self._boxes[number], []
        if events and events[-1][1]:
            del self._boxes[number]
        return events

    def cancel(self, number: int) -> None:
        """Forget a request, and drop it in the engine if it still runs. Harmless if it isn't there any more."""
        self._boxes.pop(number, None)
        if self._pipes.pop(number, None):
            self._engine.cancel(number)

    @staticmethod
    def _through(pipe: Pipe, token: int, finish: Finish | None) -> Event:
        piece = "" if finish == "stop" else pipe.push(token)  # the stop token is no part of the reply
        if pipe.stopped:
            return piece, "stop"
        return piece + pipe.flush() if finish else piece, finish
