"""Environments for peers whose packages can't share the course's: each in a folder of its own, made on request."""

import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def python_of(environment: Path) -> Path | None:
    """The environment's interpreter; None if the environment isn't complete."""
    return environment / "bin" / "python" if _stamp(environment).exists() else None


@contextmanager
def making(environment: Path, of: str) -> Iterator[tuple[Path, Callable[..., None]]]:
    """Make it anew: gives its interpreter, and a function that calls its pip. Complete once the block has ended.

    Args:
        of: whom it is for, as said in the terminal.

    Raises:
        subprocess.CalledProcessError: pip failed, and has said why.
    """
    print(f"making {environment} for {of}", file=sys.stderr, flush=True)
    venv.create(environment, clear=True, with_pip=True)
    python = environment / "bin" / "python"

    def install(*arguments: str) -> None:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)

    yield python, install
    _stamp(environment).touch()


def _stamp(environment: Path) -> Path:
    return environment / "complete"
