"""Which arguments a learner's function changed: what it is given belongs to who called, and stays as it was.

Each call from the test's side into the learner's code is watched, in a notebook as in grading, by Python's profiling
hook: it sees calls of functions, methods and constructors alike, whatever they are called through. What the learner's
functions do among themselves is their own.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

DEEPEST = 8  # containers in containers that are looked into
MOST_CALLS = 100_000  # of functions, libraries' too, after which the hook goes: an interpreted kernel makes millions
MOST = 5  # changes that are told of one exercise
_TENSORS = (Tensor, torch.nn.Parameter)
_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR  # their calls run none of their code

Change = tuple[str, str]  # of which function, which argument

told: list[Change] = []  # by a learner's own process, of the exercise at hand


def tell(changes: list[Change]) -> None:
    """Note what a learner's own process says."""
    told.extend([change for change in changes if change not in told][: MOST - len(told)])


@contextmanager
def watched(libraries: tuple[str, ...], asks: Callable[[str], bool]) -> Iterator[list[Change]]:
    """Watch this thread's calls; the list holds what was changed, each function and argument once.

    Does nothing where somebody else's profiler is at work.

    Args:
        libraries: beginnings of the names of files that are neither the test's side nor the learner's.
        asks: whether a file is of the test's side.
    """
    watch = _Watch(libraries, asks)
    before = sys.getprofile()
    if before is None or getattr(before, "__self__", None).__class__ is _Watch:
        sys.setprofile(watch.see)
    try:
        yield watch.changes
    finally:
        sys.setprofile(before)
        watch.end()


class _Watch:
    def __init__(self, libraries: tuple[str, ...], asks: Callable[[str], bool]):
        self.changes: list[Change] = []
        self._libraries = libraries
        self._asks = asks
        self._given: dict[FrameType, dict[str, Any]] = {}  # of calls that go on: their arguments, as they were
        self._is_learners: dict[str, bool] = {}  # by file
        self._calls = 0

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        # Millions of times where a kernel is interpreted.
        if event == "call":
            self._calls += 1
            if self._calls == MOST_CALLS:
                sys.setprofile(None)
            file = frame.f_code.co_filename
            if file not in self._is_learners:
                self._is_learners[file] = not (self._asks(file) or file.startswith(self._libraries))
            if self._is_learners[file] and self._is_asked(frame):
                self._note(frame)
        elif event == "return" and frame in self._given:
            self._compare(frame)

    def end(self) -> None:
        """Look at the calls whose ends weren't seen."""
        for frame in list(self._given):
            self._compare(frame)

    def _is_asked(self, frame: FrameType) -> bool:
        # Whoever called, through libraries perhaps: a decorator of torch's stands between.
        caller = frame.f_back
        while caller is not None:
            file = caller.f_code.co_filename
            if self._asks(file):
                return True
            if not file.startswith(self._libraries):
                return False
            caller = caller.f_back
        return False

    def _note(self, frame: FrameType) -> None:
        code = frame.f_code
        if code.co_flags & _LATER:
            return
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
        known = frame.f_locals
        given = {name: known[name] for name in code.co_varnames[:count] if name in known}
        # The value itself, too: a function may give the name of its argument to something else.
        mine = {name: value for name, value in given.items() if _is_changeable(value)}
        if mine:
            with _disable_current_modes():  # `work` must not count the copies
                self._given[frame] = {name: (value, kept(value)) for name, value in mine.items()}

    def _compare(self, frame: FrameType) -> None:
        with _disable_current_modes():
            changed = [name for name, (value, before) in self._given.pop(frame).items() if not is_as(value, before)]
        for name in changed:
            change = frame.f_code.co_qualname, name
            if change not in self.changes and len(self.changes) < MOST:
                self.changes.append(change)


def kept(value: Any, deep: int = 0) -> Any:
    """A copy that later changes of the value don't reach: of tensors, arrays and containers; the rest is itself."""
    kind = type(value)
    if deep > DEEPEST:
        return value
    if _has_values(value):
        return value.detach().clone()
    if kind is np.ndarray:
        return value.copy()
    if kind in (list, tuple, set):
        return kind(value) if kind is set else kind([kept(item, deep + 1) for item in value])
    if kind is dict:
        return {key: kept(item, deep + 1) for key, item in value.items()}
    return value


def is_as(value: Any, before: Any) -> bool:
    """Whether a value is what `kept` made of it before."""
    kind = type(value)
    if value is before:
        return True
    if kind is not type(before) and not (_has_values(value) and _has_values(before)):
        return False
    if _has_values(value):
        return _same(value.detach(), before)
    if kind is np.ndarray:
        return value.dtype == before.dtype and value.shape == before.shape and value.tobytes() == before.tobytes()
    if kind in (list, tuple):
        return len(value) == len(before) and all(map(is_as, value, before))
    if kind is dict:
        return value.keys() == before.keys() and all(is_as(item, before[key]) for key, item in value.items())
    return kind in (bool, int, float, str, bytes, set) and value == before


def _is_changeable(value: Any) -> bool:
    if type(value) is tuple:
        return any(map(_is_changeable, value))
    return _has_values(value) or type(value) in (np.ndarray, list, dict, set)


def _has_values(value: Any) -> bool:
    return type(value) in _TENSORS and value.layout == torch.strided and not (value.is_meta or value.is_quantized)


def _same(value: Tensor, before: Tensor) -> bool:
    if value.shape != before.shape or value.dtype != before.dtype:
        return False
    return torch.equal(value, before) or bool(((value == before) | ((value != value) & (before != before))).all())
