"""Which arguments a learner's function changed: what it is given belongs to who called, and stays as it was.

Each call from the test's side into the learner's code is watched, in a notebook as in grading, by Python's profiling
hook: it sees calls of functions, methods and constructors alike, whatever they are called through. What the learner's
functions do among themselves is their own.
"""

import gc
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from fridge.workbench.arguments import has_values

DEEPEST = 8  # containers in containers that are looked into
# Of the hook in one call of the test's, after which it goes: an interpreted kernel makes millions of calls, a slow loop
# as many of built-in functions, which take eight times as long under it.
MOST_EVENTS = 500_000
MOST = 5  # changes that are told of one exercise
LONGEST_NAME = 200  # characters
_PLAIN = {bool, int, float, str, bytes, type(None)}
_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR  # their calls run none of their code

Change = tuple[str, str]  # of which function, which argument

told: list[Change] = []  # by a learner's own process, of the exercise at hand
is_told = False  # the grader sets it: answers run in a process of their own, and there is nothing to watch in this one


def tell(changes: list[Change]) -> None:
    """Note what a learner's own process says."""
    told.extend([change for change in changes if change not in told][: MOST - len(told)])


@contextmanager
def watched(libraries: tuple[str, ...], asks: Callable[[str], bool]) -> Iterator[list[Change]]:
    """Watch this thread's calls; the list holds what was changed, each function and argument once.

    Does nothing where somebody else's profiler is at work, nor where changes are told.

    Args:
        libraries: beginnings of the names of files that are neither the test's side nor the learner's.
        asks: whether a file is of the test's side.
    """
    watch = _Watch(libraries, asks)
    before = sys.getprofile()
    # Another's isn't even set again: what a profiler in C shows here can't be called.
    is_free = not is_told and (before is None or getattr(before, "__self__", None).__class__ is _Watch)
    if is_free:
        sys.setprofile(watch.see)
    try:
        yield watch.changes
    finally:
        if is_free:
            sys.setprofile(before)
        watch.end()


def is_name(text: str) -> bool:
    """Whether it can be a function's or an argument's: `f.<locals>.g`."""
    if len(text) > LONGEST_NAME:
        return False
    return all(part.isidentifier() or re.fullmatch("<[a-z]+>", part) for part in text.split("."))


class _Watch:
    def __init__(self, libraries: tuple[str, ...], asks: Callable[[str], bool]):
        self.changes: list[Change] = []
        self._libraries = libraries
        self._asks = asks
        self._given: dict[FrameType, dict[str, Any]] = {}  # of calls that go on: their arguments, as they were
        self._is_learners: dict[str, bool] = {}  # by file
        self._own: list[Any] = []  # what functions keep themselves
        self._events = 0

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        # Millions of times where a kernel is interpreted.
        self._events += 1
        if self._events == MOST_EVENTS:
            sys.setprofile(None)
        if event == "call":
            file = frame.f_code.co_filename
            if file not in self._is_learners:
                self._is_learners[file] = not (self._asks(file) or file.startswith(self._libraries))
            if self._is_learners[file] and (called := self._called_by_the_test(frame)):
                if not self._given:
                    self._events = 0
                self._note(frame, called)
        elif event == "return" and frame in self._given:
            self._compare(frame)

    def end(self) -> None:
        """Look at the calls whose ends weren't seen."""
        for frame in list(self._given):
            self._compare(frame)

    def _called_by_the_test(self, frame: FrameType) -> FrameType | None:
        # This call, or a library's through which the test called it: a decorator of torch's stands between.
        caller = frame.f_back
        while caller is not None:
            file = caller.f_code.co_filename
            if self._asks(file):
                return frame
            if not file.startswith(self._libraries):
                return None
            frame, caller = caller, caller.f_back
        return None

    def _note(self, frame: FrameType, called: FrameType) -> None:
        if frame.f_code.co_flags & _LATER:
            return
        # The value itself, too: a function may give the name of its argument to something else.
        mine = {name: value for name, value in _arguments(frame).items() if _is_changeable(value)}
        if called is not frame:  # what a library made, and hands on to be filled, isn't the test's
            given = list(_arguments(called).values())
            mine = {name: part for name, value in mine.items() if _is_changeable(part := _part_of(value, given))}
        # What is wrong here must not become the answer's error: tensors of a kind that can't be copied or compared.
        with suppress(Exception), _disable_current_modes():  # `work` must not count the copies
            if mine:
                self._given[frame] = {name: (value, kept(value)) for name, value in mine.items()}

    def _compare(self, frame: FrameType) -> None:
        for name, (value, before) in self._given.pop(frame).items():
            change = _said(frame.f_code), name[:LONGEST_NAME]
            if change in self.changes or len(self.changes) == MOST or any(value is own for own in self._own):
                continue
            with suppress(Exception), _disable_current_modes():
                if is_as(value, before):
                    continue
                if _is_functions_own(value, frame.f_code):
                    self._own.append(value)
                else:
                    self.changes.append(change)


def _arguments(frame: FrameType) -> dict[str, Any]:
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    known = frame.f_locals
    given = {name: known[name] for name in code.co_varnames[:count] if name in known}
    if code.co_flags & inspect.CO_VARKEYWORDS and code.co_varnames[count] in known:
        named = known[code.co_varnames[count]]
        given[code.co_varnames[count]] = tuple(named.values())  # the dict is made for each call, and the function's own
    return given


def _part_of(value: Any, given: list[Any]) -> Any:
    if not _is_in(value, given):  # a tuple may be that of `*x`, or of the values of `**named`: one of this call's
        return tuple(item for item in value if _is_in(item, given)) if type(value) is tuple else None
    return value


def _is_in(value: Any, given: Any, deep: int = 0) -> bool:
    if value is given:
        return True
    items = given.values() if type(given) is dict else given if type(given) in (list, tuple) else ()
    return deep <= DEEPEST and any(_is_in(value, item, deep + 1) for item in items)


def _is_functions_own(value: Any, code: CodeType) -> bool:
    # Nobody gave it: a default, as in `def f(n, memo={})`, or bound by functools.partial. Takes a while.
    holders = [holder for holder in gc.get_referrers(value) if type(holder) in (tuple, dict)]
    for keeper in gc.get_referrers(*holders) if holders else ():
        if type(keeper) is partial:
            kept_ones = keeper.args, keeper.keywords
        elif inspect.isfunction(keeper) and keeper.__code__ is code:
            kept_ones = keeper.__defaults__, keeper.__kwdefaults__
        else:
            continue
        if any(one is holder for one in kept_ones for holder in holders):
            return True
    return False


def _said(code: CodeType) -> str:
    return next((name for name in (code.co_qualname, code.co_name) if is_name(name)), "function")


def kept(value: Any, deep: int = 0) -> Any:
    """A copy that later changes of the value don't reach: of tensors, arrays and containers; the rest is itself."""
    kind = type(value)
    if deep > DEEPEST:
        return value
    if has_values(value):
        return value.detach().clone()
    if kind is np.ndarray:
        return value.copy()
    if kind in (list, tuple, set):
        return kind(value) if _is_plain(value) else kind([kept(item, deep + 1) for item in value])
    if kind is dict:
        return {key: kept(item, deep + 1) for key, item in value.items()}
    return value


def is_as(value: Any, before: Any) -> bool:
    """Whether a value is what `kept` made of it before."""
    kind = type(value)
    if value is before:
        return True
    if kind is not type(before) and not (has_values(value) and has_values(before)):
        return False
    if has_values(value):
        return _same(value.detach(), before)
    if kind is np.ndarray:
        return value.dtype == before.dtype and value.shape == before.shape and value.tobytes() == before.tobytes()
    if kind in (list, tuple):
        if _is_plain(value) and _is_plain(before):  # tens of thousands of tokens, before each step
            return list(map(type, value)) == list(map(type, before)) and value == before
        return len(value) == len(before) and all(map(is_as, value, before))
    if kind is dict:
        return value.keys() == before.keys() and all(is_as(item, before[key]) for key, item in value.items())
    return kind in (bool, int, float, str, bytes, set) and value == before


def _is_plain(items: Any) -> bool:
    return _PLAIN.issuperset(map(type, items))


def _is_changeable(value: Any) -> bool:
    if type(value) is tuple:
        return any(map(_is_changeable, value))
    return has_values(value) or type(value) in (np.ndarray, list, dict, set)


def _same(value: Tensor, before: Tensor) -> bool:
    if value.shape != before.shape or value.dtype != before.dtype:
        return False
    return torch.equal(value, before) or bool(((value == before) | ((value != value) & (before != before))).all())
