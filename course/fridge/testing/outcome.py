"""What a test cell says: right, wrong, or not attempted, each in words that a learner can act on.

A test cell is `with exercise("causal-attention"): ...`. Every outcome but "right" leaves the block as an exception, so
that nbgrader scores it, and shows as a short message instead of Python's traceback of the test.
"""

import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fridge.notebook import grading, revealing, runs, scoreboard, syllabus
from fridge.notebook.language import said
from fridge.testing import changed
from fridge.testing.case import case_of
from fridge.testing.changed import Change, watched

_KINDS = ("stdlib", "purelib", "platlib")
_HERE = f"{Path(__file__).parent}{os.sep}"
LIBRARIES = (  # with the separator: `fridge_notes/` of a learner's, next to `fridge/`, is none
    *(f"{folder}{os.sep}" for folder in (Path(__file__).parents[1], *map(sysconfig.get_path, _KINDS))),
    "<frozen",
)

CHANGES, RAISED = "changes its argument", "your code raised"

not_learners: tuple[str, ...] = ()  # folders of the grader, which sets them: code in them is nobody's answer
_builds_on: list[str] = []  # what the exercise at hand says of itself

STUB_MESSAGE = "not attempted yet"  # what nbgrader_config.py puts into an exercise's empty region
CALL_STANDS = (
    "  But this notebook calls fridge.reveal for it, so its points stay given up. Delete the call, save, and run this "
    "test again."
)


def cause_elsewhere(error: BaseException) -> str:
    """What caused an error in another place, in a sentence. The grader, which saw all cells, sets its own function."""
    return ""


class Outcome(Exception):
    """Base of the outcomes that cost points.

    Args:
        message: for the learner.

    Attributes:
        words: why, for an instructor who counts reasons: the course's own, without the values of this one answer.
        theirs: what the learner's code called it, an exception's name.
    """

    def __init__(self, message: str, words: str = "", theirs: str = ""):
        super().__init__(message)
        self.words, self.theirs = words, theirs

    def _render_traceback_(self) -> list[str]:  # IPython shows these lines instead of a traceback
        return str(self).splitlines()


class NotAttempted(Outcome):
    """The exercise's cell is as it was handed out."""


class Wrong(Outcome, AssertionError):
    """The learner's code returned something else than expected, or raised."""


class Stale(Outcome):
    """What was tested is not what the exercise's cell shows: its last run failed, say. It must run again."""


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


def builds_on(*names: str) -> None:
    """Where this exercise's tests fail, say which of these earlier ones to mend first: its answer may call theirs."""
    _builds_on.extend(names)


@contextmanager
def exercise(name: str) -> Iterator[None]:
    """Run one exercise's tests, note the outcome on the scoreboard, and say it.

    Args:
        name: the test cell's grade_id without `-test`.

    Raises:
        NotAttempted: the code in the block called an untouched exercise.
        Wrong: an expectation failed, or the learner's code raised.
        Stale: what ran is an older version than the one in the exercise's cell.
    """
    points = syllabus.points(name)
    found: Outcome | None = None
    changes: list[Change] = []
    test_file = _test_file()
    changed.told.clear()
    _builds_on.clear()
    try:
        with watched(LIBRARIES, lambda file: file == test_file or file.startswith(_HERE)) as changes:
            yield
        if changes or changed.told:
            raise Wrong("an argument was changed")
    except (Exception, SystemExit) as error:  # exit() in the learner's code is an answer too, and a wrong one
        if isinstance(error, Skipped) and not _installed(error.package):  # asked again: an answer could raise one, too
            scoreboard.record(name, scoreboard.SKIPPED)
            why = f"skipped, for {error.package} is not installed here. It costs no points ({_worth(points)})."
            print(said(f"– {name}: {why}"))
            return
        found = _judge(name, points, error, changes + changed.told)
        found.__context__ = error  # by which the grader tells whose fault it was
    if revealing.is_in_place(name):
        scoreboard.record(name, scoreboard.REVEALED)
        print(said(_revealed(name, points)))
    elif why := runs.stale(name, syllabus.notebook(name)):
        scoreboard.record(name, scoreboard.STALE)
        raise Stale(said(f"{scoreboard.MARKS[scoreboard.STALE]} {name}: {why}")) from None
    elif found is not None:
        scoreboard.record(name, scoreboard.NOT_ATTEMPTED if isinstance(found, NotAttempted) else scoreboard.WRONG)
        found.args = (said(str(found)),)
        raise found from None
    else:
        given_up = revealing.stands(name, syllabus.notebook(name))
        scoreboard.record(name, scoreboard.REVEALED if given_up else scoreboard.RIGHT)
        print(said(_right(name, points) + (f"\n{CALL_STANDS}" if given_up else "")))


def _right(name: str, points: float) -> str:
    looks_at, because = syllabus.looks_at(name), syllabus.because(name)
    if grading.has_hidden_tests():
        lines = [f"✓ {name}: all tests pass, the hidden ones too ({_worth(points)})."]
    else:
        count = "counts" if points == 1 else "count"
        lines = [
            f"✓ {name}: the tests in this cell pass. Its {_worth(points)} {count} when the hidden tests pass, too"
            + (f"; they look at: {looks_at}." if looks_at else ".")
        ]
    return "\n".join(lines + ([f"  Right because: {because}"] if because else []))


def _revealed(name: str, points: float) -> str:
    return (
        f"{scoreboard.MARKS[scoreboard.REVEALED]} {name}: revealed. A reference was tested, not your function, and "
        f"{'its' if points == 1 else 'the'} {_worth(points)} {'is' if points == 1 else 'are'} given up. "
        "Run your own cell, and your function takes its place."
    )


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _judge(name: str, points: float, error: BaseException, changes: list[Change]) -> Outcome:
    words = words_of(error)
    if isinstance(error, NotImplementedError) and words == STUB_MESSAGE:
        looks_at = syllabus.looks_at(name)
        earlier = _first()
        or_else = ", or it calls what isn't" if earlier else ""
        lines = [f"○ {name}: not attempted yet{or_else} ({_worth(points)}). Fill in the exercise's cell and run it."]
        more = [f"  Hidden tests look at: {looks_at}."] if looks_at else []
        return NotAttempted("\n".join(lines + earlier + more), "not attempted")
    if isinstance(error, Wrong):
        # What else is wrong may come from the change, whatever it says of its cause.
        lines = [f"✗ {name}: not right yet.", *_first(), *(_told(changes) or [words])]
        return Wrong("\n".join(lines), CHANGES if changes else error.words)
    lines = [f"✗ {name}: {RAISED} {name_of(error)}: {words}".removesuffix(": "), *_first()]
    if case := case_of(error, LIBRARIES):
        lines.append(f"  in the case: {case}")
    where = _where(error)
    # With None in the test's own line, the learner's function gave it: its code is not on the way.
    if "cannot unpack non-iterable NoneType" in words or ("NoneType" in words and not where):
        lines.append("Likely cause: a `return` is missing.")
    if elsewhere := cause_elsewhere(error):
        lines.append(f"Likely cause: {elsewhere}")
    elif isinstance(error, NameError):
        lines.append("Likely cause: the exercise's cell has not been run, or a name in it is misspelt.")
    return Wrong("\n".join(lines + where + _told(changes)), RAISED, name_of(error))


def name_of(error: BaseException) -> str:
    """The name of an error's class: the one that a learner wrote, where the class stayed in their process.

    Of a test's own, which learners see as what it is made from, the name of that.
    """
    kind = type(error)
    if getattr(kind, "is_an_answer", False):
        kind = next(one for one in kind.__mro__ if one.__module__ == "builtins")
    return getattr(error, "learners_name", kind.__name__)


def words_of(error: BaseException) -> str:
    """What an error says; nothing where its class can't say it, and raises another one over it."""
    try:
        return str(error)
    except (Exception, SystemExit):
        return ""


def _first() -> list[str]:
    # Earlier exercises whose tests ran here and didn't pass.
    fine = (scoreboard.RIGHT, scoreboard.SKIPPED, scoreboard.REVEALED)
    open_ones = [name for name in _builds_on if scoreboard.outcomes().get(name, scoreboard.RIGHT) not in fine]
    return [
        f"  First do “{syllabus.title(name)}”: your answer here may call it, and its own tests don't pass yet."
        for name in open_ones
    ]


def _told(changes: list[Change]) -> list[str]:
    return [
        f"  {function}() {CHANGES} `{argument}`\n"
        "  expected: what it is given stays as it was\n"
        f"  likely cause: an operation in place, as `{argument}[…] = …`, `+=`, `.pop()`, or one whose name ends in _; "
        "work on a copy"
        for function, argument in dict.fromkeys(changes)
    ]


def _test_file() -> str:
    # The file of whoever entered `exercise`, past contextlib's frames.
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame = frame.f_back
    return frame.f_code.co_filename


def _where(error: BaseException) -> list[str]:
    if hasattr(error, "learner_lines"):  # raised in a learner's own process, whose frames stayed there
        return _innermost(error.learner_lines)
    # Outermost first: `exercise`, the test cell, the learner's cells, libraries. The test cell's lines stay out, for
    # a hidden test may stand in it.
    ours = LIBRARIES + not_learners
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)]
    own = [frame for frame in frames if frame.filename != frames[0].filename]
    lines = [f"  line {frame.lineno}, in {frame.name}:  {frame.line}" for frame in own if frame.line]
    return _innermost(lines)


def _innermost(lines: list[str]) -> list[str]:
    return lines if len(lines) <= 5 else ["  …", *lines[-5:]]  # a recursion without an end has a thousand


def _worth(points: float) -> str:
    return f"{points:g} point" if points == 1 else f"{points:g} points"
