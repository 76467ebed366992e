#!/usr/bin/env python3
"""Prepare an environment for the course: torch, the package with its extras, the model. Standard library only.

    python3 binder/prepare.py lab           makes .venv for a learner (`make lab`)
    python3 binder/prepare.py setup         makes .venv for an instructor (`make setup`)
    python3 binder/prepare.py test          makes .venv for a contributor (`make test`)
    python3 binder/prepare.py lab --here    installs into the Python that runs it (Binder)

This file finds the right Python; environment.py, beside it, does the work. It parses on every Python since 2.7, so
that a wrong one gets a sentence: hence no f-strings, type hints or pathlib.
"""

from __future__ import print_function

import argparse
import os
import platform
import re
import signal
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
PYTHONS = [(3, 13), (3, 12), (3, 11)]  # pyproject's requires-python; the order in which PATH is searched


class Stop(Exception):
    """No environment can be made with this Python, on this system. The message says what to type next."""


def main(argv=None):
    """Prepare what the command line asks for; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # `?` for a letter that the terminal lacks
    parser = argparse.ArgumentParser(description="Prepare an environment for the course.")
    parser.add_argument("goal", choices=["lab", "setup", "test"], help="for a learner, an instructor, a contributor")
    parser.add_argument("--here", action="store_true", help="install into this Python instead of making .venv")
    options = parser.parse_args(argv)
    again = "python binder/prepare.py {} --here".format(options.goal) if options.here else "make " + options.goal
    try:
        require_system(again)
        require_python(options.here, again)
    except Stop as stop:
        print("\n" + str(stop), file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupt)  # `timeout` and a closing terminal must not leave pip behind
    signal.signal(signal.SIGHUP, _interrupt)
    sys.path.insert(0, os.path.join(ROOT, "binder"))
    import environment

    return environment.main(options.goal, options.here, again)


def require_system(again):
    """Stop where torch or the tools have no build."""
    if os.name == "nt":
        raise Stop("On Windows the course runs inside WSL: type `wsl --install`, then `{}` in its shell.".format(again))
    if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
        with open(os.path.join(ROOT, "requirements.lock")) as lock:
            torch = re.search("^torch==(.+)", lock.read(), re.MULTILINE).group(1)
        raise Stop(
            "torch {} has no build for a Mac with an Intel processor, nor for a Python that Rosetta translates. Use "
            "the README's Colab or Binder badge; on Apple silicon, `{}` with a native Python.".format(torch, again)
        )


def require_python(here, again):
    """Go on only with a Python of the right version: this one, or else .venv's or one that PATH has, in its place."""
    if sys.version_info[:2] in PYTHONS:
        return
    found = "{} is Python {}.{}.{}".format(sys.executable, *sys.version_info[:3])
    own = os.path.join(ROOT, ".venv", "bin", "python")
    if not here and version_of(own) in PYTHONS:
        os.execv(own, [own, os.path.realpath(__file__)] + sys.argv[1:])
    for version in [] if here else PYTHONS:
        name = "python{}.{}".format(*version)
        if version_of(name) == version:
            print("{}: using {} instead.".format(found, name))
            sys.stdout.flush()
            os.execvp(name, [name, os.path.realpath(__file__)] + sys.argv[1:])
    raise Stop(
        "{}; the course needs Python {}.{} to {}.{}. ".format(found, *(PYTHONS[-1] + PYTHONS[0]))
        + ("Run this with such a Python." if here else "Type `{} PYTHON=/path/to/python3.12`.".format(again))
    )


def version_of(python):
    """(major, minor) of an interpreter, or None where it doesn't start (pyenv's shims exist and fail)."""
    try:
        command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except EnvironmentError:
        return None
    answer, _ = child.communicate()
    return None if child.returncode else tuple(int(part) for part in answer.decode().split("."))


def _interrupt(signum, frame):
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
