"""What a test cell says: right, wrong, or not attempted, each in words that a learner can act on.

A test cell is `with exercise("causal-attention"): ...`. Every outcome but "right" leaves the block as an exception, so
that nbgrader scores it, and shows as a short message instead of Python's traceback of the test.
"""

import importlib.util
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fridge import scoreboard

_LIBRARIES = (
    str(Path(__file__).parents[1]),
    *(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")),
    "<frozen",
)

STUB_MESSAGE = "not attempted yet"  # what nbgrader_config.py puts into an exercise's empty region


def cause_elsewhere(error: BaseException) -> str:
    """What caused an error in another place, in a sentence. The grader, which saw all cells, sets its own function."""
    return ""


class Outcome(Exception):
    """Base of the outcomes that cost points; the message is for the learner."""

    def _render_traceback_(self) -> list[str]:  # IPython shows these lines instead of a traceback
        return str(self).splitlines()


class NotAttempted(Outcome):
    """The exercise's cell is as it was handed out."""


class Wrong(Outcome, AssertionError):
    """The learner's code returned something else than expected, or raised."""


class Skipped(Exception):
    """The exercise can't be tested here, for a package is missing. It costs no points."""

    def __init__(self, package: str):
        super().__init__(package)
        self.package = package


def needs(package: str) -> None:
    """Skip the exercise, points kept, where a package isn't installed: the first line of its tests, before any answer.

    Raises:
        Skipped: it isn't.
    """
    if not _installed(package):
        raise Skipped(package)


@contextmanager
def exercise(name: str) -> Iterator[None]:
    """Run one exercise's tests, note the outcome on the scoreboard, and say it.

    Args:
        name: the test cell's grade_id without `-test`.

    Raises:
        NotAttempted: the code in the block called an untouched exercise.
        Wrong: an expectation failed, or the learner's code raised.
    """
    points = scoreboard.points(name)
    try:
        yield
    except (Exception, SystemExit) as error:  # exit() in the learner's code is an answer too, and a wrong one
        if isinstance(error, Skipped) and not _installed(error.package):  # asked again: an answer could raise one, too
            scoreboard.record(name, scoreboard.SKIPPED)
            print(
                f"– {name}: skipped, for {error.package} is not installed here. It costs no points ({_worth(points)})."
            )
            return
        outcome = _judge(name, points, error)
        scoreboard.record(name, scoreboard.NOT_ATTEMPTED if isinstance(outcome, NotAttempted) else scoreboard.WRONG)
        raise outcome from None
    scoreboard.record(name, scoreboard.RIGHT)
    print(f"✓ {name}: these tests pass ({_worth(points)}).")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _judge(name: str, points: float, error: BaseException) -> Outcome:
    if isinstance(error, NotImplementedError) and str(error) == STUB_MESSAGE:
        return NotAttempted(f"○ {name}: not attempted yet ({_worth(points)}). Fill in the exercise's cell and run it.")
    if isinstance(error, Wrong):
        return Wrong(f"✗ {name}: not right yet.\n{error}")
    lines = [f"✗ {name}: your code raised {type(error).__name__}: {error}".removesuffix(": ")]
    if "cannot unpack non-iterable NoneType" in str(error):
        lines.append("Likely cause: a `return` is missing.")
    if elsewhere := cause_elsewhere(error):
        lines.append(f"Likely cause: {elsewhere}")
    elif isinstance(error, NameError):
        lines.append("Likely cause: the exercise's cell has not been run, or a name in it is misspelt.")
    return Wrong("\n".join(lines + _where(error)))


def _where(error: BaseException) -> list[str]:
    if hasattr(error, "learner_lines"):  # raised in a learner's own process, whose frames stayed there
        return error.learner_lines
    # Outermost first: `exercise`, the test cell, the learner's cells, libraries. The test cell's lines stay out, for
    # a hidden test may stand in it.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_LIBRARIES)]
    own = [frame for frame in frames if frame.filename != frames[0].filename]
    lines = [f"  line {frame.lineno}, in {frame.name}:  {frame.line}" for frame in own if frame.line]
    return lines if len(lines) <= 5 else ["  …", *lines[-5:]]  # a recursion without an end has a thousand


def _worth(points: float) -> str:
    return f"{points:g} point" if points == 1 else f"{points:g} points"
