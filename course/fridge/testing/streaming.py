"""What tests of unit 09 own: an engine that repeats its prompts, pipes that make letters of tokens, a server's knee.

They count what is asked of them. What they object to they write down in `complaints` instead of raising it: a
dispatcher goes on where a pipe raises, and would go on here, too.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

from fridge.testing.expect import InWords, describe, expect_equal, wrong
from fridge.testing.given import expect_number
from fridge.workbench import arguments

PAUSE = -1  # in a prompt: a step in which the request gets no token
HELD = 100  # tokens from here on are those 100 below, and a pipe holds their letters back until the next token
BREAKS, BREAKS_AT_THE_END = 66, 67  # tokens at which a pipe raises: when they are pushed, or when it is flushed
MOST_RUNS = 10_000  # of a server with a knee, in one search
MOST_TOKENS = 1_000  # of a prompt, and letters of a request's stops: all of a test's are far shorter


class Full(RuntimeError):
    """As many requests run as may. It is an answer, which code may count on, and no mistake."""

    is_an_answer = True


class Refused(ValueError):
    """A request that can't be served, or stop strings that are none."""

    is_an_answer = True


class Broken(ValueError):
    """A pipe can't go on."""

    is_an_answer = True


class ScriptedEngine:
    """Stands for a `fridge.serving.engine.Engine`: each request's reply is its own prompt, a token a step.

    A reply ends with finish "stop" at its stop token, and with "length" at its last one. Numbers are in no order.

    Args:
        places: more requests aren't taken at a time; `add` raises `Full`.

    Attributes:
        running: number -> what it was asked for, of requests that haven't ended.
        numbers: all that were given, in order.
        steps: how many were computed.
        cancelled: numbers of requests that were dropped while they ran.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("add", "step", "cancel", "busy")

    def __init__(self, places: int = 100):
        self.places = places
        self.running: dict[int, dict[str, Any]] = {}
        self.numbers: list[int] = []
        self.steps = 0
        self.cancelled: list[int] = []

    @property
    def busy(self) -> bool:
        """Whether anybody runs."""
        return bool(self.running)

    def add(self, prompt: Any = (), max_new_tokens: Any = None, stop_token: Any = None, **others: Any) -> int:
        """Take a request; its number. Raises Full, Refused for an empty prompt, Wrong for what no engine takes."""
        tokens, most = arguments.wholes(prompt), arguments.whole(max_new_tokens)
        stop = arguments.whole(stop_token)
        is_odd = tokens is None or len(tokens) > MOST_TOKENS or most is None
        if others or is_odd or (stop is None and stop_token is not None):
            given = {"prompt": prompt, "max_new_tokens": max_new_tokens, "stop_token": stop_token}
            got = ", ".join(others)[:100] or ", ".join(f"{name}={arguments.said(one)}" for name, one in given.items())
            raise wrong(
                "what engine.add was given", "prompt, max_new_tokens and stop_token, as submit was", InWords(got)
            )
        if not tokens:
            raise Refused("an empty prompt")
        if len(self.running) >= self.places:
            raise Full("as many requests run as may")
        number = 1000 + 37 * (len(self.numbers) + 5) % 101  # 37 and 101 have no common divisor
        number += 101 * (len(self.numbers) // 101)
        self.numbers.append(number)
        self.running[number] = {"left": tokens, "most": most, "stop_token": stop, "told": 0}
        return number

    def step(self) -> list[tuple[int, int, str | None]]:
        """A token for each running request, but for one with a pause: (number, token, finish)."""
        self.steps += 1
        order = list(self.running)
        turn = self.steps % max(1, len(order))
        told = [triple for number in order[turn:] + order[:turn] if (triple := self._next(number))]
        for number, _, finish in told:
            if finish:
                del self.running[number]
        return told

    def cancel(self, number: Any) -> bool:
        """Drop a request; False if it doesn't run any more. Raises Wrong for a number that was never given."""
        own = arguments.whole(number)
        if own not in self.numbers:
            raise wrong("the number that engine.cancel was given", "one that engine.add gave", number)
        if own not in self.running:
            return False
        del self.running[own]
        self.cancelled.append(own)
        return True

    def _next(self, number: int) -> tuple[int, int, str | None] | None:
        request = self.running[number]
        token = request["left"].pop(0)
        if token == PAUSE:
            return None
        request["told"] += 1
        if token == request["stop_token"]:
            return number, token, "stop"
        is_last = request["told"] == request["most"] or not request["left"]
        return number, token, "length" if is_last else None


class ScriptedPipe:
    """Makes letters of tokens: 1 is "a", 2 is "b" and so on. One of its stop letters stops it and isn't shown.

    Attributes:
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("push", "flush", "stopped")

    def __init__(self, stops: list[str], complaints: list[str]):
        self.stopped = False
        self.pushed: list[int] = []
        self._stops, self._complaints = stops, complaints
        self._held, self._ended = "", ""

    def push(self, token: Any) -> str:
        """The text that a token makes certain. Raises Broken at a token that breaks it."""
        own = arguments.whole(token)
        if own is None:
            raise wrong("the token that a pipe was given", "one of engine.step()'s", token)
        if self._ended:
            self._complaints.append(f"a token was pushed after the pipe {self._ended}")
            return "!"
        self.pushed.append(own)
        if own == BREAKS:
            self._ended = "had raised an error"
            raise Broken("this token can't be shown")
        if own == BREAKS_AT_THE_END:
            return ""
        letter = chr(96 + own % HELD)
        shown, self._held = self._held, ""
        if letter in self._stops:
            self.stopped, self._ended = True, "had stopped"
            return shown
        if own >= HELD:
            self._held = letter
            return shown
        return shown + letter

    def flush(self) -> str:
        """The text that was held back. Raises Broken where a token before was one that breaks it at the end."""
        if self._ended:
            self._complaints.append(f"the pipe was flushed after it {self._ended}")
            return "!"
        self._ended = "was flushed"
        if BREAKS_AT_THE_END in self.pushed:
            raise Broken("this can't be shown")
        return self._held


class ScriptedPipes:
    """Stands for what makes a request's pipe: call it with the stop strings, letters here.

    Attributes:
        made: the pipes, in order.
        complaints: what shouldn't have been asked of them.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("__call__",)

    def __init__(self) -> None:
        self.made: list[ScriptedPipe] = []
        self.complaints: list[str] = []

    def __call__(self, stops: Any = ()) -> ScriptedPipe:
        """A new pipe. Raises Refused for "?" among the stops."""
        is_list = type(stops) in (list, tuple) and all(type(stop) is str for stop in stops)
        if not is_list or len(stops) + sum(map(len, stops)) > MOST_TOKENS:
            raise wrong("what text_of was given", "the stops that submit was given", stops)
        if "?" in stops:
            raise Refused("'?' is no stop string")
        self.made.append(ScriptedPipe(list(stops), self.complaints))
        return self.made[-1]

    @property
    def pushed(self) -> list[int]:
        """Tokens that were pushed, of all pipes."""
        return [token for pipe in self.made for token in pipe.pushed]


def told(prompt: list[int], most: int, stop_token: int | None = None, stops: Iterable[str] = ()) -> list[tuple]:
    """The events that a reader gets of a request to a `ScriptedEngine`, whoever else is there."""
    events, held = [], ""
    tokens = [token for token in prompt if token != PAUSE][:most]
    for place, token in enumerate(tokens):
        if token == stop_token:
            return [*events, (held, "stop")]
        letter = chr(96 + token % HELD)
        if letter in stops:
            return [*events, (held, "stop")]
        text, held = (held, letter) if token >= HELD else (held + letter, "")
        if place == len(tokens) - 1:
            return [*events, (text + held, "length")]
        if text:
            events.append((text, None))
    return events


class KneeServer:
    """A server that meets its limits up to a rate, the knee, and beyond it by luck: call it with a rate.

    Args:
        knee: the largest rate that it always meets.
        lucky: up to this rate the first runs meet the limits, too.
        times: how many do.

    Attributes:
        runs: (rate, whether it met them), in order.
        learner_may: what a learner's code may use of it when the test runs in another process.
    """

    learner_may = ("__call__",)

    def __init__(self, knee: float, lucky: float = -math.inf, times: int = 1):
        self.knee, self.lucky, self.times = knee, lucky, times
        self.runs: list[tuple[float, bool]] = []

    def __call__(self, rate: Any) -> bool:
        """Whether a run at this rate meets the limits. Raises Wrong for a rate that is no number, and too many runs."""
        own = expect_number(rate, "the rate of a run")
        if len(self.runs) >= MOST_RUNS:
            raise wrong("runs of the server", f"fewer than {MOST_RUNS}", InWords("more"))
        before = sum(rate == own for rate, _ in self.runs)
        met = own <= self.knee or (before < self.times and own <= self.lucky)
        self.runs.append((float(own), met))
        return met


def stream_events(data: bytes) -> list[str]:
    """The events that are complete in the first bytes of an event stream, by WHATWG's rules: their data."""
    lines = re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf"))[:-1]
    events: list[str] = []
    held: list[str] = []
    for line in lines:
        name, _, value = line.partition(b":")
        if not line:
            if held:
                events.append("\n".join(held))
            held = []
        elif name == b"data":
            held.append(value.removeprefix(b" ").decode(errors="replace"))
    return events


def expect_json(got: Any, what: str, cause: str = "") -> Any:
    """A learner's dicts, lists, texts and numbers as plain ones, as JSON has them.

    Raises:
        Wrong: something that JSON can't say.
    """
    own = arguments.number(got)
    if type(own) in (type(None), bool, int, str) or (type(own) is float and math.isfinite(own)):
        return own
    if issubclass(type(got), list | tuple):
        return [expect_json(item, what, cause) for item in got]
    if issubclass(type(got), dict) and all(type(key) is str for key in got):
        return {key: expect_json(item, what, cause) for key, item in dict.items(got)}
    raise wrong(what, "dicts with texts as keys, lists, texts, numbers, True, False and None", got, cause)


def expect_fields(got: Any, fields: dict[str, Any], what: str, cause: str = "") -> None:
    """A dict, as `expect_json` returns it, has these fields with these values; what else it has, the API allows.

    Raises:
        Wrong: a field is missing or has another value.
    """
    if type(got) is not dict:
        raise wrong(what, "a dict", got, cause)
    for name, value in fields.items():
        if name not in got:
            raise wrong(what, f"a field {name!r}", InWords(describe(got)), cause)
        expect_equal(got[name], value, f"{what}: {name!r}", cause)
