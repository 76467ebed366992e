"""llama.cpp beside what the learner built: it runs a GGUF file, and its quantizer makes K-quants.

It comes in the wheel `xllamacpp`: `pip install xllamacpp`, or the course's extra `llama-cpp`. Both functions say so
where it is missing.
"""

import ctypes
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from fridge.quantization.gguf_kinds import TENSOR_KINDS
from fridge.workbench import measure

SCRIPT = Path(__file__).with_name("llama_cpp_script.py")
CONTEXT = 512  # tokens of prompt and reply
BLOCKS = {"Q5_0": (32, 22), "Q5_1": (32, 24), "Q4_1": (32, 20)}
BLOCKS |= {"Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176), "Q6_K": (256, 210)}


class Missing(RuntimeError):
    """xllamacpp isn't installed. The message says what to type."""


@dataclass(frozen=True)
class Reply:
    """What llama.cpp said.

    Attributes:
        tokens: ids, the prompt's not among them.
        per_second: tokens after the first, the median of the repeats.
        per_processor_second: tokens, prompt and reply, for each second that all threads together were at work, the best
            of the repeats. Whatever else runs on the machine hardly changes it, and fewer threads wait less.
        version: of the wheel.
    """

    tokens: list[int]
    per_second: float
    per_processor_second: float
    version: str


def is_there() -> bool:
    """Whether xllamacpp is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def reply(file: Path, prompt: Sequence[int], new: int = 24, repeats: int = 1, threads: int | None = None) -> Reply:
    """Let llama.cpp load a file and go on with a prompt, greedily.

    Args:
        prompt: token ids; `CONTEXT` at most, with the new ones.
        threads: default as many as this process may use.

    Raises:
        Missing: xllamacpp isn't installed.
        ValueError: there is no such file, or llama.cpp can't load it; with the end of what it printed.
    """
    _need()
    if not Path(file).is_file():
        raise ValueError(f"there is no file {file}")
    task = {
        "file": str(file),
        "prompt": list(prompt),
        "new": new,
        "repeats": repeats,
        "threads": threads or measure.processors(),
        "context": CONTEXT,
    }
    done = subprocess.run([sys.executable, SCRIPT], input=json.dumps(task), capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"llama.cpp can't run {file}: {done.stderr[-500:]}")
    said = json.loads(done.stdout.splitlines()[-1])
    worked = min(said["processor_seconds"])
    return Reply(said["tokens"], median(said["per_second"]), (len(prompt) + new) / worked, said["version"])


def blocks_of(values: np.ndarray, kind: str) -> bytes:
    """A matrix as llama.cpp's own quantizer stores it, without an importance matrix.

    Args:
        values: [rows, columns], float32.
        kind: one of `BLOCKS`, those that the exercises of unit 08 don't make.

    Raises:
        Missing: xllamacpp isn't installed.
        ValueError: another kind, or rows that aren't whole blocks.
    """
    _need()
    if kind not in BLOCKS or values.shape[1] % BLOCKS[kind][0]:
        raise ValueError(f"rows of {values.shape[1]} as {kind}")
    length, size = BLOCKS[kind]
    values = np.ascontiguousarray(values, dtype=np.float32)
    out = np.empty(values.size // length * size, np.uint8)
    number = next(number for number, name in TENSOR_KINDS.items() if name == kind)
    written = _library().ggml_quantize_chunk(
        number,
        values.ctypes.data_as(ctypes.c_void_p),
        out.ctypes.data_as(ctypes.c_void_p),
        0,
        values.shape[0],
        values.shape[1],
        None,
    )
    if written != out.nbytes:
        raise ValueError(f"llama.cpp wrote {written} bytes of {kind}, not {out.nbytes}")
    return out.tobytes()


def _library() -> ctypes.CDLL:
    place = Path(importlib.util.find_spec("xllamacpp").origin).parent  # type: ignore[union-attr, arg-type]
    library = ctypes.CDLL(str(next(place.glob("xllamacpp*.so"))))
    pointer, whole = ctypes.c_void_p, ctypes.c_int64
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, whole, whole, whole, pointer]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library


def _need() -> None:
    if not is_there():
        raise Missing("llama.cpp isn't installed here. Type `pip install xllamacpp` in a shell, and run this again.")
