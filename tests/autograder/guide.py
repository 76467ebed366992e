"""The commands of autograder/GUIDE.md, in its order, in a clone of the repository."""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mini_course import ROOT

from autograder.course import Unit, find_units
from autograder.trials.lms_class import Enrolled, enrolled, write_canvas, write_list, write_moodle, write_worksheet

UNIT = "03-kv-cache"
# What a test has done already, and what opens a browser: everything else is run as it stands.
EXCEPTED = ("git clone ", "cd fridge-teacher", "make setup", ". .venv/bin/activate", "make formgrader")
MINUTES = 40
# A process of its own, for a child's memory counts from what its parent had when it was forked.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(["bash", "-c", sys.argv[1]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[2], "w") as figures:
    print(code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=figures)
"""
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'")


@dataclass(frozen=True)
class Step:
    """A command that ended: with which code, what it said, what it took."""

    command: str
    code: int
    said: str
    wall: float
    cpu: float
    megabytes: float  # of the largest of its processes


def commands(guide: str) -> list[str]:
    """All commands of the guide's sh blocks, with their here documents and without those that are excepted."""
    found: list[str] = []
    for block in _BLOCK.findall(guide):
        end = ""
        for line in block.splitlines():
            if end or (found and found[-1].endswith("\\")):
                found[-1] += f"\n{line}"
                end = "" if line == end else end
            elif line.strip() and not line.startswith("#"):
                found.append(line)
                end = match[1] if (match := _HERE_DOCUMENT.search(line)) else ""
    return [command for command in found if not command.startswith(EXCEPTED)]


def clone(folder: Path) -> Path:
    """`git clone` of a repository with this working tree, and the environment that `make setup` makes."""
    origin, teacher = folder / "origin", folder / "fridge-teacher"
    names = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (origin / name).parent.mkdir(parents=True, exist_ok=True)
            (origin / name).write_bytes((ROOT / name).read_bytes())
            (origin / name).chmod((ROOT / name).stat().st_mode)
    settings = ["user.name=test", "user.email=test@localhost", "core.hooksPath=/dev/null", "commit.gpgsign=false"]
    git = ["git", *(part for setting in settings for part in ("-c", setting))]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "working tree"]):
        subprocess.run([*git, *command], cwd=origin, check=True)
    subprocess.run(["git", "clone", "--quiet", origin, teacher], check=True)
    (teacher / ".venv").symlink_to(sys.prefix)
    return teacher


def with_a_class(teacher: Path, size: int) -> tuple[Unit, list[Enrolled]]:
    """Put the list and what an instructor downloads where the guide has them."""
    unit = find_units(teacher, [UNIT])[0]
    people = enrolled(unit, size)
    grading, downloads = teacher / "grading", teacher / "grading/downloads"
    downloads.mkdir(parents=True)
    write_list(grading / "students.csv", people)
    write_worksheet(downloads / "worksheet.csv", people)
    write_canvas(downloads / "canvas.zip", unit, people)
    write_moodle(downloads / "moodle.zip", unit, people)
    first = next(one for one in people if one.work)
    again = [replace(one, work={}) if one is first else one for one in people]  # who thought better of it
    write_canvas(downloads / "again.zip", unit, again)
    return unit, people


def run(teacher: Path, command: str) -> Step:
    """Run one command as a shell in the clone does."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NBGRADER_EXECUTION")
    }
    environment["PYTHONSAFEPATH"] = "1"  # the packages are this working tree's, not the clone's copies of them
    environment["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), environment["PATH"]))
    start = time.monotonic()
    with tempfile.NamedTemporaryFile("r") as figures:
        done = subprocess.run(
            [sys.executable, "-S", "-c", MEASURED, command, figures.name],
            cwd=teacher,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60 * MINUTES,
            check=True,
        )
        code, cpu, megabytes = map(float, figures.read().split())
    return Step(command, int(code), done.stdout, time.monotonic() - start, cpu, megabytes)


def table(steps: list[Step]) -> str:
    """Each step's time, and what it said where that is a table of its own."""
    lines = [f"{'wall s':>8}{'CPU s':>8}{'MB':>7}  command"]
    lines += [
        f"{step.wall:8.1f}{step.cpu:8.1f}{step.megabytes:7.0f}  {' '.join(step.command.split())[:110]}"
        for step in steps
    ]
    for step in steps:
        if step.command.startswith(
            ("autograder students", "autograder collect", "autograder grade", "autograder regrade")
        ):
            lines += ["", f"$ {step.command.splitlines()[0]}", *step.said.splitlines()[:40]]
    return "\n".join(lines)
