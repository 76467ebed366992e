"""A Triton kernel, compiled for a GPU that isn't here, and what the compiler's output says of it.

Triton compiles without a GPU, down to machine code: NVIDIA's assembler, `ptxas`, comes with its wheel. Each kernel is
compiled in a process of its own, for in a process that interprets kernels none can be compiled, and one that takes too
long can be ended. Nothing that was compiled is used again, so that each is timed whole.
"""

import contextlib
import dataclasses
import importlib.util
import io
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fridge.attention.targets import TARGETS, Target

SECONDS = 120  # that a compilation may take, if not said otherwise
_TENSOR_CORES = {"wgmma.mma_async": "wgmma", "mma.sync": "mma.sync"}  # as PTX calls them, the later first
NO_TENSOR_CORES = "fma"
_ALIGNED = 16  # bytes that addresses, and values that sizes, are a multiple of; kernels are compiled for that case


@dataclass(frozen=True)
class Job:
    """What to compile, and for which GPU.

    Attributes:
        source: a file of Python in which the kernel stands.
        kernel: its name there.
        types: Triton's name of the type of each argument that isn't a `tl.constexpr`: "*fp16", "i32", "fp32".
        constants: the values of the others.
        card: a name of `TARGETS`.
        warps, stages: threads of a program, by 32; loads on the way at once (`num_warps`, `num_stages`).
    """

    source: str
    kernel: str
    types: Mapping[str, str]
    constants: Mapping[str, int | bool]
    card: str
    warps: int = 4
    stages: int = 3


@dataclass(frozen=True)
class Compiled:
    """What came of a job.

    Attributes:
        instruction: what multiplies matrices: "wgmma" or "mma.sync" on tensor cores, else "fma".
        shared: bytes of shared memory that one program takes.
        registers: of each thread.
        spilled: bytes of each thread that found no register and go to memory and back, stores and loads together.
        seconds: of the processor that it took, with an empty cache; by the clock it is as much on an idle machine.
        error: why there is none of this; "" if there is.
    """

    instruction: str = ""
    shared: int = 0
    registers: int = 0
    spilled: int = 0
    seconds: float = 0.0
    error: str = ""

    def trouble(self, target: Target) -> str:
        """Why this is of no use on a GPU of that kind; "" if it is."""
        if self.error:
            return self.error
        if self.shared > target.shared:
            return f"{self.shared / 1024:g} kB of shared memory, a program may have {target.shared / 1024:g}"
        return f"spills {self.spilled} bytes a thread" if self.spilled else ""


COLUMNS = ("products by", "shared memory", "registers", "spilled", "compiled in")  # of `in_words`


def in_words(card: str, found: Compiled) -> tuple[str, ...]:
    """What came of it on that card, for a table with `COLUMNS`."""
    if found.error:
        return found.error, "", "", "", ""
    room = f"{found.shared / 1024:g} of {TARGETS[card].shared / 1024:g} kB"
    return found.instruction, room, str(found.registers), f"{found.spilled} bytes", f"{found.seconds:.0f} s"


def for_cards(
    kernel: Any, types: Mapping[str, str], constants: Mapping[str, int | bool], cards: Iterable[str]
) -> dict[str, Compiled]:
    """Compile a kernel of a notebook for each of these cards.

    Args:
        kernel: what `@triton.jit` made; interpreted or not.
        types, constants, cards: as in `Job`.
    """
    from fridge.attention.kernel_source import kernel_name, kernel_source  # with torch: not in each job's process

    cards = list(cards)
    try:
        text = kernel_source(kernel)
    except ValueError as error:
        return {card: Compiled(error=str(error)) for card in cards}
    with tempfile.TemporaryDirectory(prefix="fridge-kernel-") as folder:
        path = Path(folder) / "kernel.py"
        path.write_text(text, encoding="utf-8")
        jobs = [Job(str(path), kernel_name(kernel), types, constants, card) for card in cards]
        made = compile_all(jobs, at_once=1)  # beside a notebook that has memory of its own
        return dict(zip(cards, made, strict=True))


def compile_all(jobs: Iterable[Job], seconds: float = SECONDS, at_once: int = 2) -> list[Compiled]:
    """Compile each, so many at once and none longer than `seconds`; what came of them, in their order."""
    jobs = list(jobs)
    found: dict[int, Compiled] = {}
    with ThreadPoolExecutor(at_once) as pool:
        shares = [range(first, len(jobs), at_once) for first in range(at_once)]
        for share in pool.map(lambda numbers: _in_a_process(jobs, numbers, seconds), shares):
            found |= share
    return [found[number] for number in range(len(jobs))]


def compile_one(job: Job, seconds: float = SECONDS) -> Compiled:
    """Compile one kernel."""
    return compile_all([job], seconds, at_once=1)[0]


def _in_a_process(jobs: list[Job], numbers: range, seconds: float) -> dict[int, Compiled]:
    own = [jobs[number] for number in numbers]
    if not own:
        return {}
    with tempfile.TemporaryDirectory(prefix="fridge-triton-") as cache:
        settings = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": cache, "TRITON_DUMP_PTXAS_LOG": "1"}
        try:
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(seconds)],
                input=json.dumps([dataclasses.asdict(job) for job in own]),
                env={**os.environ, **settings},
                capture_output=True,
                text=True,
                timeout=(len(own) + 1) * seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return dict.fromkeys(numbers, _too_late(seconds))
    if done.returncode:
        return dict.fromkeys(numbers, Compiled(error=_last_line(done.stderr) or f"exit {done.returncode}"))
    made = (Compiled(**one) for one in json.loads(done.stdout.splitlines()[-1]))
    return dict(zip(numbers, made, strict=True))


def main() -> None:
    """What the process does: jobs come as JSON, and so goes what came of them, in the last line."""
    seconds, jobs = float(sys.argv[1]), [Job(**one) for one in json.load(sys.stdin)]
    modules = {source: _module(source) for source in {job.source for job in jobs}}
    made = [_in_a_child(job, modules[job.source], seconds) for job in jobs]
    print(json.dumps([dataclasses.asdict(one) for one in made]), flush=True)


def _in_a_child(job: Job, module: ModuleType, seconds: float) -> Compiled:
    # The modules are imported once; each compilation is a fork of that, which can be ended.
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=lambda: there.send(_tried(job, module)))
    child.start()
    there.close()
    try:
        return here.recv() if here.poll(seconds) else _too_late(seconds)
    except EOFError:
        return Compiled(error="the compiler died")
    finally:
        child.kill()
        child.join()


def _tried(job: Job, module: ModuleType) -> Compiled:
    try:
        return _compiled(job, module)
    except Exception as error:  # the compiler's own, of many kinds
        return Compiled(error=_last_line(str(error)) or type(error).__name__)


def _compiled(job: Job, module: ModuleType) -> Compiled:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = _kernel(job.kernel, module)
    names = list(kernel.arg_names)
    if set(names) != {*job.types, *job.constants}:
        wanted = ", ".join({**job.types, **job.constants})
        return Compiled(error=f"{job.kernel} takes {', '.join(names)}, not {wanted}")
    aligned = [name for name, kind in job.types.items() if kind.startswith(("*", "i"))]
    source = ASTSource(
        kernel,
        {name: job.types.get(name, "constexpr") for name in names},
        constexprs={(names.index(name),): value for name, value in job.constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", _ALIGNED]] for name in aligned},
    )
    target = GPUTarget("cuda", TARGETS[job.card].capability, 32)
    options = {"num_warps": job.warps, "num_stages": job.stages}
    began, log = _processor_seconds(), io.StringIO()
    with contextlib.redirect_stdout(log):
        made = triton.compile(source, target=target, options=options)
    return Compiled(
        instruction=_instruction(made.asm["ptx"]),
        shared=made.metadata.shared,
        seconds=round(_processor_seconds() - began, 2),
        **_of_the_assembler(log.getvalue()),
    )


def _too_late(seconds: float) -> Compiled:
    return Compiled(error=f"not compiled within {seconds:g} seconds")


def _last_line(text: str) -> str:
    return next(iter(reversed(text.strip().splitlines())), "")


def _processor_seconds() -> float:
    return sum(os.times()[:4])  # its own, and the assembler's, which is a child of it


def _module(source: str) -> ModuleType:
    sys.path.insert(0, str(Path(source).parent))  # for what it imports from beside itself
    spec = importlib.util.spec_from_file_location("kernels_to_compile", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _kernel(name: str, module: ModuleType) -> Any:
    import triton

    kernel = getattr(module, name)
    while not isinstance(kernel, triton.JITFunction):  # an autotuner or a heuristic around it
        kernel = kernel.fn
    return kernel


def _instruction(ptx: str) -> str:
    return next((short for name, short in _TENSOR_CORES.items() if name in ptx), NO_TENSOR_CORES)


def _of_the_assembler(log: str) -> dict[str, int]:
    # "… 8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads", "Used 224 registers, …"
    return {
        "registers": max(map(int, re.findall(r"Used (\d+) registers", log))),
        "spilled": sum(map(int, re.findall(r"(\d+) bytes spill (?:stores|loads)", log))),
    }


if __name__ == "__main__":
    main()
