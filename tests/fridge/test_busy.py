"""What else used the processors: a share that is known or isn't, and the sentence where the times are."""

import subprocess
from collections import namedtuple
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import pytest

from fridge.workbench import busy, measure, plots
from fridge.workbench.busy import Look

pytestmark = pytest.mark.usefixtures("no_window", "forgotten")

Times = namedtuple("Times", "user nice system idle iowait steal guest")
Machine = Callable[..., None]
NOTE = "Something else used 50 % of the processors while this was measured: times may be too long, counts aren't."
IN_A_SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
measuring = "with busy.watched(): print('measured')"
shell.run_cell("from itertools import count; from fridge.workbench import busy, plots; seconds = count()")
shell.run_cell("busy._has_quota = lambda: False")
shell.run_cell("busy._now = lambda: busy.Look(n := float(next(seconds)), n, 2 * n, 0.0)")
shell.run_cell(measuring, store_history=True)
shell.run_cell("plots.timed(plots.axes('a later cell')); print('figure')", store_history=True)
shell.run_cell("print('next')", store_history=True)
shell.run_cell(measuring, store_history=True)
"""
HAS_QUOTA = busy._has_quota  # of the machine that runs the tests nothing is asked
START = Look(wall=100.0, busy=50.0, all=200.0, own=20.0)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "_measured", None)
    monkeypatch.setattr(busy, "_has_quota", lambda: False)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Lets two processors pass: seconds on the wall, and of them the busy ones, ours and others'."""

    def run(wall: float, ours: float, others: float) -> None:
        looks = iter((START, Look(100 + wall, 50 + ours + others, 200 + 2 * wall, 20 + ours)))
        monkeypatch.setattr(busy, "_now", lambda: next(looks))
        with busy.watched():
            pass

    return run


def test_the_share_of_others(machine: Machine) -> None:
    """Guards against counting what this process used, or one processor where there are two."""
    machine(wall=10, ours=12, others=8)
    assert "used 40 % of the processors" in busy.note()


@pytest.mark.parametrize(
    ("wall", "ours", "others"), [(10, 19, 1), (0.4, 0, 0.8), (10, 8, -0.2)], ids=["idle", "too short", "coarse clocks"]
)
def test_nothing_to_say(machine: Machine, wall: float, ours: float, others: float) -> None:
    """Guards against a warning below each figure of a machine that is idle, and about what can't be told."""
    machine(wall=wall, ours=ours, others=others)
    assert busy.note() == ""


def test_before_anything_was_measured() -> None:
    """Guards against a note about nothing."""
    assert busy.note() == ""


def test_a_system_that_does_not_count() -> None:
    """Guards against a division by zero, or a share, where the system's counters stand still (some containers)."""
    assert busy.others(START, Look(110.0, 50.0, 200.0, 25.0)) is None


@pytest.mark.parametrize(
    ("file", "text", "limited"),
    [
        ("cpu.max", "200000 100000", True),
        ("cpu.max", "max 100000", False),
        ("cpu/cpu.cfs_quota_us", "150000", True),
        ("cpu/cpu.cfs_quota_us", "-1", False),
        ("other", "", False),
    ],
)
def test_a_container_with_a_quota(tmp_path: Path, file: str, text: str, limited: bool) -> None:
    """Guards against blaming a whole host's other guests, which run on processors that this container never gets."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    assert HAS_QUOTA(tmp_path) is limited


def test_what_counts_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against waiting for a disk that counts as work, against guests that count twice, against steal that is
    forgotten (another guest of the same host), and against processors that this process may not use."""
    mine = Times(user=4.0, nice=1.0, system=2.0, idle=10.0, iowait=3.0, steal=0.5, guest=4.0)
    not_mine = Times(1000.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    monkeypatch.setattr(busy.psutil, "cpu_times", lambda percpu: [not_mine, mine])
    monkeypatch.setattr(busy.os, "sched_getaffinity", lambda pid: {1}, raising=False)
    look = busy._now()
    assert (look.busy, look.all) == (7.5, 20.5)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A notebook's shell, whose cells end when it is told so, and processors of which others use half."""
    handlers: dict[str, Callable] = {}
    seconds = count()
    shell = SimpleNamespace(events=SimpleNamespace(register=handlers.__setitem__))
    shell.end_of_cell = lambda: [handler(None) for handler in handlers.values()]
    monkeypatch.setattr(busy, "get_ipython", lambda: shell)
    monkeypatch.setattr(busy, "_now", lambda: Look(n := float(next(seconds)), n, 2 * n, 0.0))
    return shell


def test_printed_once_below_the_cell_that_measured(shell: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """Guards against a line for each measurement, and one below the cells that follow."""
    measure.seconds(lambda: None)
    measure.seconds(lambda: None)
    assert capsys.readouterr().out == ""
    shell.end_of_cell()
    assert capsys.readouterr().out.count("Something else used 50 %") == 1
    shell.end_of_cell()
    assert capsys.readouterr().out == ""


def test_a_new_cell_begins_anew(shell: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against an idle cell that is blamed for the one before."""
    measure.seconds(lambda: None)
    shell.end_of_cell()
    assert busy.note() != ""
    quiet = count(1000)
    monkeypatch.setattr(busy, "_now", lambda: Look(n := float(next(quiet)), 0.0, 2 * n, 0.0))
    with measure.Stopwatch():
        pass
    assert busy.note() == ""


def test_a_figure_says_it_instead(shell: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """Guards against a figure without the sentence, and against saying it twice in one cell."""
    measure.seconds(lambda: None)
    ax = plots.axes("One step takes 3 ms", "batch", "time (ms)")
    plots.timed(ax)
    assert "Something else used 50 %" in ax.figure.get_supxlabel().replace("\n", " ")
    shell.end_of_cell()
    assert capsys.readouterr().out == ""


def test_a_figure_of_a_quiet_machine(machine: Machine) -> None:
    """Guards against empty words beneath a figure."""
    machine(wall=10, ours=10, others=0)
    ax = plots.axes("One step takes 3 ms", "batch", "time (ms)")
    plots.timed(ax)
    assert ax.figure.get_supxlabel() == ""
    assert plt.gcf() is ax.figure


def test_in_a_real_shell(child: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Guards against what IPython does otherwise than the shell above: its counter, and when it calls."""
    found = child("-c", IN_A_SHELL)
    assert found.stdout.split("\n") == ["measured", NOTE, "figure", "next", "measured", NOTE, ""], found.stderr


def test_the_real_counters() -> None:
    """Guards against a system's counters that are read wrongly: busy and idle together are all processors' seconds."""
    first = busy._now()
    with measure.Stopwatch() as watch:
        measure.time.sleep(1.0)
    last = busy._now()
    assert watch.seconds >= 1.0
    share = busy.others(first, last)
    assert share is None or 0 <= share <= 1
