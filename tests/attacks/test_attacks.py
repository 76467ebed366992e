"""Every attack of this folder against the split grader: no point gained, nothing read, nobody else hurt."""

import copy
import os
from pathlib import Path

import nbformat
import pytest
from attacks import Attack, full_points, read_attacks, secrets, submission, texts

from autograder.notebooks import is_test

MOST_MB = 600  # that an attack may make the grading process take beyond an honest submission
MOST_SECONDS = 40

# What a learner's process finds when it starts: the same after each attack as before the first.
PROBE = """
import builtins, gc, os, sys, time, torch
from pathlib import Path
def listing(folder):
    return sorted(p.name for p in Path(folder).rglob("*") if "matplotlib" not in str(p) and "fontlist" not in str(p))
functions = [torch.allclose, torch.Tensor.__eq__, time.sleep, builtins.len, builtins.isinstance]
print(
    "PROBE",
    [listing(f) for f in ("/tmp", "/learner", "/dev/shm")],
    sorted(int(p) for p in os.listdir("/proc") if p.isdigit()) == [1, os.getpid()],
    len(os.listdir("/proc/self/fd")),
    sorted(os.environ),
    os.getcwd(),
    [(getattr(f, "__module__", ""), getattr(f, "__name__", "")) for f in functions],
    os.nice(0),
    [name for name in vars(builtins) if "attack" in name],
)
"""


@pytest.fixture(scope="module")
def honest(master, grade):
    """An honest submission with a probe of its surroundings in front: its grading, and what the probe saw."""

    def run():
        notebook = copy.deepcopy(master)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(PROBE))
        grading = grade(notebook)
        return grading, texts(grading.graded.outputs[0])

    return run


@pytest.fixture(scope="module")
def before(honest):
    return honest()


@pytest.mark.parametrize("attack", read_attacks("split"), ids=lambda attack: attack.name)
def test_an_attack_gains_nothing_reads_nothing_and_hurts_nobody(
    attack: Attack, master, release, grade, sandbox, listeners, secret, honest, before, record_property
):
    """Guards against each way of cheating that the folder's name says; `shows` proves that the attack really ran."""
    notebook = submission(attack, master)
    full = full_points(master)
    deserved = full | attack.honest
    processes = _left(sandbox)

    grading = grade(notebook)

    got = {name: verdict.points for name, verdict in grading.graded.verdicts.items()}
    said = texts(grading.graded.as_json())
    own = "\n".join(cell.source for cell in notebook.cells if not is_test(cell))
    leaks = [line for line in secrets(master, release) if line in said and line not in own]
    leaks += [word for word in (secret, "LEAKED") if word in said]
    gained = sum(max(0.0, points - deserved[name]) for name, points in got.items())
    for key, value in (
        *(("attack", attack.name), ("threat", attack.threat), ("gained", gained), ("leaks", len(leaks))),
        *(("seconds", grading.seconds), ("peak_mb", grading.peak_mb - before[0].peak_mb)),
    ):
        record_property(key, value)

    messages = {name: verdict.message for name, verdict in grading.graded.verdicts.items()}
    assert got == deserved | {name: points for name, points in got.items() if name in attack.may_lose}, messages
    assert not leaks
    assert not any(verdict.courses_fault for verdict in grading.graded.verdicts.values()), messages
    for words in attack.shows:
        assert words in said, said[-3000:]
    for name, words in attack.says.items():
        assert words in messages[name]
    assert grading.peak_mb - before[0].peak_mb < MOST_MB
    assert grading.seconds < MOST_SECONDS
    assert not grading.graded.starved  # nobody can have a busy machine taken for the reason of being late

    # The next one through the same warm process.
    after, seen = honest()
    assert seen == before[1]
    lost = {name: verdict.message for name, verdict in after.graded.verdicts.items() if verdict.points != full[name]}
    assert not lost
    assert after.graded.verdicts.keys() == full.keys()
    assert _left(sandbox) == processes
    assert sandbox.alive()


def test_the_grader_itself_does_not_grow(sandbox, grade, master, before):
    """Guards against what each submission leaves in the process that starts all gradings."""
    grade(master)
    first = _resident_mb()
    for _ in range(10):
        grade(master)
    assert _resident_mb() - first < 5


def test_a_grader_killed_in_mid_sentence_costs_the_next_submission_nothing(sandbox, grade, master, before):
    """Guards against an answer meant for a grader that is gone being read by the next one."""
    from autograder.isolation.children import ChildFailed, in_child

    def die_with_a_learner_at_work():
        sandbox.learner()
        os._exit(0)

    def die_with_an_answer_on_its_way():
        sandbox._control.sendall(b"-deadbeef")
        os._exit(0)

    for die in (die_with_a_learner_at_work, die_with_an_answer_on_its_way):
        with pytest.raises(ChildFailed):
            in_child(die, 30)
        points = {name: verdict.points for name, verdict in grade(master).graded.verdicts.items()}
        assert points == full_points(master)


def _left(sandbox) -> set[int]:
    # The sandbox's processes when no learner's is there: the one that waits for the next learner is used up and ended.
    sandbox.learner()
    sandbox.end_learner()
    return _below(sandbox._process.pid)


def _below(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    below, new = set(), {pid}
    while new:
        below |= new
        new = {child for child, parent in parents.items() if parent in new} - below
    return below


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
