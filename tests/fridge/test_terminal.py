"""Commands on terminals that lack letters: lines with `?`, never a UnicodeEncodeError."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENCODINGS = ["gbk", "latin-1", "ascii", "cp1252", "cp437"]  # China, old Unix, LANG=C, Windows in the west, its console
STOPPED = """
import sys
sys.path.insert(0, "binder")
import environment, prepare
def stopped():
    raise environment.Stop("Ça ne va pas : ✗ 学生")
environment.require_files = stopped
prepare.main(["lab"])
"""
QUICK = {
    "fridge": ["-m", "fridge.notebook.cli", "progress", "solutions"],
    "autograder": ["-m", "autograder.cli", "lint", "✗ 学生"],
    "prepare": ["-c", STOPPED],
}
SLOW = {"models": ["-m", "fridge.models"], "doctor": ["-m", "autograder.cli", "doctor"]}


def run(arguments: list[str], encoding: str, **more) -> subprocess.CompletedProcess[bytes]:
    env = os.environ | {"PYTHONIOENCODING": encoding, "FRIDGE_MODEL": "/no/such/model ✗ 学生"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, timeout=540, check=False, **more)


@pytest.mark.parametrize(
    ("command", "encoding"),
    [(name, encoding) for name in QUICK for encoding in ENCODINGS] + [(name, "ascii") for name in SLOW],
)
def test_lines_on_any_terminal(command: str, encoding: str) -> None:
    """Guards against a traceback in place of the lines that a learner or an instructor asked for."""
    done = run((QUICK | SLOW)[command], encoding, capture_output=True)
    said = (done.stdout + done.stderr).decode(encoding)
    assert "Traceback" not in said, said
    assert "?" in said, said


def test_a_reader_that_has_gone() -> None:
    """Guards against a traceback under `fridge | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = run(QUICK["fridge"], "utf-8", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_model_folder_that_the_terminal_cannot_write(tmp_path: Path) -> None:
    """Guards against a set-up that notes `/home/??/model`, finds no such folder, and starts anew each time."""
    code = (
        "import os, pathlib, sys; sys.path.insert(0, 'binder'); from steps import Step\n"
        "sys.stdout.reconfigure(errors='replace')\n"
        "command, log = [sys.executable, '-c', sys.argv[1]], pathlib.Path(sys.argv[2])\n"
        "status, said = Step('a step', log).run(command, os.environ, log.parent)\n"
        "print(said.strip().endswith('学生'))"
    )
    where = tmp_path / "学生"
    done = run(["-c", code, f"print({str(where)!r})", str(tmp_path / "log")], "ascii", capture_output=True)
    assert done.stdout.decode("ascii").splitlines()[-1:] == ["True"], done.stderr
