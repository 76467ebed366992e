"""Grading with tests and learner apart: what a learner sees of IPython, failure domains, and whose fault it was."""

import contextlib
import copy
import json
import time
import types

import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell
from three_exercises import GOOD, NAMES, master_with, points, shown

from autograder.isolation.patience import Usage
from autograder.notebooks import grade_id, is_test
from autograder.submissions import split
from autograder.submissions.paper import Paper
from autograder.submissions.verdict import Graded, Reason
from fridge.testing import CountingPool, Wrong, expect_equal

# --- what a learner's cells show ---------------------------------------------------------------------------------


def test_a_last_value_is_shown_with_its_rich_form(grade):
    """Guards against "Out[1]: ..." printed as text, which loses tables and pictures."""
    (output,) = shown(grade(before={"one": ["from IPython.display import HTML\nHTML('<b>bold</b>')"]}))
    assert output["output_type"] == "display_data"
    assert output["data"]["text/html"] == "<b>bold</b>"
    assert "Out[" not in output["data"]["text/plain"]


def test_a_figure_is_shown(grade):
    """Guards against plots that are missing from the autograded notebook."""
    graded = grade(before={"one": ["import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"]})
    assert any("image/png" in output.get("data", {}) for output in shown(graded))


def test_magics_and_shell_commands_work(grade):
    """Guards against cells that run as plain Python."""
    graded = grade(
        before={"one": ["%%capture kept\nprint('inside')", "print(kept.stdout)\n!echo shell", "%timeit -n1 -r1 1"]}
    )
    assert "inside" in shown(graded, 1)[0]["text"]
    assert "shell" in str(shown(graded, 1))
    assert "ns" in str(shown(graded, 2)) or "µs" in str(shown(graded, 2))


def test_pip_by_another_name_gives_up_at_once(grade, monkeypatch):
    """Guards against a cell that looks for a network until its time is over, and a process that is replaced for it."""
    monkeypatch.setattr(split, "SECONDS_PER_CELL", 20)
    pip = "import subprocess, sys\npip = [sys.executable, '-m', 'pip', 'install', 'einops']\n"
    graded = grade(before={"one": [pip + "print(subprocess.run(pip, capture_output=True, text=True).stderr)"]})
    said = shown(graded)[0]["text"]
    assert "No matching distribution found" in said
    assert "Retrying" not in said


def test_stderr_and_warnings_cost_nothing_and_are_shown(grade):
    """Guards against nbgrader's rule that anything on stderr is worth 0 points."""
    noisy = (
        "import sys, warnings\n"
        "def one(a, b):\n    warnings.warn('old')\n    print('x', file=sys.stderr)\n    return a + b\n"
        "print('seen', file=sys.stderr)"
    )
    graded = grade(answers={"one": noisy})
    assert points(graded) == [2, 2, 2]
    assert {"output_type": "stream", "name": "stderr", "text": "seen\n"} in shown(graded)


def test_an_error_in_a_cell_is_shown_and_the_next_cells_run(grade):
    """Guards against one broken experiment that costs all points."""
    graded = grade(before={"one": ["1 / 0"], "two": ["print('next')"]})
    assert shown(graded)[0]["ename"] == "ZeroDivisionError"
    assert any("1 / 0" in line for line in shown(graded)[0]["traceback"])
    assert points(graded) == [2, 2, 2]


def test_half_a_character_is_shown_and_kills_nobody(grade):
    """Guards against text that can't be encoded."""
    assert points(grade(before={"one": ["print('\\ud800')", "raise ValueError('\\ud800')"]})) == [2, 2, 2]


@pytest.mark.parametrize(
    "shows", ["print('\\ud800')", "from IPython.display import HTML, display\ndisplay(HTML('x' * 2**25))"]
)
def test_a_cell_whose_output_can_not_cross_has_run(grade, shows):
    """Guards against a cell that isn't run again after a crash, so that exercises behind it miss its names."""
    before = {"one": [f"def add(a, b):\n    return a + b\n{shows}"]}
    crash, uses = "def one(a, b):\n    import os; os._exit(1)", "def two(a, b):\n    return add(a, b)"
    assert points(grade(before=before, answers={"one": crash, "two": uses})) == [0, 2, 2]


def test_cells_that_say_nothing_when_they_run_again_cost_nothing(grade):
    """Guards against the points of all exercises behind a cell whose output can't cross the second time."""
    crash = "def one(a, b):\n    import os; os._exit(1)"
    patched = (
        "from autograder.isolation.learner import Server\n"
        "run = Server._run_cell\n"
        "def odd(self, source):\n    run(self, source)\n    raise ValueError('nothing to show')\n"
        "Server._run_cell = odd"
    )
    assert points(grade(before={"one": [patched]}, answers={"one": crash})) == [0, 2, 2]


# --- failure domains ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ("import os; os._exit(1)", "the process ended"),
        ("import ctypes; ctypes.string_at(0)", "the process ended"),
        ("while True: pass", "no answer within 3 seconds"),
        ("exit()", "raised"),
        ("raise KeyboardInterrupt", "raised"),
    ],
)
def test_an_exercise_that_ends_the_process_costs_itself_alone(grade, ends, words):
    """Guards against one crash or loop that takes the other exercises' points."""
    graded = grade(answers={"two": f"def two(a, b):\n    {ends}"})
    assert points(graded) == [2, 0, 2]
    assert words in graded.verdicts["two-test"].message
    assert not graded.verdicts["two-test"].courses_fault


def test_definitions_from_before_a_crash_are_there_after_it(grade):
    """Guards against a new process that doesn't know the learner's earlier cells."""
    graded = grade(
        before={"one": ["OFFSET = 0"], "two": ["import os; os._exit(0)"], "three": ["print(OFFSET, one(1, 1))"]},
        answers={"three": "def three(a, b):\n    return one(a, b) + OFFSET"},
    )
    assert points(graded) == [2, 2, 2]
    assert shown(graded, 6)[0]["text"] == "0 2\n"
    assert "was stopped" in shown(graded, 3)[0]["evalue"]


def test_what_a_call_left_behind_does_not_cost_the_next_exercise_its_cell(grade):
    """Guards against a thread of an earlier exercise that ends the process while another one's cell runs."""
    late = (
        "def one(a, b):\n    import os, threading\n    threading.Timer(0.2, os._exit, (0,)).start()\n    return a + b"
    )
    graded = grade(answers={"one": late}, before={"two": ["import time; time.sleep(0.5)"]})
    assert points(graded) == [2, 2, 2]


KEEPS = """
from fridge.testing import exercise, expect_equal
kept = []
def keep(text):
    kept.append(text)
with exercise('{0}'):
    {0}(keep, 2)
    expect_equal(len(kept), 2, 'texts kept')
"""


def test_what_one_test_kept_leaves_the_next_its_memory(grade, monkeypatch):
    """Guards against a test whose own functions hold what an answer made it keep, until the others have no room."""
    monkeypatch.setattr(split, "MAX_MEMORY", 500 * 2**20)
    fill = "def {0}(keep, times):\n    for _ in range(times):\n        keep('x' * 30_000_000 + chr(128_024))"  # 120 MB
    graded = grade(test=KEEPS, others=KEEPS, answers={name: fill.format(name) for name in NAMES})
    assert points(graded) == [2, 2, 2], [verdict.message for verdict in graded.verdicts.values()]


def test_the_notebooks_time_ends_every_wait(grade, monkeypatch):
    """Guards against many cells, each within its limit, that together take for ever and lose all points."""
    monkeypatch.setattr(split, "SECONDS_PER_NOTEBOOK", 4)
    graded = grade(before={"two": ["import time; time.sleep(2)"] * 20})
    assert points(graded) == [2, 0, 0]
    assert "the whole notebook may run for 4 seconds" in graded.verdicts["three-test"].message


def test_cells_that_end_every_process_but_the_first_are_left_out(grade, monkeypatch):
    """Guards against a process for each of them at every step, and against the course's name for what they do."""
    later = time.time() + 3
    monkeypatch.setattr(split, "MOST_REPLAYS", 4)
    ends = [f"import os, time\nif time.time() > {later}: os._exit({number})" for number in range(6)]
    crash = f"import os, time\ntime.sleep(max(0, {later} - time.time()))\nos._exit(0)"
    graded = grade(before={"one": [*ends, crash]})
    assert points(graded) == [0, 2, 2]
    assert "4 cells in a row, which ran before" in graded.verdicts["one-test"].message
    assert not graded.verdicts["one-test"].courses_fault


def test_a_thousand_of_them_are_no_recursion(monkeypatch):
    """Guards against a RecursionError, which was taken for a broken test: an alarm that a learner can raise."""
    made = []

    class Ends:
        def __init__(self, *_):
            made.append(self)

        def run_cell(self, source):
            raise split.LearnerLost("the process ended")

        def close(self):
            pass

    class Room:
        usage = staticmethod(lambda: Usage())

        def learner(self):
            return None, types.SimpleNamespace()

    monkeypatch.setattr(split, "Session", Ends)
    monkeypatch.setattr(split, "Channel", lambda connection: connection)
    run = split._Run(Paper(master_with()), Room())
    run._replay = [f"print({number})" for number in range(3000)]
    with pytest.raises(split.LearnerLost, match="in a row"):
        run._learner()
    assert len(made) == split.MOST_REPLAYS


# --- whose fault ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "test",
    [
        "from fridge.testing import exercise\nwith exercise('{0}'):\n    no_such_name",
        "import no_such_module",
        "from fridge.testing import no_such_helper",
        "1 / 0",
        "this is no Python",
        "while True: pass",
    ],
)
def test_a_broken_test_is_the_courses_fault(grade, test):
    """Guards against a learner who is told that a mistake of the course's is theirs."""
    verdict = grade(test=test).verdicts["one-test"]
    assert verdict.courses_fault
    assert verdict.points == 0
    assert "course's fault" in verdict.message


@pytest.mark.parametrize(
    "answer",
    [
        "one = None\ndel one",
        "def one(a, b):\n    return no_such_name",
        "def one(a, b):\n    import no_such_module",
        "def one(a, b):\n    raise SyntaxError('mine')",
        "def one(a, b):\n    while True: pass",
        "def one(a, b): return",
        "raise ValueError",
    ],
)
def test_a_learners_mistake_is_never_the_courses_fault(grade, answer):
    """Guards against an alarm for the instructor that a learner can raise."""
    graded = grade(answers={"one": answer})
    assert points(graded) == [0, 2, 2]
    assert not graded.verdicts["one-test"].courses_fault


@pytest.mark.parametrize("number", ["n * (2**61 - 1)", "__import__('fractions').Fraction(n * (2**61 - 1), 2)"])
def test_numbers_of_one_hash_raise_no_alarm(grade, number):
    """Guards against a test that takes the square of what it was given in a set, and is called broken for it."""
    test = "from fridge.testing import exercise, expect_equal\nwith exercise('{0}'):\n    SET"
    test = test.replace("SET", "expect_equal(len(set({0}(1, 2))), 3, 'different ones')")
    graded = grade(test=test, answers={"one": f"def one(a, b):\n    return [{number} for n in range(3, 40_000, 2)]"})
    assert points(graded) == [0, 2, 2]
    assert not graded.verdicts["one-test"].courses_fault
    assert "more than 1000 whole numbers beyond 64 bits" in graded.verdicts["one-test"].message


# --- scores ---------------------------------------------------------------------------------------------------------


def test_a_score_is_the_first_output_of_a_test_cell_and_explicit(grade):
    """Guards against nbgrader's guesses from what a cell shows."""
    graded = grade(answers={"two": "def two(a, b):\n    return 0"})
    for index, worth in ((1, "2.0"), (3, "0.0"), (5, "2.0")):
        assert graded.outputs[index][0]["data"] == {"text/plain": worth}
    assert graded.outputs[3][1]["output_type"] == "error"


@pytest.mark.parametrize("tag", ["for-real", "scoreboard", "raises-exception"])
def test_no_tag_makes_a_test_cell_go_away(grade, tag):
    """Guards against an unexecuted test cell, which nbgrader gives all points."""

    def tag_tests(notebook):
        for cell in filter(is_test, notebook.cells):
            cell.metadata.tags = [tag]

    graded = grade(answers={"one": "def one(a, b): return 0"}, edit=tag_tests)
    assert points(graded) == [0, 2, 2]
    assert graded.outputs[1][0]["data"] == {"text/plain": "0.0"}


def test_copies_and_strangers_that_claim_points_get_their_own_zero(grade):
    """Guards against a graded cell without outputs, which nbgrader gives all points."""

    def add(notebook):
        copied = copy.deepcopy(next(cell for cell in notebook.cells if grade_id(cell) == "one-test"))
        stranger = new_code_cell("100", metadata={"nbgrader": {"grade": True, "grade_id": "bonus", "points": 100}})
        notebook.cells += [copied, stranger]

    graded = grade(answers={"one": "def one(a, b): return 0"}, edit=add)
    assert set(graded.verdicts) == {f"{name}-test" for name in NAMES}
    assert graded.outputs[6][0]["data"] == graded.outputs[7][0]["data"] == {"text/plain": "0.0"}


def test_an_endless_iteration_ends(grade):
    """Guards against a test that lists what a learner's endless or heavy iterator gives."""
    test = (
        "from fridge.testing import exercise, expect_equal\n"
        "with exercise('{0}'):\n    expect_equal(list({0}(1, 2)), [3], 'all')"
    )
    heavy = (
        "def one(a, b):\n    class Endless:\n        def __iter__(self):\n            while True:\n"
        "                yield b'x' * 2**24\n    return Endless()"
    )
    graded = grade(test=test, answers={"one": heavy})
    assert points(graded) == [0, 2, 2]
    assert "more than 256 MB" in graded.verdicts["one-test"].message or "seconds" in graded.verdicts["one-test"].message


def test_stop_iteration_does_not_end_a_tests_loop_as_a_success(grade):
    """Guards against `all(map(f, ...))`, which a StopIteration from f would end as True."""
    test = (
        "from fridge.testing import exercise, expect_true\n"
        "with exercise('{0}'):\n"
        "    expect_true(all(map(lambda n: {0}(n, 1) == n + 1, range(3))), 'all', 'right', 'wrong')"
    )
    graded = grade(test=test, answers={"one": "def one(a, b):\n    raise StopIteration"})
    assert points(graded) == [0, 2, 2]


def test_an_object_that_says_that_it_is_int8_is_no_tensor(grade):
    """Guards against points for codes that were never rounded, of an object that answers what a test asks."""
    test = (
        "import torch\nfrom fridge.testing import exercise, expect_close, expect_tensor\nwith exercise('{0}'):\n"
        "    codes = expect_tensor({0}(1, 2), 'the codes', (2,), torch.int8)\n"
        "    expect_close(codes.double(), torch.tensor([1.0, 2.0]), 'codes')"
    )
    liar = (
        "import torch\nclass Codes:\n    dtype, shape = torch.int8, (2,)\n"
        "    def double(self): return torch.tensor([1.0, 2.0])\ndef one(a, b): return Codes()"
    )
    graded = grade(test=test, answers={"one": liar})
    assert points(graded) == [0, 2, 2]
    assert "expected: a tensor of shape [2]" in graded.verdicts["one-test"].message
    right = "import torch\ndef one(a, b): return torch.tensor([1, 2], dtype=torch.int8)"
    assert points(grade(test=test, answers={"one": right})) == [2, 2, 2]


@pytest.mark.parametrize(
    ("odd", "argument"),
    [
        *(("None", "layer"), ("[0]", "layer"), ("True", "layer"), ("float('nan')", "layer"), ("-1", "layer")),
        *(
            ("...", "layer"),
            ("slice(None)", "layer"),
            ("'0'", "layer"),
            ("10**30", "layer"),
            ("torch.ones(2)", "layer"),
        ),
        *(("None", "slots"), ("[[0], [1]]", "slots"), ("[None]", "slots"), ("'01'", "slots"), ("[0.5]", "slots")),
        *(("torch.zeros(2, 2)", "slots"), ("[10**9]", "slots"), ("slice(None)", "slots"), ("[True]", "slots")),
    ],
)
def test_odd_arguments_are_refused_alike_beside_the_test_and_apart_from_it(grade, odd, argument):
    """Guards against a slot's price for a whole layer, and against another sentence in a learner's own notebook."""
    call = {"layer": "pool.read(odd, [0])", "slots": "pool.read(0, odd)"}[argument]
    test = (
        "from fridge.testing import CountingPool, exercise, expect_equal\nwith exercise('{0}'):\n"
        "    pool = CountingPool(2, 4, 2)\n    {0}(pool, None)\n    expect_equal(pool.slots_read, 0, 'slots read')"
    )
    answer = f"import torch\nodd = {odd}\ndef one(pool, b):\n    {call}"
    graded = grade(test=test, answers={"one": answer})
    with pytest.raises(Wrong) as beside:
        exec(call, {"pool": CountingPool(2, 4, 2), "odd": eval(odd, {"torch": torch})})
    said = str(beside.value).partition("\n  got:")[0]
    assert argument in said
    assert said in graded.verdicts["one-test"].message
    assert points(graded) == [0, 2, 2]


# --- exceptions on their way through the test's objects ----------------------------------------------------------


@pytest.mark.parametrize(
    ("raises", "catches"),
    [
        ("raise ValueError('full')", "ValueError as error"),
        ("raise KeyError('full')", "KeyError as error"),
        ("[][1]", "IndexError as error"),
        ("class Full(Exception): pass\n        raise Full('full')", "Exception as error"),
        ("raise StopIteration", "StopIteration as error"),
    ],
)
def test_a_learners_own_exception_passes_through_the_tests_objects(grade, raises, catches):
    """Guards against a RuntimeError in place of what a learner's `except` waits for, when a test's model calls back."""
    test = (
        "from fridge.testing import exercise, expect_equal\n"
        "with exercise('{0}'):\n    expect_equal({0}(lambda call: call(), 1), True, 'the same exception')"
    )
    answer = (
        f"def one(give_back, b):\n    raised = []\n    def fails():\n      try:\n        {raises}\n"
        f"      except BaseException as error:\n        raised.append(error)\n        raise\n"
        f"    try:\n        give_back(fails)\n    except {catches}:\n        return error is raised[0]"
    )
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


def test_a_key_that_is_missing_is_said_as_in_the_notebook(grade):
    """Guards against a message that KeyError has put into quotes twice."""
    graded = grade(answers={"one": "def one(a, b):\n    return {}['gone']"})
    assert "your code raised KeyError: 'gone'\n" in graded.verdicts["one-test"].message


@pytest.mark.parametrize(
    ("made", "says"),
    [("Fraction(2)", ""), ("Fraction(1, 2)", "Fraction(1, 2)"), ("{1, 2}", "an object of type set"), ("Own()", "Own")],
)
def test_what_no_number_is_has_its_own_name(grade, made, says):
    """Guards against a right fraction that is refused, and "an object of type Remote", which no learner wrote."""
    answer = f"from fractions import Fraction\nclass Own: pass\ndef one(a, b): return {made}"
    test = "from fridge.testing import exercise, expect_equal\nwith exercise('{0}'): expect_equal({0}(1, 1), 2, 'two')"
    message = grade(test=test, answers={"one": answer}).verdicts["one-test"].message
    assert (f"got:      {says}" in message or f"an object of type {says}" in message) if says else "✓" in message


@pytest.mark.parametrize(
    ("made", "is_right"),
    [
        *(("np.array([1, 2], dtype='>u2')", True), ("np.array([1, 2], dtype=object)", True)),
        *(("torch.tensor([1, 2], dtype=torch.uint16)", True), ("np.array([1, 2], dtype=np.longdouble)", True)),
        *(("torch.ones(2).to_sparse()", False), ("torch.ones(2, device='meta')", False), ("1j", False)),
        *(("{1.5: 2}.keys()", False), ("10**5000", False), ("np.array(['1', '2'])", False), ("range(1, 3)", False)),
        *(("np.clongdouble(1)", False), ("torch.ones(3).to_mkldnn()", False), ("np.array([1j])", False)),
        *(("[{1, 2}, object(), np.float32(2), 1j]", False), ("{'a': [print, slice(1, 2)]}", False)),
        *(("np.longdouble(2)", False), ("[torch.ones(2), torch.ones(2, device='meta')]", False)),
    ],
)
def test_odd_forms_count_in_grading_as_in_the_notebook(grade, made, is_right):
    """Guards against a right answer that is lost in grading alone, and against "your code raised WireError"."""
    answer = f"import numpy as np, torch\ndef one(a, b): return {made}"
    test = GOOD.replace("{0}(1, 2), 3", "{0}(1, 1), [1, 2]")
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2 * is_right, 2, 2]
    if not is_right:
        with pytest.raises(Wrong) as beside:
            expect_equal(eval(made, {"np": np, "torch": torch}), [1, 2], "sum")
        assert str(beside.value) in graded.verdicts["one-test"].message


@pytest.mark.parametrize("made", ["[a]", "(a, 1)", "{'a': [a]}"])
def test_a_test_s_own_object_says_nothing_of_itself(grade, made):
    """Guards against addresses in the grading process, and what a test's objects hold, in a learner's message."""
    test = (
        "from fridge.testing import exercise, expect_equal\nwith exercise('{0}'):\n"
        "    def inner(): pass\n    expect_equal({0}(inner, 1), [1], 'sum')"
    )
    message = grade(test=test, answers={"one": f"def one(a, b): return {made}"}).verdicts["one-test"].message
    assert "<function>" in message
    assert "0x" not in message
    assert "inner" not in message


def test_why_it_was_lost_is_kept_beside_the_message(grade):
    """A report that reads reasons from messages takes a learner's words for the course's."""
    lost = "exec('class Made(Exception): pass')\n    raise locals()['Made']('x\\n  likely cause: the course')"
    graded = grade(answers={"one": f"def one(a, b):\n    {lost}", "two": "def two(a, b):\n    import os; os._exit(1)"})
    kept = Graded.from_json(json.loads(json.dumps(graded.as_json()))).for_notebook()["reasons"]
    assert kept["one-test"] == Reason("your code raised", "Made")
    assert "one: your code raised Made: x\n" in graded.verdicts["one-test"].message, "as in the notebook"
    assert kept["two-test"].words.startswith("your code was stopped: the process ended")
    assert set(kept) == {"one-test", "two-test"}


@pytest.mark.parametrize("way", ["copy.copy", "copy.deepcopy", "pickle.dumps"])
def test_what_a_test_lends_can_not_be_copied(grade, way):
    """Guards against words about a socket, which the learner never saw."""
    test = (
        "from fridge.testing import exercise, expect_equal, ScriptedModel\n"
        "with exercise('{0}'):\n    expect_equal({0}(ScriptedModel([1, 2]), 1), 3, 'no copy')"
    )
    answer = f"import copy, pickle\ndef one(model, b):\n    {way}(model)"
    graded = grade(test=test, answers={"one": answer})
    assert "TypeError: what a test hands you can't be copied in grading" in graded.verdicts["one-test"].message


def test_an_object_that_a_test_lends_is_one_object(grade):
    """Guards against an answer that keeps what it heard by layer: right in the notebook, and a KeyError in grading."""
    test = (
        "from fridge.testing import exercise, expect_equal, RecordingModel\nwith exercise('{0}'):\n"
        "    model = RecordingModel(1)\n    expect_equal({0}(model.blocks[0], model.x), 4, 'layers that were heard')"
    )
    answer = (
        "def one(block, b):\n    heard = {}\n    for layer in block.layers.values():\n"
        "        layer.register_forward_pre_hook(lambda layer, args: heard.update({layer: args[0]}))\n    block(b)\n"
        "    return sum(layer in heard and layer is block.layers[name] for name, layer in block.layers.items())"
    )
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


def test_a_refusal_has_its_own_type(grade):
    """Guards against RuntimeError for all that a test's object says, which no learner's `except` expects."""
    seen = "SEEN = []\ndef one(give, b):\n    try:\n        give(b)\n    except Exception as e:\n        SEEN.append(e)"
    test = (
        "from fridge.testing import exercise\nwith exercise('{0}'):\n"
        "    def refuses(value):\n        raise KeyError(value)\n    {0}(refuses, 'key')"
    )
    graded = grade(test=test, answers={"one": seen}, before={"two": ["print(repr(SEEN))"]})
    assert points(graded)[0] == 0
    assert shown(graded, 2)[0]["text"].startswith("[KeyError(")


def test_a_refusal_that_code_may_count_on_is_no_mistake(grade):
    """Guards against 0 points for an answer that catches what a test's full allocator raises, and asks for less."""
    test = (
        "from fridge.testing import TightAllocator, exercise, expect_equal, expect_raises\nwith exercise('{0}'):\n"
        "    allocator = TightAllocator(2, 4)\n    expect_equal({0}(allocator, 3), 2, 'blocks')\n"
        "    expect_raises(ValueError, lambda: {0}(allocator, 1), 'none is left')"
    )
    answer = (
        "def one(allocator, b):\n    try:\n        return len(allocator.allocate(b))\n    except ValueError:\n"
        "        return len(allocator.allocate(b - 1)) if b > 1 else allocator.allocate(b)"
    )
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


@pytest.mark.parametrize(
    ("lines", "nan"),
    [
        ("first = hbm.load('q', 0, 2)[:]; second = hbm.load('q', 2, 4)", [True, False]),
        ("first = hbm.load('q', 0, 2); second = hbm.load('q', 2, 4).clone(); hbm.free('q')", [True, False]),
        ("first = hbm.load('q', 0, 2); second = hbm.load('q', 2, 4); hbm.free('q')", [True, True]),
        ("first = hbm.load('q', 0, 2); second = hbm.load('k', 0, 2)", [False, False]),
    ],
)
def test_a_block_that_a_test_overwrites_changes_in_the_learners_hands(grade, lines, nan):
    """Guards against points for a block that has left SRAM: in the learner's own notebook it holds NaN by then."""
    test = (
        "import torch\nfrom fridge.testing import Hbm, exercise, expect_equal\nwith exercise('{0}'):\n"
        f"    expect_equal({{0}}(Hbm(q=torch.arange(4.0), k=torch.arange(4.0)), None), {nan}, 'which are NaN')"
    )
    answer = f"def one(hbm, b):\n    {lines}\n    return [bool(x.isnan().all()) for x in (first, second)]"
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ("device.write(x, ones); first = y.tolist(); device.write(x, 2 * ones); device.replay(graph)", [[-75] * 4]),
        ("device.write(x, ones); device.replay(graph); device.write(x, 0 * ones); device.replay(graph)", [[-3] * 4]),
        (
            "device.write(x, ones); device.replay(graph); y = device.read(1) if device.read(1) is y else None",
            [[-27] * 4],
        ),
    ],
)
def test_memory_that_a_test_goes_on_writing_to_changes_in_the_learners_hands(grade, lines, seen):
    """Guards against a right answer that reads a buffer once, and sees each replay's result in its own notebook."""
    test = (
        "import torch\nfrom fridge.testing import Device, exercise, expect_equal\nwith exercise('{0}'):\n"
        f"    device = Device()\n    expect_equal({{0}}(device, lambda a, b: device.step(a, b)), {seen}, 'y')"
    )
    answer = (
        "import torch\n\ndef one(device, step):\n    ones = torch.ones(1, 4)\n"
        "    x = device.buffer(1)\n    y = device.buffer(1)\n"
        "    device.begin(); step(x, y); graph = device.end()\n    y = device.read(y)\n"
        f"    {lines}\n    return y.tolist()"
    )
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


def test_memory_that_was_asked_for_in_inference_mode_can_be_written_to_later(grade):
    """Guards against a tensor that PyTorch lets nobody change, in grading or in a notebook alone."""
    test = (
        "import torch\nfrom fridge.testing import Device, exercise, expect_equal\nwith exercise('{0}'):\n"
        "    device = Device()\n    expect_equal({0}(device, lambda a, b: device.step(a, b)), [[-27.0] * 4], 'y')"
    )
    answer = (
        "import torch\n\ndef one(device, step):\n    with torch.inference_mode():\n"
        "        x = device.buffer(1)\n        y = device.buffer(1)\n        device.begin(); step(x, y)\n"
        "        graph = device.end()\n        out = device.read(y)\n"
        "    device.write(x, torch.ones(1, 4)); device.replay(graph)\n    return out.tolist()"
    )
    graded = grade(test=test, answers={"one": answer})
    assert points(graded) == [2, 2, 2], graded.verdicts["one-test"].message


# --- the process that waits for the next learner ------------------------------------------------------------------


def test_a_waiting_process_that_was_ended_is_replaced(sandbox, grade):
    """Guards against a process that is ended while it waits, for want of memory say, and a learner who pays for it."""
    import psutil

    sandbox.prepare()
    deadline = time.monotonic() + 300
    while len(waiting := psutil.Process(sandbox._process.pid).children(recursive=True)) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for process in waiting[2:]:  # after bubblewrap's own and the warm process
        with contextlib.suppress(psutil.NoSuchProcess):  # one goes with another
            process.kill()
    assert points(grade()) == [2, 2, 2]


def test_what_a_learner_left_running_ends_with_the_next_request(sandbox, grade):
    """Guards against a learner's processes that go on while nbgrader saves, or beside the next learner's."""
    graded = grade(before={"three": ["import subprocess\nsubprocess.Popen(['sleep', '12345'])"]})
    assert points(graded) == [2, 2, 2]
    sandbox.prepare()
    deadline = time.monotonic() + 300
    while sleepers(sandbox._process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sleepers(pid: int) -> list[int]:
    """The processes below `pid` that still run `sleep 12345`; one that has ended and waits to be reaped does not."""
    import psutil

    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # ZombieProcess is one of these
            if "12345" in process.cmdline():
                found.append(process.pid)
    return found
