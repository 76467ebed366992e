"""One user's tokens by each way to fuse, and how much of a processor they take; kept in `fridge/fusion/measurements/`.

python solutions/10-kernel-fusion/measure_fusion.py                       # all that is missing
python solutions/10-kernel-fusion/measure_fusion.py --only torch.compile  # ways whose names hold this, anew
python solutions/10-kernel-fusion/measure_fusion.py --install             # OpenVINO's environment first, once

One thread, and processor seconds, which hardly change with what else runs. Each way generates from the same prompt, greedily;
a short reply is subtracted from a long one, so that loading, compiling and the prompt don't count. Merged layers are
the master's own answers. `torch.compile` wants a C++ compiler and takes minutes.
"""

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import torch
from torch._inductor.utils import fresh_cache, run_and_get_code

from autograder.authoring.answers import answers
from fridge import models
from fridge.fusion import counting, peers
from fridge.fusion.step import StaticStep
from fridge.quantization import llama_cpp_peer
from fridge.serving import edge
from fridge.serving.engine import Engine
from fridge.serving.engine.linears import Int8Linear, PackedLinear
from fridge.weights import embedded
from fridge.workbench import environments, measure, records

PROMPT = "The capital of France is"
SHORT, LONG, REPEATS, PLACES = 4, 36, 3, 256
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-openvino"
OPENVINO = "openvino-genai==2026.4.1"
Row = dict[str, Any]


def main() -> None:
    """Measure what is missing; the file is written after each way."""
    options = _options()
    if options.install:
        with environments.making(ENVIRONMENT, "OpenVINO") as (_, install):
            install(OPENVINO)
    torch.set_num_threads(1)
    record = records.read(
        options.out, {"machine": {}, "versions": {}, "prompt": PROMPT, "rows": []}
    )
    there = {row["name"]: row for row in record["rows"]}
    for name, way in WAYS.items():
        if name in there and not (options.only and options.only in name):
            continue
        if options.only and options.only not in name:
            continue
        row = way()
        if row is None:
            continue
        there[name] = {"name": name, **row}
        print(
            f"{name:32}{row['per_processor_second']:8.1f} tokens a processor second", flush=True
        )
        record["machine"] = {**measure.machine(), "threads": 1}
        record["versions"] |= {"torch": torch.__version__, **there[name].pop("versions", {})}
        if wrote := there[name].pop("wrote", None):
            record["inductor"] = wrote
        record["rows"] = [there[known] for known in WAYS if known in there]
        records.keep(record, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One user's tokens by each way to fuse.")
    parser.add_argument("--only", default="", help="ways whose names hold this, measured anew")
    parser.add_argument("--install", action="store_true", help="make OpenVINO's environment")
    parser.add_argument("--out", type=Path, default=peers.KEPT)
    return parser.parse_args()


def _model() -> tuple[Any, list[int]]:
    return models.load(), models.load_tokenizer()(PROMPT)["input_ids"]


def _static(merged: bool, compiled: bool) -> Row:
    """A decode step on static buffers, with or without merged layers and a compiler."""
    model, prompt = _model()
    own: dict[str, Any] = {}
    if merged:
        own = _answers()
    step = StaticStep(model, PLACES, own.get("merge"), own.get("merged_layer"))
    calls = counting.calls(lambda: step(torch.tensor([prompt[0]]), torch.tensor([0])))
    run, began = step, time.monotonic()
    codes: list[str] = []
    if compiled:
        run = torch.compile(step, fullgraph=True, dynamic=False)
        with fresh_cache():  # what an earlier run has compiled doesn't count
            _, codes = run_and_get_code(run, torch.tensor([prompt[0]]), torch.tensor([0]))
    compiling = time.monotonic() - began

    def generate(new: int) -> list[int]:
        tokens = list(prompt)
        for position in range(len(prompt) + new - 1):
            logits = run(torch.tensor([tokens[position]]), torch.tensor([position]))
            if position >= len(prompt) - 1:
                tokens.append(int(logits.argmax()))
        return tokens[len(prompt) :]

    row = _timed(generate) | {"bits": 32}
    if compiled:
        kernels = re.findall(
            r"(cpp_fused\w+) = async_compile\.cpp_pybinding\(.*?\'\'\'(.*?)\'\'\'",
            codes[0],
            re.S,
        )
        calls_of = sum(len(re.findall(rf"\b{name}\(", codes[0])) for name, _ in kernels)
        norm = min(
            (pair for pair in kernels if "rsqrt" in pair[0]), key=lambda pair: len(pair[1])
        )
        note = f"{calls_of} launches of {len(kernels)} kernels beside the products; {compiling:.0f} s by the clock to compile"
        return row | {"note": note, "wrote": {"name": norm[0], "code": norm[1]}}
    return row | {"note": f"{calls.total()} calls, {counting.products(calls)} of them products"}


def _engine(make_linear: Callable[..., Any], bits: int, note: str) -> Row:
    model, prompt = _model()
    engine = Engine(model, num_blocks=64, max_sequences=1, make_linear=make_linear)

    def generate(new: int) -> list[int]:
        engine.add(prompt, max_new_tokens=new)
        tokens = []
        while engine.busy:
            tokens += [output.token for output in engine.step()]
        return tokens

    return _timed(generate) | {"bits": bits, "note": note}


def _openvino() -> Row | None:
    python = environments.python_of(ENVIRONMENT)
    if python is None:
        print("OpenVINO: its environment is missing, --install makes it", file=sys.stderr)
        return None
    task = {
        "file": str(embedded.gguf_file()),
        "prompt": PROMPT,
        "lengths": [SHORT, LONG],
        "repeats": REPEATS,
    }
    script = Path(__file__).with_name("openvino_script.py")
    done = subprocess.run(
        [python, script], input=json.dumps(task), capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    spent = {int(length): times for length, times in found["spent"].items()}
    name, number = found["version"].split()
    note = "reads the course's GGUF, products in 4 bits"
    return _rate(spent) | {
        "bits": 4,
        "note": note,
        "says": found["said"][:60],
        "versions": {name: number},
    }


def _llama_cpp() -> Row | None:
    if not llama_cpp_peer.is_there():
        return None
    prompt = models.load_tokenizer()(PROMPT)["input_ids"]
    spent: dict[int, list[float]] = {SHORT: [], LONG: []}
    for _ in range(REPEATS):
        for length, times in spent.items():
            reply = llama_cpp_peer.reply(embedded.gguf_file(), prompt, length, threads=1)
            times.append((len(prompt) + length) / reply.per_processor_second)
    name, number = reply.version.split()
    says = models.load_tokenizer().decode(reply.tokens)[:60]
    note = "reads the course's GGUF, products in 4 bits"
    return _rate(spent) | {"bits": 4, "note": note, "says": says, "versions": {name: number}}


def _tab() -> Row | None:
    """wllama on the page of `fridge edge`, one thread; counted is all that the browser does, drawing, too."""
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        print("a browser tab: chromium or playwright is missing", file=sys.stderr)
        return None
    from playwright.sync_api import sync_playwright

    spent: dict[int, list[float]] = {SHORT: [], LONG: []}
    with edge.running(embedded.gguf_file()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(url)
        page.locator("#load").click()
        page.get_by_text("Loaded. Press Write.").wait_for()
        for _ in range(REPEATS + 1):
            for length, times in spent.items():
                page.locator("#tokens").fill(str(length))
                before = _processor_seconds()
                page.locator("#write").click()
                page.locator("#stop:not([disabled])").wait_for()
                page.locator("#write:not([disabled])").wait_for()
                times.append(_processor_seconds() - before)
        says = str(page.locator("#text").text_content()).removeprefix(PROMPT)[:60]
        version = browser.version
        browser.close()
    warm = {length: times[1:] for length, times in spent.items()}
    note = "WebAssembly in Chromium, reads the course's GGUF"
    versions = {"wllama": edge.WLLAMA, "chromium": version}
    return _rate(warm) | {"bits": 4, "note": note, "says": says, "versions": versions}


def _processor_seconds() -> float:
    """What the browser's processes have used so far; none of them ends meanwhile."""
    children = psutil.Process().children(recursive=True)
    return sum(sum(one.cpu_times()[:2]) for one in children if one.name().startswith("chrom"))


def _timed(generate: Callable[[int], list[int]]) -> Row:
    spent: dict[int, list[float]] = {SHORT: [], LONG: []}
    tokens = generate(SHORT)
    for _ in range(REPEATS):
        for length, times in spent.items():
            began = time.process_time()
            tokens = generate(length)
            times.append(time.process_time() - began)
    return _rate(spent) | {"says": models.load_tokenizer().decode(tokens)[:60]}


def _rate(spent: dict[int, list[float]]) -> Row:
    seconds = median(spent[LONG]) - median(spent[SHORT])
    rounded = {str(length): [round(one, 4) for one in times] for length, times in spent.items()}
    return {"per_processor_second": round((LONG - SHORT) / seconds, 2), "spent": rounded}


def _answers() -> dict[str, Any]:
    return answers(ROOT, "10-kernel-fusion")


WAYS: dict[str, Callable[[], Row | None]] = {
    "PyTorch, eager": lambda: _static(merged=False, compiled=False),
    "merged layers, eager": lambda: _static(merged=True, compiled=False),
    "torch.compile": lambda: _static(merged=False, compiled=True),
    "the course's engine": lambda: _engine(
        PackedLinear, 32, "unit 09's, merged and packed weights"
    ),
    "the course's engine, INT8": lambda: _engine(Int8Linear, 8, "products of 8-bit integers"),
    "OpenVINO GenAI": _openvino,
    "llama.cpp": _llama_cpp,
    "llama.cpp in a browser tab": _tab,
}


if __name__ == "__main__":
    main()
