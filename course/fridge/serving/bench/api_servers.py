"""The servers of `python -m fridge.serving.bench.api`, each in a process of its own on a free port of this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from fridge import models
from fridge.workbench.environments import python_of

LLAMA_CPP = Path(__file__).with_name("contestants") / "llama_cpp_server.py"
START_SECONDS = 300.0
CONTEXT = 512  # tokens of the longest request, with some room


@dataclass(frozen=True)
class Contestant:
    """Who takes part: `kind` is "ours", "llama.cpp" or "vllm"; options of its command."""

    name: str
    kind: str
    options: tuple[str, ...] = ()


CONTESTANTS = (
    Contestant("fridge serve, float32", "ours"),
    Contestant("fridge serve, INT8", "ours", ("--int8",)),
    Contestant("vLLM CPU, float32", "vllm"),
    Contestant("llama.cpp Q4_1, 8 slots", "llama.cpp", ("8",)),
    Contestant("llama.cpp Q4_1, 32 slots", "llama.cpp", ("32",)),
)


@dataclass(frozen=True)
class Running:
    """A server that answers: its address, the name of its model, its version, its process."""

    url: str
    model: str
    version: str
    process: int


def there(contestant: Contestant, vllm: Path) -> bool:
    """Whether what it needs is installed."""
    return {
        "ours": find_spec("starlette") is not None and find_spec("uvicorn") is not None,
        "llama.cpp": find_spec("xllamacpp") is not None,
        "vllm": python_of(vllm) is not None,
    }[contestant.kind]


@contextmanager
def running(contestant: Contestant, threads: int, vllm: Path, log: Path) -> Iterator[Running]:
    """The server, once it answers; ended with the block. What it prints goes to `log`.

    Raises:
        RuntimeError: it ended, or didn't answer in time; with the end of its log.
    """
    port = free_port()
    command, model, said = _command(contestant, port, threads, vllm)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_KVCACHE_SPACE": "1"}
    environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "TOKENIZERS_PARALLELISM": "false"}
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(server, f"{url}/health", log)
            yield Running(url, model, said, server.pid)
        finally:
            _end(server)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _command(contestant: Contestant, port: int, threads: int, vllm: Path) -> tuple[list[str], str, str]:
    # Its command, the model's name there, and its version.
    if contestant.kind == "ours":
        command = [sys.executable, "-m", "fridge.notebook.cli", "serve", "--port", str(port), *contestant.options]
        return command, models.name(), f"torch {version('torch')}, uvicorn {version('uvicorn')}"
    if contestant.kind == "llama.cpp":
        task = {"gguf": str(models.gguf()), "slots": int(contestant.options[0]), "threads": threads, "port": port}
        command = [sys.executable, str(LLAMA_CPP), json.dumps(task | {"context": CONTEXT})]
        return command, "model", f"xllamacpp {version('xllamacpp')}"
    python = python_of(vllm)
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(models.folder())]
    command += ["--served-model-name", "model", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", "1024", "--enforce-eager", "--no-enable-prefix-caching", "--disable-log-requests"]
    return command, "model", _vllm_version(vllm)


def _vllm_version(vllm: Path) -> str:
    for place in vllm.glob("lib/python*/site-packages/vllm_cpu-*.dist-info"):
        found = re.search(r"vllm_cpu-(.+)\.dist-info", place.name)
        return f"vllm-cpu {found.group(1)}" if found else "vllm-cpu"
    try:
        return f"vllm-cpu {version('vllm-cpu')}"
    except PackageNotFoundError:
        return "vllm-cpu"


def _wait(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end and server.poll() is None:
        try:
            with opener.open(address, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server didn't answer; it said:\n{log.read_text(errors='replace')[-3000:]}")


def _end(server: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, number)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                continue
