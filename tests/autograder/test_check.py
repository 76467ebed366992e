"""`autograder check` sees tests that are too weak or too strict, and says which."""

import json

import pytest
from mini_course import ROOT, WRONG, write_sample

from autograder.authoring import borrowed, degenerate, runner
from autograder.authoring.agreement import disagreements, same
from autograder.authoring.check import BOTH, check, table
from autograder.authoring.degenerate import ANSWERS
from autograder.authoring.lint import notes
from autograder.cli import main
from autograder.course import CourseError, find_units
from autograder.submissions.verdict import Verdict

UNITS = [unit.name for unit in find_units(ROOT)]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch, request):
    monkeypatch.setattr(runner, "SECONDS_PER_CELL", 2)
    if "mini" in request.fixturenames:  # of the library, only what a test asks for: it takes a second to go through
        monkeypatch.setattr(borrowed, "_library", lambda: ())


def test_tests_that_tell_right_from_wrong_are_fine(mini):
    """Counts, scores and the for-real cell left out; a loop without end is a wrong answer like any other."""
    report = check(mini)
    assert report.fine, table(report)
    assert report.as_json() == {
        "units": {
            "00-mini": {
                "master": {"score": 3, "max": 3},
                "handout": {"score": 0, "crashed": False},
                "exercises": {
                    "add": {
                        **{"points": 3, "wrong_caught": 5, "wrong_total": 5, "right_accepted": 2, "right_total": 2},
                        **{"degenerate_refused": len(ANSWERS), "degenerate_total": len(ANSWERS)},
                        **{"told": 0, "misled": 0},
                    }
                },
                "findings": [],
            }
        }
    }


def test_a_wrong_answer_that_keeps_its_points_is_a_finding(mini):
    write_sample(mini, "wrong", "not_wrong_at_all", "return b + a", loses="add-test")
    report = check(mini)
    assert report.units["00-mini"].exercises["add"].wrong_caught == 5
    assert "wrong/not_wrong_at_all: keeps its points in add-test: too weak a test" in table(report)


def test_a_right_answer_that_is_refused_is_a_finding(mini):
    write_sample(mini, "right", "refused", "return str(a + b)")
    report = check(mini)
    assert report.units["00-mini"].exercises["add"].right_accepted == 2
    assert "right/refused: loses add-test, too strict a test" in table(report)


def test_a_master_that_loses_points_is_a_finding(mini):
    master = find_units(mini)[0].master
    master.write_text(master.read_text().replace("return a + b ", "return a + b + 1 "))
    assert "master: loses add-test" in table(check(mini))


def test_a_handout_that_crashes_is_a_finding(mini):
    """A handout must report "not attempted" in each test cell, not an error of its own."""
    master = find_units(mini)[0].master
    master.write_text(master.read_text().replace("def add(a, b):", "def add(a):"))
    report = check(mini)
    assert report.units["00-mini"].handout_crashed
    assert "handout: add-test is not reported as not attempted" in table(report)


def test_too_few_samples_are_a_finding(mini):
    (mini / "tests/submissions/00-mini/wrong/subtracts.py").unlink()
    assert "add: has 4 wrong and 2 right samples, needs 5 and 2" in table(check(mini))


@pytest.mark.parametrize(
    ("old", "new"),
    [("loses: add-test", ""), ("loses: add-test", "loses: mul-test"), ('"add"', '"mul"'), ("A way to add.", "")],
)
def test_a_sample_out_of_form_is_a_sentence_with_its_name(mini, old, new):
    sample = mini / "tests/submissions/00-mini/wrong/subtracts.py"
    sample.write_text(sample.read_text().replace(old, new))
    with pytest.raises(CourseError, match=r"subtracts\.py"):
        check(mini)


MISTAKE = """
[adds_twice]
about = "Adds b twice."
loses = ["add-test"]
changes = [["a + b", "a + b + b"]]
"""


def test_a_mistake_is_a_change_of_an_answer(mini):
    """Of the master's, or of the right sample that is named; one that changes nothing keeps its points."""
    mistakes = mini / "tests/submissions/00-mini/wrong/add.toml"
    of_another = (
        '[sums_one]\nabout = "Forgets b."\nloses = ["add-test"]\nof = "by_sum"\nchanges = [["((a, b))", "((a,))"]]'
    )
    mistakes.write_text(MISTAKE + of_another)
    report = check(mini)
    assert report.fine, table(report)
    assert report.units["00-mini"].exercises["add"].wrong_caught == len(WRONG) + 2
    mistakes.write_text(MISTAKE.replace("a + b + b", "b + a"))
    assert "wrong/add/adds_twice: keeps its points in add-test: too weak a test" in table(check(mini))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"a + b"', '"a - b"', "stands 0 times"),
        ('"a + b"', '"a"', "times in the answer, and must once"),
        ("about", "abuot", "needs about, loses, changes"),
        ('loses = ["add-test"]', "loses = []", "needs a docstring (or about)"),
        ('["add-test"]', '["mul-test"]', "has no mul-test"),
        ('[["a + b", "a + b + b"]]', '["a + b"]', "needs about, loses, changes"),
        ("[adds_twice]", "[adds_twice", "needs about, loses, changes"),
        ("changes", 'of = "by_magic"\nchanges', "by_magic"),
    ],
)
def test_a_mistake_out_of_form_is_a_sentence_with_its_file(mini, old, new, says):
    (mini / "tests/submissions/00-mini/wrong/add.toml").write_text(MISTAKE.replace(old, new))
    with pytest.raises(CourseError, match=r"add\.toml") as raised:
        check(mini)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "text", "counted", "finding"),
    [
        ("told", "1  + 2", "1/0/5", ""),
        ("told", "subtracts", "0/0/6", "wrong/add/adds_twice: isn't told ['subtracts']"),
        ("misleads", "subtracts", "0/0/6", ""),
        ("misleads", "1 + 2", "0/1/5", "wrong/add/adds_twice: is told ['1 + 2'], which is not the mistake"),
    ],
)
def test_what_a_message_must_tell_and_must_not(mini, kind, text, counted, finding):
    """Guards against a message that names another mistake than the learner's, and a record of it that never fails."""
    mistakes = mini / "tests/submissions/00-mini/wrong/add.toml"
    mistakes.write_text(f"{MISTAKE}{kind} = ['{text}']\n")
    report = check(mini)
    assert counted in table(report)
    assert finding in table(report)
    assert report.fine == (not finding)


def test_a_file_says_so_below_its_docstring(mini):
    write_sample(mini, "wrong", "no_sum", "return 0", loses="add-test\ntold: 1 + 2 | expected: 3\nmisleads: a copy")
    assert "1/0/5" in table(check(mini))


def test_both_modes_must_agree(mini):
    """Guards against an answer that is right in the notebook and wrong in grading, or is told something else there."""
    # The sandbox has no environment.
    seen = "return a + b + (0 if __import__('os').environ.get('PYTEST_CURRENT_TEST') else 1)"
    write_sample(mini, "right", "by_environment", seen)
    said = table(check(mini, mode="both"))
    assert "! apart: right/by_environment: loses add-test" in said
    assert "! right/by_environment: add-test: beside the answer (3, ''), apart (0.0, '✗ add" in said
    (mini / "tests/submissions/00-mini/right/by_environment.py").unlink()
    report = check(mini, mode="both")
    assert report.fine, table(report)


def test_messages_may_differ_for_a_reason(mini):
    body = "raise ValueError(__import__('os').environ.get('PYTEST_CURRENT_TEST', 'none'))"
    write_sample(mini, "wrong", "raises", body, loses="add-test\nmodes_differ: an environment")
    report = check(mini, mode="both")
    assert report.fine, table(report)
    write_sample(mini, "wrong", "raises", "raise ValueError", loses="add-test\nmodes_differ: an environment")
    assert "wrong/raises: modes_differ, and the messages are the same" in table(check(mini, mode="both"))


NEAR = "got: 1.76388; 96 of 256 elements differ (tolerance 2e-05)"


@pytest.mark.parametrize(
    ("other", "agree"),
    [
        (NEAR, True),
        (NEAR.replace("1.76388", "1.76387"), True),
        (NEAR.replace("1.76388", "1.76488"), False),
        (NEAR.replace("96 of", "95 of"), False),
        (NEAR.replace("2e-05", "2e-06"), False),
        (NEAR.replace("differ", "differ!"), False),
        (NEAR + " 1.5", False),
    ],
)
def test_the_last_digit_of_a_sum_is_no_disagreement(other, agree):
    """Guards against a finding at every tenth run: two processes may add a product up in another order."""
    assert same((0.0, NEAR), (0.0, other)) == agree
    assert not same((0.0, NEAR), (1.0, NEAR))


def test_draws_of_two_processes_are_no_disagreement():
    """Unit 05's sampling: another seed sees the mistake in another text, or in more of the runs."""

    def verdicts(message, points=0.0):
        return {"wrong/one": {"add-test": Verdict(points, 3.0, message)}}

    counted = (
        "three drafts: the text: (1, 2, {}) in 1500 runs\n got: {} %, too far off for chance\n likely cause: a place"
    )
    one, other = verdicts(counted.format(2, 0.3)), verdicts(counted.format(1, 0.07))
    assert not disagreements(one, other, set())
    assert not disagreements(one, verdicts("got: 0, 9 times of 300"), set())
    assert disagreements(one, verdicts("the answer's type"), set())
    assert disagreements(one, verdicts("", points=3.0), set())


def test_bytes_of_two_processes_are_no_disagreement():
    """Unit 09's memory: an object of some hundred bytes is there in one process and not in the other."""

    def verdicts(got):
        message = (
            f"the second thousand of feeds: bytes of memory that the largest takes\n got: {got}\n likely cause: a list"
        )
        return {"wrong/one": {"add-test": Verdict(0.0, 3.0, message)}}

    assert not disagreements(verdicts(7576), verdicts(7872), set())
    assert disagreements(verdicts(7576), {"wrong/one": {"add-test": Verdict(3.0, 3.0, "")}}, set())


def change_the_test(root, old, new):
    master = find_units(root)[0].master
    assert old in master.read_text()
    master.write_text(master.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("test", "answers"),
    [
        ("for a, b in zip(add(1, 2) or (), [3]): expect_equal(a, b, 'a part')", ["()", "[]", "{}", "None", '""', "0"]),
        (
            "expect_equal(type(add(1, 2)).__name__ != 'str', True, 'no text')",
            ["()", "None", "NaN", "the first argument"],
        ),
        ("expect_equal(float(add(1, 2)) < 9, True, 'small')", ["0", "True", "the first argument"]),
        ("expect_equal(add(1, 2) == 3, True, 'the sum')", ["an object that has everything"]),
    ],
)
def test_a_test_that_a_thoughtless_answer_passes_is_a_finding(mini, test, answers):
    """Guards against points for an answer of no parts, nothing, NaN, or an object that agrees with all."""
    change_the_test(mini, 'expect_equal(add(1, 2), 3, "1 + 2")', test)
    change_the_test(mini, 'expect_equal(add(-1, 2), 1, "a negative number")', "expect_equal(1, 1, 'one')")
    said = table(check(mini))
    for answer in answers:
        assert f"drill/add: everything = {answer}: gets 3 points: too weak a test" in said
    assert f"{len(ANSWERS)} of {len(ANSWERS)}" not in said


def test_apart_from_the_learner_answers_without_a_thought_are_given_too(mini):
    """Guards against a check of tests beside the learner's code alone: credit is given in the other mode."""
    change_the_test(mini, 'expect_equal(add(1, 2), 3, "1 + 2")', "add(1, 2) == () or expect_equal(add(1, 2), 3, 'sum')")
    change_the_test(mini, 'expect_equal(add(-1, 2), 1, "a negative number")', "expect_equal(1, 1, 'one')")
    said = table(check(mini, mode="split"))
    assert "drill/add: everything = (): gets 3 points: too weak a test" in said
    assert "the master's own answer loses points" not in said


def test_a_sandbox_that_is_ended_costs_no_sample(mini, monkeypatch):
    """Guards against findings about answers that nobody ran: the system may end the warm process on a busy machine."""
    make, made = runner._make_sandbox, []

    def make_and_end_the_first(master):
        make(master)
        if not made:
            runner._sandbox._process.kill()
            runner._sandbox._process.wait()
        made.append(master)

    monkeypatch.setattr(runner, "_make_sandbox", make_and_end_the_first)
    report = check(mini, mode="split")
    assert report.fine, table(report)


def test_a_thoughtless_answer_that_is_right_is_on_record(mini):
    """With a reason, and as long as it is right."""
    change_the_test(mini, 'expect_equal(add(1, 2), 3, "1 + 2")', "expect_equal(add(0, 0), 0, 'nothing')")
    change_the_test(mini, 'expect_equal(add(-1, 2), 1, "a negative number")', "expect_equal(1, 1, 'one')")
    record = mini / "tests/submissions/00-mini" / degenerate.ON_RECORD
    lines = [f"'everything = {kind}' = 'nothing and nothing'" for kind in ("0", "the first argument")]
    record.write_text("[add]\n" + "\n".join([*lines, "'everything = zeros of the right shape' = 'the same'"]))
    findings = check(mini).units["00-mini"].findings
    assert [finding for finding in findings if finding.startswith("drill")] == []
    record.write_text(record.read_text() + "\n'everything = None' = 'a guess'")
    assert "drill/add: everything = None is on record as right, and gets no points" in table(check(mini))
    record.write_text("[add]\n'everything = None' = 3")
    with pytest.raises(CourseError, match="a reason"):
        check(mini)


METHODS = """def add(a, b):
    return a + b


class Pair:
    def __init__(self, a, b):
        self.a, self.b = a, b

    def __len__(self):
        return 2

    def total(self):
        return self.a + self.b

    @property
    def first(self):
        return self.a
"""


def ask_methods(root, methods, hidden):
    master = find_units(root)[0].master
    text = master.read_text()
    begin, end = text.index("def add(a, b):"), text.index("# %% nbgrader", text.index("def add(a, b):"))
    text = text[:begin] + methods + "\n\n" + text[end:]
    master.write_text(text.replace('expect_equal(add(-1, 2), 1, "a negative number")', hidden))


def test_a_method_that_is_given_nothing_to_change_and_returns_nothing_is_no_finding(mini):
    """Guards against an answer that is called a change of its arguments, changes none, and is right."""
    methods = METHODS + "\n    def raise_by(self, more):\n        self.a += more\n"
    hidden = (
        'pair = Pair(1, 2); pair.raise_by(4); expect_equal([pair.first, pair.total(), len(pair)], [5, 7, 2], "5, 2")'
    )
    ask_methods(mini, methods, hidden)
    assert [line for line in table(check(mini)).splitlines() if "drill" in line] == []


def test_each_method_is_asked(mini):
    """Guards against a method that no test looks at, while the others are right."""
    ask_methods(mini, METHODS, 'expect_equal([Pair(1, 2).total(), len(Pair(1, 2))], [3, 2], "a pair")')
    said = [line for line in table(check(mini)).splitlines() if "drill" in line]
    assert said
    assert all("Pair.first = " in line for line in said), said


def test_a_drill_that_does_not_run_says_so(mini, monkeypatch):
    """Guards against answers that are refused because nothing works: the right one would be, too."""
    monkeypatch.setattr(
        degenerate, "PRELUDE", degenerate.PRELUDE + "\ndef _replace(owner, name, _):\n    del owner[name]"
    )
    assert "drill/add: the master's own answer loses points" in table(check(mini))


def test_an_answer_that_the_library_has_is_a_finding_until_it_is_on_record(mini, monkeypatch):
    """Guards against points by an import that nobody knows of."""
    import operator

    monkeypatch.setattr(borrowed, "_library", lambda: (("operator.add", lambda a, b: 0),))
    assert operator.add(1, 2) == 3
    assert "add: operator.add answers it, which is not on record" in table(check(mini))
    (mini / borrowed.RECORD).write_text('{"00-mini": {"add": {"operator.add": "Python has it."}}}')
    assert check(mini).fine
    assert notes(mini) == ["00-mini: add is operator.add under another name: Python has it."]
    change_the_test(mini, 'expect_equal(add(-1, 2), 1, "a negative number")', "expect_equal(add(1, b=2), 3, 'by name')")
    assert "add: operator.add is on record in solutions/borrowed.json, and doesn't answer it" in table(check(mini))
    (mini / borrowed.RECORD).write_text('{"00-mini": {"add": {"operator.gone": "Python has it."}}}')
    with pytest.raises(CourseError, match=r"operator\.gone"):
        check(mini)


def test_exit_codes_and_json(mini, monkeypatch, capsys):
    """0 fine, 1 something is off, 2 no such unit: what CI scripts hang on."""
    monkeypatch.chdir(mini)
    assert main(["check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["units"]["00-mini"]["master"] == {"score": 3, "max": 3}
    (mini / "tests/submissions/00-mini/wrong/subtracts.py").unlink()
    assert main(["check", "00-mini"]) == 1
    assert main(["check", "nonsense"]) == 2


def test_no_further_than_a_mistakes_own_tests(mini):
    """Guards against a short check that doesn't see what the long one sees."""
    write_sample(mini, "wrong", "not_wrong_at_all", "return b + a", loses="add-test")
    assert check(mini, near=True).as_json() == check(mini).as_json()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("unit", UNITS)
def test_the_course_s_own_tests_tell_right_from_wrong(unit, root, monkeypatch):
    """Master 100 %, handout 0, every wrong sample caught, every right one accepted."""
    monkeypatch.setattr(runner, "SECONDS_PER_CELL", 60)
    report = check(root, [unit], near=True)
    assert report.fine, table(report)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("unit", UNITS)
def test_a_mistake_costs_no_other_exercise(unit, root, monkeypatch):
    """Nor do the two modes differ in points or in words."""
    monkeypatch.setattr(runner, "SECONDS_PER_CELL", 60)
    report = check(root, [unit], BOTH)
    assert report.fine, table(report)
