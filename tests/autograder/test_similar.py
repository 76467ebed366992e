"""Similarity: copies are found under other names and in another order, independent answers aren't accused."""

import copy
import json

import nbformat
import pytest

from autograder.authoring.samples import read_samples
from autograder.cli import main
from autograder.course import CourseError, find_units
from autograder.notebooks import is_solution
from autograder.results.similar import OTHER_CELLS, compare, own_cells, similar, tokens
from autograder.trials.generated import submit

UNIT = "03-kv-cache"
SOURCE = "numpy_throughout"


@pytest.fixture(scope="module")
def unit(request):
    """The real course's unit."""
    return find_units(request.config.rootpath, [UNIT])[0]


def right_answers(unit) -> dict[str, dict[str, str]]:
    """Sample -> exercise -> source, each written apart from the others."""
    return {sample.name: sample.answers for sample in read_samples(unit, "right")}


def as_tokens(answers: dict[str, str]) -> dict[str, list[str]]:
    return {exercise: tokens(source) for exercise, source in answers.items()}


def disguised(source: str) -> str:
    """A copy by somebody who takes trouble: other names, other comments, other layout."""
    lines = [line for line in source.splitlines() if not line.strip().startswith("#")]
    words = ("scores", "mask", "keys", "values", "start", "layer", "length", "prompt", "cache", "positions", "angles")
    for number, word in enumerate(words):
        lines = [line.replace(word, f"thing{number}") for line in lines]
    return "\n\n".join(
        f"{line}  # mine" if line and not line.endswith("\\") and '"""' not in line else line for line in lines
    )


def test_a_copy_with_other_names_in_another_order_is_found(unit):
    """What a copier changes first must not hide a copy: names, comments, layout, the order of the functions."""
    original = right_answers(unit)
    class_ = {name: as_tokens(answers) for name, answers in original.items()}
    changed = as_tokens({exercise: disguised(source) for exercise, source in reversed(original[SOURCE].items())})
    pairs = compare(class_ | {"copier": changed})
    assert [(pair.one, pair.other) for pair in pairs] == [("copier", SOURCE)]
    assert pairs[0].share > 0.7
    assert len(pairs[0].cells) >= 5


def test_independent_right_answers_are_not_accused(unit):
    """Right answers to the same exercises, each written apart: none may be called alike."""
    class_ = {name: as_tokens(answers) for name, answers in right_answers(unit).items()}
    assert len(class_) >= 5
    assert compare(class_) == []


def test_what_everybody_writes_weighs_little():
    """The obvious three lines that half the class has must not outweigh what two alone share."""
    obvious = tokens(
        "def add(first, second):\n    total = first + second\n    return total + 0 * first - 0 * second\n" * 2
    )
    own = {
        name: tokens(f"table = [{', '.join(f'{name} * {step}' for step in range(start, start + 40))}]")
        for name, start in (("a", 0), ("b", 100), ("c", 200), ("d", 300))
    }
    class_ = {name: {"add": obvious, "table": rest} for name, rest in own.items()}
    assert compare(class_) == []
    class_["b"]["table"] = class_["a"]["table"]
    assert [(pair.one, pair.other) for pair in compare(class_)] == [("a", "b")]


def test_the_handout_counts_for_nobody(unit):
    """Cells that are as handed out, and stubs, are in every submission."""
    handout = nbformat.read(unit.release, as_version=4)
    assert own_cells(handout, handout) == {}
    changed = copy.deepcopy(handout)
    next(cell for cell in changed.cells if is_solution(cell)).source = "def mine():\n    return 1"
    changed.cells.append(nbformat.v4.new_code_cell("x = 2"))
    assert sorted(own_cells(changed, handout)) == sorted(["work", OTHER_CELLS])


def test_the_command_reads_a_class_and_states_its_limits(mini, capsys, monkeypatch):
    """Submissions that are no notebooks are named, the table ends with what the method can't tell, JSON is JSON."""
    from autograder.authoring.build import build

    build(mini)
    unit = find_units(mini)[0]
    monkeypatch.chdir(mini)
    body = "\n".join(f"    step{number} = a * {number} + b ** {number}" for number in range(20))
    for learner, name in (("ada", "a"), ("bo", "a"), ("cy", None)):
        submit(unit, learner, {"add": f"def add({name}, b):\n{body}\n    return {name} + b"} if name else {})
    broken = mini / "grading" / "submitted" / "broken" / unit.name / "mini.ipynb"
    broken.parent.mkdir(parents=True)
    broken.write_text("[" * 100_000)
    assert main(["similar", unit.name]) == 0
    said = capsys.readouterr().out
    assert "3 submissions compared, alike: 1" in said
    assert "ada, bo" in said
    assert "broken:" in said
    assert "Read both before you say anything" in said
    assert main(["similar", unit.name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"][0]["cells"] == ["add"]
    for learner in ("bo", "cy"):
        (mini / "grading" / "submitted" / learner / unit.name / "mini.ipynb").unlink()
    with pytest.raises(CourseError, match="two are needed"):
        similar(mini, unit.name)


def test_code_that_python_can_not_read_still_has_tokens():
    """A learner's last state may have a bracket open, or a magic in it."""
    one, other = tokens("%timeit add(first, 2\nx = 'a"), tokens("%timeit plus(second, 2\ny = 'a")
    assert one == other
    assert len(one) > 5
