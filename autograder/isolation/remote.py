"""The grader's side of a learner's process: proxies that test cells use in place of the learner's functions.

The proxies allow what the course's test contract allows (call, construct, public attributes, `len`, indexing,
iteration) and nothing else. What comes back is decoded by `wire`; a peer that breaks the protocol is a `LearnerLost`.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from autograder.isolation.channel import Channel, PeerGone
from autograder.isolation.errors import in_words, learners_error
from autograder.isolation.patience import Limit, Meter
from autograder.isolation.wire import Late, Left, Reference, WireError, decode, encode
from fridge.testing import changed
from fridge.testing.changed import MOST, is_name
from fridge.testing.shares import ALWAYS
from fridge.testing.work import Work

MAX_CALLBACKS = 50_000  # of one test: a learner's loop around a test's model ends somewhere
MAX_INNER = 20  # requests in callbacks in requests: the learner's cache in the test's model in the learner's loop
MAX_ITEMS = 100_000  # of one iteration
MAX_RECEIVED = 2**28  # bytes of one test, in all messages together; the course's own send less than 1 MB


class LearnerLost(BaseException):
    """The learner's process is of no use any more: it died, was late or broke the protocol. It must be replaced.

    No `Exception`, so that no test's `except` takes it for an answer.

    Attributes:
        late: it was late, and would be again.
        starved: it was late on a machine that had no time for it: nothing is known of the code.
    """

    def __init__(self, reason: str, late: bool = False, starved: bool = False):
        super().__init__(reason)
        self.late = late
        self.starved = starved


class Session:
    """One learner's process, from the grader's side.

    Args:
        seconds: that a request may take.
        notebook: what is left of the notebook's own time.
        meter: what this process's time is told from.

    Attributes:
        stopped: set when a test's object refused a call; the learner's code may hide that, the grader does not.
    """

    def __init__(self, channel: Channel, seconds: float, notebook: Limit, meter: Meter):
        self._channel = channel
        self._seconds = seconds
        self._notebook = notebook
        self._meter = meter
        self._test: Limit | None = None
        self.stopped: Exception | None = None
        self._lent: dict[int, Any] = {}  # test objects that the learner may call; no number is used twice
        self._shared: dict[int, Shared] = {}  # tensors that the learner has, too
        self._numbers = itertools.count()
        self._inner = self._callbacks = self._received = 0
        self._waited = 0.0

    def run_cell(self, source: str) -> dict:
        """Run a cell; what the learner's process says: {"outputs": […], "failures": [[line, error, message], …]}."""
        return self._request("cell", source)

    def lookup(self, names: list[str]) -> dict[str, Any]:
        """Those of the names that the learner has defined: plain values, or proxies."""
        found = self._request("lookup", names)
        if type(found) is not dict or not set(found) <= set(names):
            raise LearnerLost("the answer to a look-up was not one")
        return found

    def call(self, target: "Remote", positional: tuple, named: dict[str, Any]) -> Any:
        """Call a learner's function or class."""
        return self._request("call", target, list(positional), named)

    def ask(self, action: str, *arguments: Any) -> Any:
        """One of "get", "len", "item", "iterate", "next", "measured", "allocated", "held"."""
        return self._request(action, *arguments)

    def begin_test(self, seconds: float) -> None:
        """Start a test of so many seconds in the learner's hands, all requests together."""
        self.end_test()
        self._test = Limit(seconds, self._meter)

    def end_test(self) -> None:
        """Forget what the test lent, and how it ended: cells may call nothing."""
        self.stopped = self._test = None
        self._lent.clear()
        self._shared.clear()
        self._waited = 0.0
        self._inner = self._callbacks = self._received = 0

    @property
    def waited(self) -> float:
        """Seconds of this test in the learner's hands: in its process, or in what it asked of the test's objects."""
        return self._waited

    @property
    def received(self) -> int:
        """Bytes of this test that the learner's process sent."""
        return self._received

    def close(self) -> None:
        """Hang up: the learner's process ends."""
        self._channel.close()

    def _request(self, action: str, *arguments: Any) -> Any:
        if self._inner > MAX_INNER:
            raise LearnerLost(f"the code and the test's objects called one another more than {MAX_INNER} deep")
        began, self._inner = time.monotonic(), self._inner + 1
        limits = [Limit(self._seconds, self._meter), *([self._test] if self._test else []), self._notebook]
        try:
            return self._converse([action, *arguments], lambda: min(limit.left() for limit in limits))
        except Late as error:
            raise self._lost(*limits) from error
        finally:
            self._inner -= 1
            if not self._inner:
                self._waited += time.monotonic() - began

    def _lost(self, request: Limit, *others: Limit) -> LearnerLost:
        over = next((limit for limit in reversed(others) if not limit.left()), request)
        if over is self._notebook:
            words = "the time of the whole notebook is over"
        elif over is self._test:
            words = f"{over.seconds:g} seconds are over"
        else:
            words = f"no answer within {over.seconds:g} seconds: is there a loop that doesn't end?"
        return LearnerLost(words, late=True, starved=over.starved)

    def _converse(self, request: list, left: Left) -> Any:
        self._transmit(encode(request, self._to_reference), left)
        while True:
            kind, rest = self._receive(left)
            if kind == "callback" and len(rest) == 4:
                self._callbacks += 1
                if self._callbacks > MAX_CALLBACKS:
                    raise LearnerLost(f"the code called the test's objects more than {MAX_CALLBACKS} times")
                self._answer_callback(rest, left)
            elif self.stopped is not None:
                raise self.stopped
            elif kind == "ok" and len(rest) == 2 and _are_changes(rest[-1]):
                changed.tell(rest[-1])
                return rest[0]
            elif kind == "error" and len(rest) == 4 and _is_description(*rest[:3]) and _are_changes(rest[-1]):
                changed.tell(rest[-1])
                raise learners_error(*rest[:3])
            else:
                raise LearnerLost("the learner's process sent something else than an answer")

    def _answer_callback(self, call: list, left: Left) -> None:
        try:
            answer = encode(self._run_callback(*call), self._to_reference)
        except WireError as error:
            raise LearnerLost(f"a test's object was made to answer what is too large to send: {error}") from error
        self._transmit(answer, left)

    def _run_callback(self, number: Any, method: Any, positional: Any, named: Any) -> list:
        shapes = [type(number), type(method), type(positional), type(named)]
        if shapes != [int, str, list, dict] or number not in self._lent or not all(type(k) is str for k in named):
            raise LearnerLost("the learner's process called something that it was not given")
        if self.stopped is not None:
            return ["raise", "RuntimeError", "the test has ended"]
        try:
            call = _allowed(self._lent[number], method, positional)
        except AttributeError as error:  # to ask for what isn't there is no mistake: hasattr does
            return ["raise", *in_words(error)]
        try:
            value = call(*positional, **named)
        except Exception as error:
            if not (getattr(error, "from_learner", False) or getattr(type(error), "is_an_answer", False)):
                self.stopped = error
            return ["raise", *in_words(error)]
        return ["value", value, self._changed(), self._share(self._lent[number], method, value)]

    def _share(self, lent: Any, method: str, value: Any) -> int | None:
        # A number for a tensor whose changes the learner is to see, None for any other value.
        how = getattr(type(lent), "learner_shares", {}).get(method)
        if how is None or type(value) is not Tensor:
            return None
        if how == ALWAYS:
            for number, shared in self._shared.items():
                if shared.tensor is value:
                    return number
        elif not value.is_floating_point():  # a place that is taken holds NaN; a whole number's holds what it held
            return None
        number = next(self._numbers)
        self._shared[number] = Shared(value, value._version, how == ALWAYS)
        return number

    def _changed(self) -> list[tuple[int, Tensor, bool]]:
        # Numbers of shared tensors that were written to, what they hold now, and whether they stay shared.
        changed = [(n, shared) for n, shared in self._shared.items() if shared.tensor._version != shared.version]
        for number, shared in changed:
            shared.version = shared.tensor._version
            if not shared.stays:
                del self._shared[number]
        return [(number, shared.tensor, shared.stays) for number, shared in changed]

    def _transmit(self, data: bytes, left: Left) -> None:
        try:
            self._channel.send(data, left)
        except PeerGone as error:
            raise LearnerLost(str(error)) from error

    def _receive(self, left: Left) -> tuple[str, list]:
        try:
            data = self._channel.receive(left)
            self._received += len(data)
            if self._received > MAX_RECEIVED:
                raise LearnerLost(f"the code sent more than {MAX_RECEIVED >> 20} MB in one test")
            message = decode(data, self._from_reference, left)
        except MemoryError as error:
            raise LearnerLost("the answer was too large") from error
        except Late:
            raise
        except PeerGone as error:
            raise LearnerLost("the process ended: it crashed, exited, or used too much memory") from error
        except WireError as error:
            raise LearnerLost(f"the answer could not be read: {error}") from error
        if type(message) is not list or not message or type(message[0]) is not str:
            raise LearnerLost("the learner's process sent something else than an answer")
        return message[0], message[1:]

    def _to_reference(self, value: Any) -> Reference:
        if type(value) is Remote:
            return Reference(mine=False, number=object.__getattribute__(value, "_number"))
        for number, lent in self._lent.items():
            if lent is value:
                return Reference(mine=True, number=number)
        if not _may_be_lent(value):
            raise TypeError(
                f"a test passes plain values, tensors and objects of fridge.testing, not a {type(value).__name__}"
            )
        number = next(self._numbers)
        self._lent[number] = value
        return Reference(mine=True, number=number)

    def _from_reference(self, reference: Reference) -> Any:
        if reference.mine:
            return Remote(self, reference.number, reference.kind)
        if reference.number not in self._lent:
            raise WireError("a reference to an object that was not lent")
        return self._lent[reference.number]


@dataclass
class Shared:
    """A tensor of a test's object that the learner has, too, as of which change; whether that lasts."""

    tensor: Tensor
    version: int
    stays: bool


class Remote:
    """A learner's function, class or object, as a test sees it. Two are equal only if they are the same."""

    def __init__(self, session: Session, number: int, kind: str):
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_kind", kind)

    def __call__(self, *positional: Any, **named: Any) -> Any:
        """Call it, or construct one."""
        return self._session.call(self, positional, named)

    def __measured__(self, positional: tuple, named: dict[str, Any]) -> tuple[Any, list[int]]:
        """Call it as `fridge.testing.measured` does; what it returns, and the numbers of its `Work`."""
        answer = self._session.ask("measured", self, list(positional), named)
        if type(answer) is not tuple or len(answer) != 2 or not _are_numbers(answer[1], len(fields(Work))):
            raise LearnerLost("the answer to a measured call was not one")
        return answer

    def __allocated__(self, positional: tuple, named: dict[str, Any]) -> tuple[Any, int]:
        """Call it as `fridge.testing.allocated` does; what it returns, and the bytes that it took."""
        answer = self._session.ask("allocated", self, list(positional), named)
        if type(answer) is not tuple or len(answer) != 2 or not _are_numbers([answer[1]], 1):
            raise LearnerLost("the answer to a measured call was not one")
        return answer

    def __held_bytes__(self) -> int:
        """What `fridge.testing.held_bytes` says of it."""
        held = self._session.ask("held", self)
        if not _are_numbers([held], 1):
            raise LearnerLost("the bytes that an object holds were not a number")
        return held

    def __kind__(self) -> str:
        """The name of its type, as messages tell it."""
        return object.__getattribute__(self, "_kind")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"a test may not look at the private name {name!r}")
        return self._session.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a test may not change a learner's object")

    def __len__(self) -> int:
        length = self._session.ask("len", self)
        if type(length) is not int or length < 0:
            raise TypeError(f"len() of your {self._kind} is not a number of elements")
        return length

    def __getitem__(self, key: Any) -> Any:
        return self._session.ask("item", self, key)

    def __iter__(self) -> Iterator:
        iterator = self._session.ask("iterate", self)
        for _ in range(MAX_ITEMS):
            answer = self._session.ask("next", iterator)
            if type(answer) is not tuple or len(answer) != 2 or type(answer[0]) is not bool:
                raise LearnerLost("the answer to an iteration was not one")
            if not answer[0]:
                return
            yield answer[1]
        raise LearnerLost(f"an iteration gave more than {MAX_ITEMS} items")

    def __repr__(self) -> str:
        return f"<your {self._kind}>"


def _is_description(bases: Any, message: Any, lines: Any) -> bool:
    return [type(bases), type(message), type(lines)] == [list, str, str] and all(type(name) is str for name in bases)


def _are_numbers(given: Any, count: int) -> bool:
    return type(given) is list and len(given) == count and all(type(n) is int and 0 <= n < 2**63 for n in given)


def _are_changes(told: Any) -> bool:
    return (
        type(told) is list
        and len(told) <= MOST
        and all(type(change) is tuple and list(map(type, change)) == [str, str] for change in told)
        and all(is_name(name) for change in told for name in change)
    )


def _may_be_lent(value: Any) -> bool:
    return hasattr(type(value), "learner_may") or _is_function(value)


def _is_function(value: Any) -> bool:
    return type(value).__name__ == "function"


def _allowed(lent: Any, method: str, positional: list) -> Callable[..., Any]:
    # Chosen from what the class lists, never by a name that the learner made up.
    if _is_function(lent):
        if method == "__call__":
            return lent
        raise AttributeError("a function of the test can only be called")
    names = type(lent).learner_may
    wanted = positional[0] if method == "__getattr__" and len(positional) == 1 else method
    if type(wanted) is not str or wanted not in names:  # an array is neither in a tuple nor outside of it
        raise AttributeError(f"{type(lent).__name__!r} object has no attribute {str(wanted)[:100]!r}")
    listed = names[names.index(wanted)]
    if method != "__getattr__":
        return getattr(lent, listed)

    def attribute(_: str) -> tuple[bool, Any]:
        value = getattr(lent, listed)
        return (True, None) if callable(value) else (False, value)

    return attribute
