"""Grade a notebook with tests and learner apart: learner's cells in the sandbox, test cells in this process.

Each exercise is its own failure domain. When the learner's process is lost (a crash, a time-out, a broken protocol),
the exercise at hand loses its points with the reason, a new process replays the cells before it, and grading goes on.
"""

import contextlib
import gc
import io
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from nbformat import NotebookNode

from autograder.isolation import namespaces
from autograder.isolation.channel import Channel
from autograder.isolation.patience import WIDE, Limit
from autograder.isolation.remote import LearnerLost, Session
from autograder.isolation.sandbox import Sandbox
from autograder.notebooks import TEST_SUFFIX, grade_id, is_for_real, is_test
from autograder.submissions import outputs
from autograder.submissions.lost_names import LostNames
from autograder.submissions.paper import Paper, Test
from autograder.submissions.rebuild import REVEALED
from autograder.submissions.verdict import STARVED, Graded, Reason, Verdict
from fridge.notebook import grading, language, reveals, scoreboard
from fridge.notebook.language import said
from fridge.testing import changed, outcome
from fridge.testing.outcome import Outcome

Words = Mapping[str, Mapping[str, str]]  # language -> English -> translated

# By `patience`: on a busy machine these take longer by the clock.
SECONDS_PER_CELL = 20
SECONDS_PER_TEST = 60  # a test cell as a whole; each of its calls has SECONDS_PER_CELL
SECONDS_PER_NOTEBOOK = 300
MAX_MEMORY = 2 * 2**30  # bytes that grading one notebook may take in this process
MAX_MESSAGE = 10_000  # characters
MOST_REPLAYS = 20  # new processes in a row that cells end which ran before; each takes some time to make
LARGE = 10 * 2**20  # bytes from a learner's process over which a test may take its time

NOT_A_TEST = "This cell is not one of the course's tests. It is worth no points."
NOT_FOUND = ("FileNotFoundError", "ModuleNotFoundError")
ONLY_THE_NOTEBOOK = (
    "Grading has the notebook alone, in an empty folder and without a network. A file or module of yours must be "
    "written by a cell of the notebook, by %%writefile for example.\n"
)
COURSES_FAULT = (
    "This test cell is broken, which is the course's fault and not yours; your instructor has been told. "
    "It counts when it is mended."
)


def grade(notebook: NotebookNode, paper: Paper, sandbox: Sandbox, words: Words | None = None) -> Graded:
    """Run a submitted notebook; the tests are the master's, whatever the notebook says.

    Args:
        notebook: rebuilt from a handout, whose language its metadata name.
        words: what the tests say, language -> English -> translated.

    Changes this process's state (signals, threads, the scoreboard): call it in a process of its own, then the
    sandbox's `prepare`: the last of the learner's processes is still there.
    """
    import torch

    torch.set_num_threads(1)
    grading.begin(grading.Role.TESTING)
    changed.is_told = True
    spoken = notebook.metadata.get("fridge", {}).get("language", language.ENGLISH)
    language.choose(spoken, (words or {}).get(spoken))
    namespaces.limit_memory(MAX_MEMORY)  # what a learner's code makes the test's objects do, it must not do to the host
    return _Run(paper, sandbox).grade(notebook)


class TestTooLong(BaseException):
    """A test cell used up its time."""


class _Run:
    def __init__(self, paper: Paper, sandbox: Sandbox):
        self._sandbox = sandbox
        self._paper = paper
        self._session: Session | None = None
        self._tested = False  # whether a test ran in this session
        self._replay: list[str] = []
        self._limit = Limit(SECONDS_PER_NOTEBOOK, sandbox.usage)
        self._budget = outputs.Budget()
        self._graded = Graded()
        self._lost = LostNames()

    def grade(self, notebook: NotebookNode) -> Graded:
        self._lost = LostNames(notebook.metadata)
        outcome.cause_elsewhere = self._lost.cause
        outcome.not_learners = (f"{Path(__file__).parents[1]}{os.sep}",)
        revealed = notebook.metadata.get(REVEALED, [])
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            if test := self._paper.tests.get(grade_id(cell)):  # before any tag: none must make a test cell go away
                if test.name in revealed:
                    self._give_up(index, test)
                elif self._graded.starved:
                    self._leave_out(index, test)
                else:
                    self._test(index, test)
            elif is_test(cell):  # a cell of the learner's that says of itself that it is worth points
                self._graded.outputs[index] = [outputs.score(0.0), outputs.error("NotATest", NOT_A_TEST)]
            elif is_for_real(cell):
                self._lost.skipped(cell.source)
            elif cell.source.strip() and not self._graded.starved:
                self._run_cell(index, cell.source)
        return self._graded

    def _run_cell(self, index: int, source: str) -> None:
        try:
            result = self._learner().run_cell(source)
            if type(result) is not dict:
                raise LearnerLost("the learner's process sent something else than an answer")
        except LearnerLost as lost:
            self._graded.starved |= lost.starved
            tested = self._tested
            self._end()
            if tested and not lost.late:  # what an earlier exercise's calls left behind must not cost this one
                self._run_cell(index, source)
                return
            self._lost.stopped(source, str(lost))
            self._graded.outputs[index] = self._budget.take([outputs.error("Lost", f"This cell was stopped: {lost}")])
            return
        except Exception as error:  # it has run, and what it showed can't cross: a picture of 50 MB, say
            self._lost.found(source)
            self._replay.append(source)
            self._graded.outputs[index] = self._budget.take([outputs.error(outcome.name_of(error), str(error))])
            return
        self._lost.found(source)
        self._lost.failed(source, result.get("failures"))
        self._replay.append(source)
        shown = self._budget.clean(result.get("outputs"))
        if any(output.get("ename") in NOT_FOUND for output in shown):
            shown += self._budget.take([outputs.stream(ONLY_THE_NOTEBOOK)])
        self._graded.outputs[index] = shown

    def _give_up(self, index: int, test: Test) -> None:
        verdict = self._graded.verdicts[test.name] = _lost(test, f"{reveals.SAID}.", scoreboard.REVEALED)
        self._show(index, verdict)

    def _leave_out(self, index: int, test: Test) -> None:
        # It is graded again from its beginning: on a machine that has no time, the rest would take an hour for nothing.
        verdict = self._graded.verdicts.setdefault(test.name, _verdict(test, STARVED, Reason.of(STARVED)))
        self._show(index, verdict)

    def _test(self, index: int, test: Test) -> None:
        name = test.name
        if name in self._graded.verdicts:  # a copied test cell; the first counts, and a copy must not be left empty:
            self._show(index, self._graded.verdicts[name])  # nbgrader gives an empty one all points
            return
        shown, verdict, started = io.StringIO(), None, time.monotonic()
        try:
            names = self._names(test)
            with contextlib.redirect_stdout(shown), _time_limit(SECONDS_PER_TEST):
                test.run(names)
            verdict = Verdict(test.points, test.points, shown.getvalue())
        except LearnerLost as lost:
            self._graded.starved |= lost.starved
            self._end()
            verdict = _lost(test, f"your code was stopped: {lost}")
        except Outcome as found:
            verdict = _verdict(test, str(found)[:MAX_MESSAGE], Reason.of(found.words, found.theirs))
            if self._is_courses_fault(found.__context__):
                verdict = _courses_fault(test, said(COURSES_FAULT))
        except TestTooLong:
            # Of its own accord: not while the learner's code had the word, nor over what that sent.
            mine = self._session is None or self._session.waited < 0.5 * SECONDS_PER_TEST
            verdict = _lost(test, f"your code was stopped: {SECONDS_PER_TEST} seconds are over")
            if mine and (self._session is None or self._session.received < LARGE):
                verdict = _courses_fault(test, said(COURSES_FAULT))
            self._end()
        except Exception as error:
            # Outside `with exercise(...)`: an import of the test's own, say. A learner's code isn't called there.
            words = f"{outcome.name_of(error)}: {error}"[:MAX_MESSAGE]
            verdict = _courses_fault(test, f"{said(COURSES_FAULT)} ({words})")
            if getattr(error, "from_learner", False):
                verdict = _verdict(test, f"✗ {words}", Reason.of(outcome.RAISED, outcome.name_of(error)))
        if self._session is not None:
            self._session.end_test()  # takes back what was lent
        gc.collect()  # a test's functions hold its names, and with them what an answer made it keep: up to all memory
        self._graded.verdicts[name] = verdict
        self._graded.seconds[name] = round(time.monotonic() - started, 3)
        self._show(index, verdict)

    def _show(self, index: int, verdict: Verdict) -> None:
        lines = verdict.message.splitlines()
        said = outputs.stream(verdict.message) if verdict.passed else outputs.error("NotRight", lines[0], lines)
        # The number comes first: nbgrader takes the first value or error that it finds.
        self._graded.outputs[index] = [outputs.score(verdict.points), said]

    def _names(self, test: Test) -> dict:
        session = self._learner()
        self._tested = True
        session.begin_test(SECONDS_PER_TEST)
        return session.lookup(list(test.names))

    def _is_courses_fault(self, error: BaseException | None) -> bool:
        if error is None or getattr(error, "from_learner", False):
            return False
        if isinstance(error, NameError):
            return error.name not in self._paper.exports
        return isinstance(error, ImportError | SyntaxError)

    def _learner(self) -> Session:
        for _ in range(MOST_REPLAYS):
            if not self._limit.left():
                words = f"the whole notebook may run for {SECONDS_PER_NOTEBOOK} seconds, and they are over"
                raise LearnerLost(words, late=True, starved=self._limit.starved)
            if self._session is not None or self._replayed():
                return self._session
        words = f"{MOST_REPLAYS} cells in a row, which ran before, ended the process when they were run again"
        raise LearnerLost(words, late=True)

    def _replayed(self) -> bool:
        """Make a process in which all cells so far have run; or leave out the one that ended it."""
        connection, layers = self._sandbox.learner()
        self._graded.layers = vars(layers).copy()
        session = Session(Channel(connection), SECONDS_PER_CELL, self._limit, self._sandbox.usage)
        for place, source in enumerate(self._replay):
            try:
                with contextlib.suppress(Exception):  # what it shows can't cross; nobody looks at it this time
                    session.run_cell(source)
            except LearnerLost as lost:
                self._graded.starved |= lost.starved
                del self._replay[place]  # it ran the first time and doesn't now
                session.close()
                return False
        self._session = session
        return True

    def _end(self) -> None:
        self._tested = False
        if self._session is not None:
            self._session.close()
            self._session = None
        self._sandbox.end_learner()


def _lost(test: Test, words: str, how: str = scoreboard.WRONG) -> Verdict:
    name = test.name.removesuffix(TEST_SUFFIX)
    return _verdict(test, said(f"{scoreboard.MARKS[how]} {name}: {words}"), Reason.of(words))


def _courses_fault(test: Test, words: str) -> Verdict:
    return Verdict(0.0, test.points, words, courses_fault=True, reason=Reason.of(COURSES_FAULT))


def _verdict(test: Test, message: str, reason: Reason) -> Verdict:
    return Verdict(0.0, test.points, message, reason=reason)


@contextlib.contextmanager
def _time_limit(seconds: int):
    # For the test's own work: so much of the processor; a wide limit by the clock for one that waits.
    def stop(signum: int, frame: object) -> None:
        raise TestTooLong

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, seconds), signal.SIGALRM: (signal.ITIMER_REAL, WIDE * seconds)}
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
