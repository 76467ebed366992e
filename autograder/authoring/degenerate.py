"""Answers without a thought in them, to every exercise: `()`, None, NaN, zeros of the right shape, an object that has
every attribute. A test that gives one of them a point is too weak. And one answer that is right, but changes what it is
given.

All of one exercise's run in one notebook, a drill: what stands before the exercise in the master, then the exercise
with each answer in turn, with its tests behind it, under names of their own. The master's own functions, wrapped as the
answers are, come first and last and must pass, or the others' failing would say nothing.
"""

import ast
import copy
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbformat import NotebookNode

from autograder.course import CourseError, Unit
from autograder.notebooks import grade_id, is_exercise, is_test
from autograder.submissions.paper import Paper
from autograder.submissions.verdict import Verdict

ON_RECORD = "degenerate.toml"  # in tests/submissions/<unit>: exercise -> answer -> why it is right
ALL = "everything"  # instead of a function's or a method's name
RIGHT = "right"  # the master's own answer, through the same wrapper

# Each answer as an expression. `right()` gives what the master's function returns, `given` are the arguments.
ANSWERS = {
    "()": "()",
    "[]": "[]",
    "{}": "{}",
    "None": "None",
    "0": "0",
    '""': "''",
    "NaN": "float('nan')",
    "True": "True",
    "an empty tensor": "_torch.empty(0)",
    "zeros of the right shape": "_zeros(right())",
    "the first argument": "given[0] if given else None",
    "an object that has everything": "_Everything()",
    "right, but it changes its arguments": "_spoiled(right(), given)",
}

_SOLUTION = re.compile(r"### BEGIN SOLUTION.*?### END SOLUTION", re.DOTALL)
# How a drill replaces a function. What it defines has names that no exercise has.
PRELUDE = '''
import torch as _torch


def _zeros(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(_zeros, value))
    if isinstance(value, dict):
        return {key: _zeros(item) for key, item in value.items()}
    if isinstance(value, _torch.Tensor):
        return _torch.zeros_like(value)
    if value is None:
        raise LookupError("nothing has no shape")  # who returns nothing can't return zeros for it; see None
    return "" if isinstance(value, str) else type(value)(0)


def _spoiled(value, given):
    if not any([_spoil(item) for item in given]):
        raise LookupError("there is nothing to change")  # wrong in another way; None is right where nothing is returned
    return value


def _spoil(item):
    if isinstance(item, _torch.Tensor) and item.numel():
        item.data.copy_(item == 0)
    elif type(item) is list:
        item.append(0)
    elif type(item) is dict:
        item["another"] = 0
    else:
        return False
    return True


class _Everything:
    """Has every attribute, can be called, indexed, gone through and computed with, and is equal to all."""

    def _itself(self, *_, **__):
        return self

    def _true(self, *_):
        return True

    __call__ = __getattr__ = __getitem__ = _itself
    for _name in "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift".split():
        locals()[f"__{_name}__"] = locals()[f"__r{_name}__"] = _itself
    __neg__ = __pos__ = __abs__ = __invert__ = __round__ = _itself
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __contains__ = _true
    __hash__ = object.__hash__

    def __len__(self):
        return 0

    def __iter__(self):
        return iter(())

    def __int__(self):
        return 0

    __index__ = __int__

    def __float__(self):
        return 0.0

    @classmethod
    def __torch_function__(cls, *_, **__):
        return cls()


def _replace(owner, name, answer):
    right = owner[name] if isinstance(owner, dict) else vars(owner)[name]
    if isinstance(owner, dict):

        def made(*given, **named):
            return answer(lambda: right(*given, **named), (*given, *named.values()))

        owner[name] = made
    elif isinstance(right, property):
        setattr(owner, name, property(lambda self: answer(lambda: right.fget(self), ())))
    else:

        def made(self, *given, **named):
            return answer(lambda: right(self, *given, **named), (*given, *named.values()))

        setattr(owner, name, made)
'''


@dataclass(frozen=True)
class Answer:
    """One degenerate answer.

    Attributes:
        part: what gives it: all functions, and classes when they are called (`ALL`); all methods of a class
            (`Class.*`); or one function or method (`Class.method`), while the others are right.
        kind: which of `ANSWERS`, or `RIGHT`.
    """

    part: str
    kind: str

    @property
    def is_whole(self) -> bool:
        """Whether nothing that is asked of the exercise is right."""
        return self.part == ALL or self.part.endswith(".*")

    def __str__(self) -> str:
        return f"{self.part} = {self.kind}"


@dataclass
class Drill:
    """One exercise with all degenerate answers to it.

    Attributes:
        notebook: a master of its own; its tests' names are `test_name(test, number)`, by the answer's number.
    """

    exercise: str
    notebook: NotebookNode
    answers: list[Answer]
    tests: list[str]


@dataclass
class Outcome:
    """How one exercise's tests did: `gained` are the answers that they gave a point, with the points."""

    tried: int = 0
    gained: dict[str, float] = field(default_factory=dict)
    broken: str = ""


def drills(master: NotebookNode, without_tests: bool) -> list[Drill]:
    """A drill for each exercise. `without_tests`: leave out other exercises' tests, where each notebook runs whole."""
    found = []
    for start, cell in enumerate(master.cells):
        if not is_exercise(cell):
            continue
        before = [other for other in master.cells[:start] if not (without_tests and is_test(other))]
        behind = own_cells(master, start)
        answers = list(_answers(cell, Paper(master), [other for other in behind if is_test(other)]))
        notebook = copy.copy(master)
        notebook.cells = before + [
            made
            for number, answer in enumerate(answers)
            for made in turn(cell, behind, number, _instead(cell.source, answer))
        ]
        tests = [grade_id(other) for other in behind if is_test(other)]
        found.append(Drill(grade_id(cell), notebook, answers, tests))
    return found


def test_name(test: str, number: int) -> str:
    """What a drill calls an exercise's test behind the answer of that number."""
    return f"{number}-{test}"


def judge(drill: Drill, verdicts: dict[str, Verdict]) -> Outcome:
    """What the tests of a drill said. One part alone gains only if no test of the exercise notices it."""
    outcome = Outcome()
    for number, answer in enumerate(drill.answers):
        said = [verdicts[test_name(test, number)] for test in drill.tests]
        if answer.kind == RIGHT:
            lost = next((verdict.message for verdict in said if not verdict.passed), "")
            outcome.broken = outcome.broken or lost
            continue
        outcome.tried += 1
        points = sum(verdict.points for verdict in said)
        if points and (answer.is_whole or all(verdict.passed for verdict in said)):
            outcome.gained[str(answer)] = points
    return outcome


def on_record(unit: Unit) -> dict[str, dict[str, str]]:
    """Exercise -> answer -> why it is right, as tests/submissions/<unit>/degenerate.toml says.

    Raises:
        CourseError: a file out of form.
    """
    path = unit.submissions / ON_RECORD
    if not path.exists():
        return {}
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
        if not all(type(why) is str and why for answers in record.values() for why in answers.values()):
            raise ValueError("a reason is missing")
    except (AttributeError, ValueError) as error:  # of TOML's reader, too
        raise CourseError(f'{path}: each exercise is a table of "part = answer" and a reason: {error}') from error
    return record


def own_cells(master: NotebookNode, start: int) -> list[NotebookNode]:
    """The code behind an exercise's cell, to its last test: a demonstration may be something that a test needs."""
    behind = master.cells[start + 1 :]
    end = next((index for index, cell in enumerate(behind) if is_exercise(cell)), len(behind))
    own = behind[:end]
    last = max((index for index, cell in enumerate(own) if is_test(cell)), default=-1)
    return [cell for cell in own[: last + 1] if cell.cell_type == "code"]


def turn(cell: NotebookNode, behind: list[NotebookNode], number: int, instead: str) -> Iterator[NotebookNode]:
    """An exercise's cell with lines below it that put something in its place, and the tests by `test_name`."""
    turned = copy.deepcopy(cell)
    turned.source = f"{cell.source}\n{instead}"
    yield turned
    for other in behind:
        made = copy.deepcopy(other)
        if is_test(made):
            made.metadata.nbgrader.grade_id = test_name(grade_id(other), number)
        yield made


def is_asked(paper: Paper, test: NotebookNode, node: ast.AST) -> bool:
    """Whether a test takes what this statement of an exercise defines from the learner."""
    return getattr(node, "name", None) in paper.tests[grade_id(test)].names


def _answers(cell: NotebookNode, paper: Paper, tests: list[NotebookNode]) -> Iterator[Answer]:
    asked = {name for test in tests for name in paper.tests[grade_id(test)].names}
    parts = {part: None for part in _parts(cell.source) if part.partition(".")[0] in asked}
    whole = [ALL, *dict.fromkeys(f"{part.partition('.')[0]}.*" for part in parts if "." in part)]
    yield from (Answer(part, RIGHT) for part in whole)
    for part in (*whole, *(parts if len(parts) > 1 else ())):
        for kind in ANSWERS:
            yield Answer(part, kind)
    yield from (Answer(part, RIGHT) for part in whole)


def _parts(source: str) -> list[str]:
    """Functions, and public methods as `Class.method`, that learners get to fill; no decorated one, maybe a kernel."""
    parts = []
    for node in ast.parse(_SOLUTION.sub("pass", source)).body:
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            parts.append(node.name)
        elif isinstance(node, ast.ClassDef):
            names = [inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)]
            parts += [f"{node.name}.{name}" for name in names if name == "__len__" or not name.startswith("_")]
    return parts


def _instead(source: str, answer: Answer) -> str:
    expression = "right()" if answer.kind == RIGHT else ANSWERS[answer.kind]
    return "\n".join([PRELUDE, *(_replacing(part, expression) for part in _replaced(source, answer.part))])


def _replaced(source: str, part: str) -> list[str]:
    every = _parts(source)
    if part == ALL:
        return list(dict.fromkeys(one.partition(".")[0] for one in every))
    return [one for one in every if one == part or (part.endswith(".*") and one.startswith(part[:-1]))]


def _replacing(part: str, expression: str) -> str:
    owner, _, name = part.rpartition(".")
    return f"_replace({owner or 'globals()'}, {name!r}, lambda right, given: {expression})"
