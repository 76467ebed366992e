"""Small mistakes in the master's answers, and what is said of those that no test notices."""

import pytest
from mini_course import ROOT

from autograder.authoring import mutate as mutate_module
from autograder.authoring import runner
from autograder.authoring.mutants import mutants
from autograder.authoring.mutate import mutate, table
from autograder.cli import main
from autograder.course import CourseError, find_units

UNIT = "00-mini"
SURVIVOR = """
[[mutant]]
exercise = "add"
was = "return sorted((a + b,))[0]"
becomes = "return sorted((a + b,))[-1]"
why = "There is one alone, first and last."
"""


def lines(source: str) -> set[str]:
    return {mutant.becomes for mutant in mutants(source)}


@pytest.mark.parametrize(
    ("source", "becomes"),
    [
        ("x = a < b", {"x = a <= b", "x = a > b"}),
        ("x = a is None", {"x = a is not None"}),
        ("x = a - b", {"x = a + b", "x = b - a"}),
        ("x += 2", {"x -= 2", "x += 3", "x += 1", "pass"}),
        ("x = a and not b", {"x = a or not b", "x = not b", "x = a", "x = a and b"}),
        ("x[0] = y", {"pass", "x[1] = y", "x[-1] = y"}),
        ("x = y[:n]", {"x = y[:n + 1]", "x = y[:n - 1]", "x = y[:]"}),
        ("x = y[0:n]", {"x = y[1:n]", "x = y[-1:n]", "x = y[0:n + 1]", "x = y[0:n - 1]", "x = y[0:]"}),
        ("x = f(a, b, out=c)", {"x = f(b, a, out=c)", "x = f(a, b)", "x = f(a, out=c)"}),
        ("x = f(*a, b)", {"x = f(b, *a)", "x = f(*a)"}),
        ("x = y.clone()", {"x = y"}),
        ("x = y.to(z.device)", set()),
        ("x = y.amax(dim=1)", {"x = y.amin(dim=1)", "x = y.amax()", "x = y.amax(dim=2)", "x = y.amax(dim=0)"}),
        ("x = y.to(torch.float32)", {"x = y", "x = y.to(torch.float16)"}),
        ("x = range(n)", {"x = range(n + 1)", "x = range(n - 1)", "x = range(1, n)"}),
        ("x = 0.5", {"x = 1.0", "x = 0.25"}),
        ("x = 4000", {"x = 8000", "x = 2000.0"}),
        ("x = max(a, b)", {"x = min(a, b)", "x = max(a)"}),
        ("x = torch.empty(n, device=d)", set()),
        ("x = zip(a, *b, strict=True)", {"x = zip(*b, a, strict=True)"}),
        ("raise ValueError('no')", {"pass"}),
        ("import os", set()),
        ("x: int | str = y", set()),
        ("x = f'{y + 1}'", set()),
        ("def f(a: int | None):\n    'What 1 + 1 is.'\n    return a", set()),
    ],
)
def test_mistakes(source, becomes):
    """Guards against an operator that is lost, and against changes that are none: words, hints of type, devices."""
    assert lines(source) == becomes


def test_each_mutant_is_made_once_and_is_no_copy():
    source = "def f(n):\n    if n - 1 > 0 and n > 0:\n        return [n * n for n in range(n)]\n    return n"
    found = [mutant.source for mutant in mutants(source)]
    assert len(found) == len(set(found)) > 10
    assert all(compile(text, "mutant", "exec") for text in found)


def test_the_line_of_a_mistake_is_named():
    found = mutants("def f(n):\n    for i in range(n):\n        g(i)\n    return n + 1")
    assert ("return n + 1", "return n + 2") in {(mutant.was, mutant.becomes) for mutant in found}
    assert ("for i in range(n):", "for i in range(n + 1):") in {(mutant.was, mutant.becomes) for mutant in found}


@pytest.fixture
def summed(mini):
    """The mini course whose answer is the first of one sum: whether first or last, no test can tell."""
    master = next((mini / "solutions" / UNIT).glob("*.py"))
    master.write_text(master.read_text().replace("return a + b  #", "return sorted((a + b,))[0]  #"))
    return mini


def test_what_no_test_notices_survives(summed):
    exercise = mutate(summed, [UNIT])[UNIT]["add"]
    assert [mutant.becomes for mutant in exercise.survivors] == ["return sorted((a + b,))[-1]"]
    assert exercise.killed == exercise.mutants - 1
    assert not exercise.fine


def test_what_is_as_right_is_on_record(summed):
    """With a reason; it then counts neither as killed nor as wrong."""
    record = summed / "tests/submissions" / UNIT / mutate_module.EQUIVALENT
    record.write_text(SURVIVOR)
    exercise = mutate(summed, [UNIT])[UNIT]["add"]
    assert (exercise.survivors, exercise.equivalent, exercise.score, exercise.fine) == ([], 1, 1.0, True)
    record.write_text(SURVIVOR + SURVIVOR.replace("[-1]", "[-2]"))
    exercise = mutate(summed, [UNIT])[UNIT]["add"]
    assert not exercise.fine
    assert "no such mutant survives" in exercise.findings[0]


def test_an_entry_is_for_one_mutant(summed):
    """Guards against a reason for one line that hides the same mistake in another."""
    master = next((summed / "solutions" / UNIT).glob("*.py"))
    twice = "if a > 0:\n        return sorted((a + b,))[0]\n    return sorted((a + b,))[0]  #"
    master.write_text(master.read_text().replace("return sorted((a + b,))[0]  #", twice))
    record = summed / "tests/submissions" / UNIT / mutate_module.EQUIVALENT
    record.write_text(SURVIVOR)
    exercise = mutate(summed, [UNIT])[UNIT]["add"]
    assert exercise.equivalent == 1
    assert "return sorted((a + b,))[-1]" in [mutant.becomes for mutant in exercise.survivors]


@pytest.mark.parametrize("record", ["[[mutant", "[[mutant]]\nexercise = 'add'", SURVIVOR.replace("why", "because")])
def test_a_record_out_of_form_is_a_sentence_with_its_file(mini, record):
    (mini / "tests/submissions" / UNIT / mutate_module.EQUIVALENT).write_text(record)
    with pytest.raises(CourseError, match=r"equivalent\.toml"):
        mutate(mini, [UNIT])


def test_a_master_that_loses_is_mended_first(mini):
    """Guards against mutants that are all killed by a test that fails in any case."""
    master = next((mini / "solutions" / UNIT).glob("*.py"))
    master.write_text(master.read_text().replace("return a + b  #", "return a - b  #"))
    with pytest.raises(CourseError, match="loses add-test"):
        mutate(mini, [UNIT])


def test_table_and_exit_codes(summed, monkeypatch, capsys):
    monkeypatch.chdir(summed)
    assert main(["mutate", UNIT]) == 1
    said = capsys.readouterr().out
    assert "add" in said
    assert "! add: return sorted((a + b,))[0]\n      return sorted((a + b,))[-1]" in said
    (summed / "tests/submissions" / UNIT / mutate_module.EQUIVALENT).write_text(SURVIVOR)
    assert main(["mutate", UNIT]) == 0
    assert "100.0%" in capsys.readouterr().out


def test_a_sample_is_the_same_at_every_call(summed):
    one, other = (mutate(summed, [UNIT], sample=2)[UNIT]["add"] for _ in range(2))
    assert one == other
    assert one.mutants == 2
    assert table({UNIT: {"add": one}})


def test_what_never_ends_is_told_by_what_it_has_used(mini, monkeypatch):
    """Guards against hundreds of mutants that each take the whole time of a cell, which is much on a busy machine."""
    monkeypatch.setattr(runner, "SECONDS_PER_CELL", 3600)
    monkeypatch.setattr(mutate_module, "CPU_SECONDS", 1)
    master = next((mini / "solutions" / UNIT).glob("*.py"))
    endless = "while a > 10**6:\n        b += 1\n    return a + b  #"
    master.write_text(master.read_text().replace("return a + b  #", endless))
    exercise = mutate(mini, [UNIT])[UNIT]["add"]
    assert exercise.mutants - exercise.killed == len(exercise.survivors)
    assert "while a < 10 ** 6:" not in [mutant.becomes for mutant in exercise.survivors]


UNITS = [unit.name for unit in find_units(ROOT)]


def test_the_course_notices_all_of_a_sample():
    """Guards against cases that were lost."""
    units = mutate(ROOT, UNITS, sample=4)
    assert all(exercise.score == 1.0 for unit in units.values() for exercise in unit.values()), table(units)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_of_the_course_notices_enough(unit):
    """And what is on record as right is there, and survives."""
    units = mutate(ROOT, [unit])
    assert all(exercise.fine for exercise in units[unit].values()), table(units)
