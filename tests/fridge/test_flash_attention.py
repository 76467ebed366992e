"""Unit 06's library: Triton or its absence, the skip, the bench with its pictures, and the tuned kernel."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

from fridge import pictures
from fridge.attention import bench, kernels, papers, sweeps
from fridge.memory.cards import CARDS
from fridge.notebook import scoreboard, syllabus
from fridge.testing import exact_attention, exercise, needs, outcome, randn

UNIT = Path(__file__).parents[2] / "solutions" / "06-flash-attention"
SUM = """
import torch
{before}
from fridge.attention.kernels import DEVICE, tl, triton

@triton.jit
def total(x, y, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(y, tl.sum(tl.load(x + i, mask=i < n, other=0.0), 0) + tl.cdiv(n, 2) + tl.max(tl.zeros([2], tl.float32), 0))

y = torch.zeros(1, device=DEVICE)
total[(1,)](torch.arange(3.0, device=DEVICE), y, 3, BLOCK=4)
print(float(y))
"""


def run(code, folder):
    path = folder / "kernel.py"  # Triton reads a kernel's source from its file
    path.write_text(code, encoding="utf-8")
    return subprocess.run([sys.executable, path], capture_output=True, text=True, check=False, timeout=540)


@pytest.mark.skipif(not kernels.INSTALLED, reason="Triton is not installed")
@pytest.mark.parametrize("before", ["", "import triton, triton.language"])
def test_a_kernel_runs_also_where_triton_was_imported_before(before, tmp_path):
    """bitsandbytes imports Triton to compile; its own functions (max, cdiv) then fail in the interpreter."""
    done = run(SUM.format(before=before), tmp_path)
    assert done.stdout == "5.0\n", done.stderr


HIDE = "import sys; sys.modules['triton'] = None; import importlib.util; find = importlib.util.find_spec; " + (
    "importlib.util.find_spec = lambda name, *rest: None if name == 'triton' else find(name, *rest)"
)


def test_without_triton_kernels_can_be_defined_and_say_what_is_missing(tmp_path):
    """The handout must run on a Mac: a decorator that fails would look like a broken notebook."""
    done = run(SUM.format(before=HIDE), tmp_path)
    assert "ModuleNotFoundError: Triton is not installed here" in done.stderr
    assert "total[(1,)]" in done.stderr  # and not before


def test_a_missing_package_skips_an_exercise_and_keeps_its_points(monkeypatch, capsys):
    """Who can't install Triton must lose nothing, and must not be told that the tests passed."""
    monkeypatch.setattr(outcome, "_installed", lambda package: False)
    with exercise("triton-forward"):
        needs("triton")
        raise AssertionError("the tests went on")
    assert "skipped" in capsys.readouterr().out
    assert scoreboard.outcomes()["triton-forward"] == scoreboard.SKIPPED
    shown = scoreboard.show("06-flash-attention")
    assert shown.earned == syllabus.points("triton-forward")
    assert not scoreboard.ready("triton-forward")


def test_an_answer_cannot_skip_an_exercise_whose_package_is_there():
    """`raise Skipped("torch")` in an answer would be worth all points."""
    with pytest.raises(outcome.Wrong), exercise("triton-forward"):
        raise outcome.Skipped("torch")


def test_naive_and_fused_attention_agree():
    """A bench of two different things would compare nothing."""
    q, k, v = (randn(1, 2, 40, 16, seed=seed) for seed in range(3))
    for causal in (False, True):
        expected = exact_attention(q, k, v, causal)[0].float()
        for name, attend in bench.contestants("cpu").items():
            torch.testing.assert_close(attend(q, k, v, causal), expected, atol=1e-5, rtol=0, msg=name)


def test_a_measurement_says_what_went_wrong():
    """Naive attention runs out of memory at the longest length: that is a result, and must not end the sweep."""

    def full(q, k, v, causal):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmuch")

    def missing(q, k, v, causal):
        raise RuntimeError("No available kernel. Aborting execution.")

    setting = bench.Setting(1, 8, torch.float32, "cpu")
    row = bench.measure("full", full, 16, setting)
    assert (row["status"], row["reason"]) == ("out of memory", "CUDA out of memory. Tried to allocate")
    assert bench.measure("missing", missing, 16, setting)["status"] == "not supported"
    assert "seconds" not in row
    json.dumps(row)


def test_operations_are_counted_as_in_the_papers():
    """TFLOP/s compare with a paper's only if they count the same: 4 n^2 d a head, half if causal, 2.5 backwards."""
    forward = bench.Setting(16, 128, torch.float32, "cpu", batch=2)
    assert bench.operations(1024, forward) == 4 * 2 * 16 * 1024**2 * 128
    causal = bench.Setting(16, 128, torch.float32, "cpu", causal=True, backward=True, batch=2)
    assert bench.operations(1024, causal) == 5 * 2 * 16 * 1024**2 * 128


def test_the_table_is_counted_for_all_heads():
    """Stands beside peaks that a CPU can't show: heads, batch and the size of a value all count."""
    setting = bench.Setting(3, 16, torch.float32, "cpu", batch=2)
    row = bench.measure("naive", bench.naive, 32, setting)
    assert bench.table_bytes(row) == 2 * 3 * 32 * 32 * 4
    assert bench.table_bytes(row | {"dtype": "float16"}) == 2 * 3 * 32 * 32 * 2


def test_titles_name_who_was_measured_best(no_window):
    """Guards against a title that a slow machine contradicts: both name what the rows say."""
    shared = {"heads": 1, "batch": 1, "dtype": "float32", "status": "ok"}
    rows = {
        name: [{**shared, "length": 64, "seconds": seconds, "peak_bytes": peak}]
        for name, seconds, peak in (("naive", 1.0, 900), ("SDPA flash", 2.0, 500))
    }
    pictures.time_and_memory(rows)
    left, right = plt.gcf().axes
    assert left.get_title(loc="left") == "At 64 positions, naive is the fastest"
    assert right.get_title(loc="left") == "… and SDPA flash has the lowest peak"
    [table] = [line for line in right.lines if line.get_label().startswith("one table")]
    assert list(table.get_ydata()) == [64 * 64 * 4 / 1e6]


def test_the_program_that_measures_runs_on_a_cpu(tmp_path):
    """It is to run once, on a rented GPU, with nobody there to mend it."""
    out = tmp_path / "cpu.json"
    command = [sys.executable, UNIT / "measure_gpu.py", "--device", "cpu", "--lengths", "32", "48", "--head-dims", "16"]
    command += ["--positions", "48", "--features", "16", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=540)
    assert done.returncode == 0, done.stderr
    [results] = sweeps.kept(tmp_path)
    names = {row["name"] for row in results["rows"]}
    assert {"naive", "SDPA math", "SDPA flash"} <= names
    assert ("Triton (tuned)" in names) == kernels.INSTALLED
    assert {row["status"] for row in results["rows"]} == {"ok"}
    assert results["matmul_tflops"] > 0
    assert {"date", "torch", "cpu"} <= set(results["machine"])
    pictures.teraflops(results)
    pictures.time_and_memory({"naive": [row for row in results["rows"] if row["name"] == "naive"][:2]})
    plt.close("all")


def test_a_plan_has_the_most_telling_rows_first():
    """Guards against ten minutes on a rented GPU that end with half a comparison."""
    rows = sweeps.plan(["naive", "flash"], "cuda", dtype=torch.float16)
    assert [(row.name, row.length) for row in rows[:4]] == [
        ("naive", 4096),
        ("flash", 4096),
        ("naive", 1024),
        ("flash", 1024),
    ]
    assert len(rows) == len(set(rows)) == 2 * 6 * 2 * 4
    sizes = {(row.setting.batch * row.length, row.setting.heads * row.setting.head_dim) for row in rows}
    assert sizes == {(sweeps.POSITIONS, sweeps.FEATURES)}
    passes = [(row.setting.causal, row.setting.backward) for row in rows]
    assert passes == sorted(passes, key=sweeps.PASSES.index)


def test_a_sweep_keeps_what_it_has_after_each_row():
    """Guards against a machine that is taken away, and with it all that was measured."""
    ways = {"naive": bench.naive, "broken": lambda *inputs: 1 / 0}
    rows = sweeps.plan(["naive", "naive", "broken"], "cpu", [16], [8], positions=16, features=8)[:3]
    seen = []
    with pytest.raises(ZeroDivisionError):
        sweeps.sweep(rows, ways, keep=lambda results: seen.append(json.loads(json.dumps(results))))
    assert [len(results["rows"]) for results in seen] == [1, 2]
    assert seen[-1]["planned"] == 3
    assert sweeps.sweep(rows, ways, seconds=-1)["rows"] == []


def test_time_at_best_is_of_the_card_and_the_pass():
    """Guards against a plan that costs the same on a T4 as on an H100, and one that forgets what has no room."""
    [row] = sweeps.plan(["SDPA flash"], "cuda", [4096], [128], torch.float16)[:1]
    operations = bench.operations(4096, row.setting)
    assert sweeps.seconds_at_best(row, CARDS["A100-80"]) == pytest.approx(sweeps.CALLS * operations / 312e12)
    assert sweeps.seconds_at_best(row, CARDS["T4"]) > 4 * sweeps.seconds_at_best(row, CARDS["A100-80"])
    longest = sweeps.plan(["naive"], "cuda", [16384], [64], torch.float16)
    assert sweeps.seconds_at_best(longest[0], CARDS["T4"]) is None  # 32 tables of 268 million scores, three times
    assert sweeps.seconds_at_best(longest[0], CARDS["H100-80"]) is not None


def test_the_dry_run_tells_what_would_be_done():
    """Guards against a program that needs a GPU to say what it would do on one."""
    command = [sys.executable, UNIT / "measure_gpu.py", "--dry", "T4", "--head-dims", "64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].split(": ")[0].split() == ["1", "head_dim", "64,", "forward", ",", "4096,", "naive"]
    assert any("out of memory, as predicted" in line for line in lines)
    assert lines[-1].startswith("all ")


def test_the_papers_numbers_have_a_place_and_are_possible():
    """Guards against a number without a source, one mistyped by a digit, and a figure that nobody can find again."""
    figures = papers.published()
    assert {figure["paper"] for figure in figures} == {"Dao et al. 2022", "Dao 2023", "Shah et al. 2024"}
    for figure in figures:
        assert figure["arxiv"]
        assert "page " in figure["place"]
        values = list(figure["series"].values())
        assert len({tuple(row) for row in values}) == 1, "all series have the same lengths"
        if figure["unit"] == papers.TERAFLOPS:
            most = CARDS[figure["card"]].flops / 1e12
            assert all(0 < value < most for row in values for value in row.values() if value is not None)
    forward = papers.published(card="H100-80", causal=False, head_dim=64, **{"pass": "forward"})
    assert [figure["place"] for figure in forward] == ["figure 5 (a), page 10"]
    assert forward[0]["series"]["FlashAttention-3"][16384] == 497
    assert forward[0]["series"]["PyTorch"][16384] is None


def test_the_papers_two_tables_of_one_run_agree():
    """Guards against a column that slipped: forward and backward take longer than forward, with each way and length."""
    [forward], [both] = (
        papers.published(unit=papers.MILLISECONDS, **{"pass": name}) for name in ("forward", "forward and backward")
    )
    for name, row in forward["series"].items():
        for length, value in row.items():
            there = both["series"][name][length]
            assert value is None or there is None or value < there


def test_the_pictures_draw():
    """A picture that fails stops the notebook."""
    pictures.two_ways_through_memory()
    pictures.two_partial_results()
    pictures.tiles_behind_the_mask()
    curves = {head_dim: {"naive": [1.0] * 6, "flash": [2.0] * 6} for head_dim in (64, 128)}
    pictures.published(papers.published(card="H100-80", causal=False, **{"pass": "forward"}), curves)
    plt.close("all")


@pytest.mark.skipif(not kernels.INSTALLED, reason="Triton is not installed")
@pytest.mark.parametrize(
    ("shape", "causal"),
    [((1, 2, 2, 40, 40, 16), True), ((1, 2, 2, 33, 50, 16), False), ((2, 1, 1, 7, 70, 16), True)],
)
def test_the_tuned_kernel_is_right(shape, causal, monkeypatch):
    """Its figures are worth nothing if its output or its gradients are off."""
    monkeypatch.syspath_prepend(UNIT)
    spec = importlib.util.spec_from_file_location("triton_flash", UNIT / "triton_flash.py")
    tuned = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tuned)
    batch, heads, kv_heads, queries, keys, head_dim = shape
    q = randn(batch, heads, queries, head_dim, seed=1).requires_grad_()
    k, v = (randn(batch, kv_heads, keys, head_dim, seed=seed).requires_grad_() for seed in (2, 3))
    do = randn(batch, heads, queries, head_dim, seed=4)
    expected = exact_attention(q, k, v, causal)[0]
    gradients = torch.autograd.grad(expected, (q, k, v), do.double())
    got = tuned.attention(q, k, v, causal)
    near = 1e-4 if kernels.INTERPRETED else 1e-2
    torch.testing.assert_close(got, expected.float(), atol=near, rtol=0)
    for mine, theirs in zip(torch.autograd.grad(got, (q, k, v), do), gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=near, rtol=0)
