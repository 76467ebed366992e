"""Exceptions that cross between the grader and a learner's process: names, words and lines of code, never objects.

Names are looked up in one closed table of the language's own exceptions; the nearest known base stands for all others.
"""

import traceback
from collections.abc import Iterable

MAX_MESSAGE = 2_000  # characters
MAX_BASES = 20
MAX_NAME = 100  # characters
INNERMOST = 6  # lines of a traceback: one more than a message shows, so that it says that there are more
MAX_LINE = MAX_MESSAGE // (INNERMOST + 1)  # characters of each, or outer ones leave the innermost no room


# As they are, not as a class of its class may say that they are.
_name, _bases = type.__dict__["__name__"].__get__, type.__dict__["__mro__"].__get__


class _KeyError(KeyError):
    """With a message as it was said: KeyError quotes its argument each time that it is asked."""

    def __str__(self) -> str:
        return str(self.args[0])


_KeyError.__name__ = KeyError.__name__

KNOWN_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        *(ArithmeticError, AssertionError, AttributeError, BufferError, EOFError, Exception, FileNotFoundError),
        *(IndexError, KeyError, LookupError, MemoryError, NameError, NotImplementedError, OSError, OverflowError),
        *(PermissionError, RecursionError, RuntimeError, SyntaxError, TypeError, UnboundLocalError, UnicodeError),
        *(ValueError, ZeroDivisionError),  # not StopIteration: it would end a test's `all(map(...))` as a success
    )
}


def describe(error: BaseException) -> tuple[list[str], str, str]:
    """(names of the error's class and its bases, message, the learner's own traceback lines)."""
    bases = [_name(base) for base in _bases(type(error)) if base is not object][:MAX_BASES]
    return bases, words_of(error), "\n".join(line[:MAX_LINE] for line in _own_lines(error))


def words_of(error: BaseException) -> str:
    """An error's message, in characters that can cross; empty where it can't be had, whatever its class says."""
    try:
        return writable(str(error)[:MAX_MESSAGE])
    except BaseException:  # a class of the learner's own may call exit() there
        return ""


def writable(text: str) -> str:
    """The text without half characters, lone surrogates, which nobody can write down."""
    return text.encode(errors="replace").decode()


def learners_error(bases: list[str], message: str, lines: str) -> Exception:
    """An exception of the language's own with the learner's message.

    `learner_lines` are the learner's traceback, `learners_name` is what their class is called.
    """
    kind = KNOWN_ERRORS[_nearest(bases)]
    error = (_KeyError if kind is KeyError else kind)(message[:MAX_MESSAGE])
    error.from_learner = True
    error.learners_name = " ".join((bases[0] if bases else kind.__name__)[:MAX_NAME].split())
    error.learner_lines = lines[:MAX_MESSAGE].splitlines()
    return error


def in_words(error: BaseException) -> tuple[str, str]:
    """(name of the nearest known class, message), for an answer to a learner's call of a test's object."""
    words = error.args[0] if getattr(error, "from_learner", False) else error  # str() of a KeyError adds quotes
    return _nearest(base.__name__ for base in type(error).__mro__), str(words)[:MAX_MESSAGE]


def same_words(error: BaseException, kind: str, message: str) -> bool:
    """Whether `in_words` says this of the error once it has crossed."""
    return in_words(learners_error(*describe(error))) == (kind, message)


def from_words(kind: str, message: str) -> Exception:
    """The inverse of `in_words`, as far as there is one."""
    return KNOWN_ERRORS.get(kind, RuntimeError)(message)


def _nearest(bases: Iterable[str]) -> str:
    return next((name for name in bases if name in KNOWN_ERRORS), RuntimeError.__name__)


def _own_lines(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "<ipython-input" in frame.filename or "ipykernel" in frame.filename]
    lines = [f"  line {frame.lineno}, in {frame.name}:  {frame.line}" for frame in own if frame.line]
    return lines[-INNERMOST:]
