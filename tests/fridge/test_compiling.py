"""Kernels compiled for GPUs that aren't here: what the compiler says, the record of it, and who may try what."""

import json
import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from fridge.attention import compiling, kernels
from fridge.attention.compiling import Compiled, Job, compile_one
from fridge.attention.kernel_source import HEADER, kernel_source
from fridge.attention.kernels import tl, triton
from fridge.attention.targets import TARGETS
from fridge.memory.cards import CARDS

UNIT = Path(__file__).parents[2] / "solutions" / "06-flash-attention"
A100, H100, ADA = TARGETS["A100-80"], TARGETS["H100-80"], TARGETS["RTX 4090"]
SCALE = tl.constexpr(2.0)
TWICE = 2
pytestmark = pytest.mark.skipif(not kernels.INSTALLED, reason="Triton is not installed")


@triton.jit
def scaled(x):
    return x * SCALE * TWICE


@triton.jit
def product_kernel(a, b, c, SIZE: tl.constexpr):
    i = tl.arange(0, SIZE)
    at = i[:, None] * SIZE + i[None, :]
    tl.store(c + at, scaled(tl.dot(tl.load(a + at), tl.load(b + at))).to(tl.float16))


HALVES = dict.fromkeys("abc", "*fp16")


@pytest.fixture
def programs(monkeypatch):
    """The folder of the tuned kernel: what its programs import from beside themselves."""
    monkeypatch.syspath_prepend(UNIT)
    yield
    for name in ("configs", "compile_kernels"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("card", "instruction"), [("T4", "fma"), ("A100-80", "mma.sync"), ("H100-80", "wgmma")])
def test_a_product_runs_on_what_a_card_has(card, instruction):
    """Guards against a table that says the same of all cards; the kernel names a function, and numbers of a cell."""
    found = compiling.for_cards(product_kernel, HALVES, {"SIZE": 64}, [card])[card]
    assert found.error == ""
    assert found.instruction == instruction
    assert 0 < found.shared <= TARGETS[card].shared
    assert 0 < found.registers <= 255
    assert found.seconds > 0


def test_float32_that_must_be_exact_has_no_tensor_cores(tmp_path):
    """Guards against "tensor cores" said of every kernel with a product in it."""
    path = tmp_path / "exact.py"
    path.write_text(
        kernel_source(product_kernel).replace("tl.load(b + at))", "tl.load(b + at), input_precision='ieee')")
    )
    types = {"a": "*fp32", "b": "*fp32", "c": "*fp16"}
    assert compile_one(Job(str(path), "product_kernel", types, {"SIZE": 64}, "A100-80")).instruction == "fma"


def test_a_kernel_that_does_not_compile_says_why():
    """Guards against a traceback of the compiler's in a notebook: dtypes that don't go together, as in an answer."""
    found = compiling.for_cards(product_kernel, {**HALVES, "b": "*fp32"}, {"SIZE": 64}, ["A100-80"])["A100-80"]
    assert "same dtype" in found.error
    assert compiling.in_words("A100-80", found)[0] == found.error
    assert len(compiling.in_words("A100-80", found)) == len(compiling.COLUMNS)


def test_a_kernel_with_other_arguments_says_so():
    """Guards against a message of Triton's about indices, where an answer has a parameter more."""
    found = compiling.for_cards(product_kernel, {"a": "*fp16"}, {"SIZE": 64}, ["A100-80"])["A100-80"]
    assert found.error == "product_kernel takes a, b, c, SIZE, not a, SIZE"


def test_a_compilation_that_takes_too_long_is_ended(tmp_path):
    """Guards against minutes in a notebook: a T4 gets no tensor cores, and each product is written out."""
    path = tmp_path / "slow.py"
    path.write_text("import time\ntime.sleep(60)\n")
    found = compile_one(Job(str(path), "kernel", {}, {}, "T4"), seconds=1)
    assert found.error == "not compiled within 1 seconds"


def test_what_a_kernel_may_not_name_is_said():
    """Guards against a NameError in another process: a tensor of a cell can't go along."""
    table = kernels.torch.zeros(2)
    namespace = {"tl": tl, "triton": triton, "table": table, "scaled": scaled}
    exec("def bad(x):\n    return table", namespace)
    with pytest.raises(ValueError, match="table is of type Tensor"):
        kernel_source(namespace["bad"])


def test_trouble_comes_from_the_card():
    """Guards against block sizes that fit nowhere, or are dropped where they fit."""
    large = Compiled("mma.sync", shared=160 * 1024, registers=255)
    assert large.trouble(A100) == large.trouble(H100) == ""
    assert large.trouble(ADA) == "160 kB of shared memory, a program may have 99"
    assert Compiled("mma.sync", spilled=8).trouble(A100) == "spills 8 bytes a thread"


def test_targets_are_cards():
    """Guards against a card that the table of unit 01 doesn't know."""
    assert set(TARGETS) <= set(CARDS)


def test_the_record_holds_every_candidate(programs):
    """Guards against block sizes that were added and never compiled, and a record of another Triton's."""
    import configs

    record = json.loads(configs.RECORD.read_text(encoding="utf-8"))
    wanted = {
        (kernel, target.card, head_dim, config)
        for kernel in configs.CANDIDATES
        for target in TARGETS.values()
        for head_dim in (64, 128)
        for config in configs.candidates(kernel, target.capability)
    }
    rows = record["rows"]
    assert {(row["kernel"], row["card"], row["head_dim"], configs.config_of(row)) for row in rows} == wanted
    assert len(rows) == len(wanted)
    for row in rows:
        kept = configs.config_of(row) in configs.left(row["kernel"], row["head_dim"], row["capability"])
        assert kept or row["trouble"]
    by_card = {card: facts["triton"] for card, facts in record["machines"].items()}
    assert by_card == dict.fromkeys(TARGETS, version("triton"))


def test_what_is_left_on_a_card(programs, tmp_path):
    """Guards against a list that keeps what spills, and one that is empty where all do."""
    import configs

    def row(spilled, trouble, error="", stages=2):
        which = {"kernel": "_forward", "head_dim": 64, "capability": 80, "block_q": 64, "block_k": 32, "warps": 4}
        return {**which, "stages": stages, "spilled": spilled, "trouble": trouble, "error": error}

    path = tmp_path / "one.json"
    path.write_text(json.dumps({"rows": [row(0, ""), row(8, "spills", stages=3)]}))
    assert [one.stages for one in configs.left("_forward", 64, 80, path)] == [2]
    assert configs.left("_forward", 128, 80, path) == configs.CANDIDATES["_forward"]  # nothing is known of it
    path = tmp_path / "two.json"
    rows = [row(spilled, "spills", stages=spilled) for spilled in (5, 3, 9, 4)]
    path.write_text(json.dumps({"rows": [*rows, row(0, "late", "late", stages=1)]}))
    assert [one.stages for one in configs.left("_forward", 64, 80, path)] == [3, 4, 5]


SAMPLE = [("_forward", "A100-80", 64), ("_backward_keys", "H100-80", 128), ("_backward_queries", "RTX 4090", 128)]


@pytest.mark.parametrize(("kernel", "card", "head_dim"), SAMPLE)
def test_the_record_is_what_the_compiler_says(programs, kernel, card, head_dim):
    """Guards against a kernel that was changed and a record that wasn't: the first candidate of a kernel, anew."""
    again(kernel, card, head_dim, 1)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("card", TARGETS)
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("kernel", ["_forward", "_backward_keys", "_backward_queries"])
def test_the_whole_record_is_what_the_compiler_says(programs, kernel, card, head_dim):
    """The same for all; some twenty minutes on two processors."""
    again(kernel, card, head_dim, None)


def again(kernel, card, head_dim, most):
    import compile_kernels
    import configs

    wanted = {"kernel": kernel, "card": card, "head_dim": head_dim}
    rows = [row for row in json.loads(configs.RECORD.read_text())["rows"] if wanted.items() <= row.items()][:most]
    rows = [row for row in rows if not row["error"]]  # time limits are of the machine that made the record
    jobs = [compile_kernels.job(kernel, head_dim, configs.config_of(row), card) for row in rows]
    for row, found in zip(rows, compiling.compile_all(jobs, 600), strict=True):
        facts = ("instruction", "shared", "registers", "spilled", "error")
        assert {fact: getattr(found, fact) for fact in facts} == {fact: row[fact] for fact in facts}


@pytest.mark.parametrize(
    ("card", "instruction"), [("A100-80", "mma.sync"), ("RTX 4090", "mma.sync"), ("H100-80", "wgmma")]
)
def test_the_kernel_of_the_exercise_compiles_in_half_precision(card, instruction, tmp_path):
    """Guards against a table of unit 06 that holds errors: its own answer, as that notebook compiles it."""
    master = (UNIT / "flash_attention.py").read_text(encoding="utf-8")
    kernel = re.search(r"^@triton\.jit\ndef flash_kernel\(.*?(?=^def )", master, re.MULTILINE | re.DOTALL)[0]
    path = tmp_path / "kernel.py"
    path.write_text(HEADER + kernel, encoding="utf-8")
    types = {**dict.fromkeys("qkvo", "*fp16"), "lse": "*fp32", "queries": "i32", "keys": "i32", "scale": "fp32"}
    constants = {"GROUP": 1, "CAUSAL": True, "HEAD_DIM": 64, "BLOCK_Q": 64, "BLOCK_K": 32}
    found = compile_one(Job(str(path), "flash_kernel", types, constants, card))
    assert (found.error, found.instruction) == ("", instruction)
    assert not found.trouble(TARGETS[card])
