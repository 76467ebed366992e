"""Damaged models: each kind of damage is one sentence that says what to do, from every loader."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config

from fridge import models
from fridge.models import ModelUnavailable
from fridge.notebook import facts
from fridge.weights import model_folder

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def change(name: str, to: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(to((folder / name).read_bytes()))


def only_bin(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def only_gguf(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.Q4_0.gguf")


def index(weight_map: dict[str, str]) -> Callable[[Path], None]:
    text = json.dumps({"metadata": {}, "weight_map": weight_map})
    return lambda folder: (folder / model_folder.INDEX).write_text(text) and None


def a_folder(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


DAMAGES = {
    "weights: a pointer of LFS": (change("model.safetensors", lambda _: POINTER), "pointer of Git LFS.*`git lfs pull`"),
    "config: a pointer of LFS": (change("config.json", lambda _: POINTER), "config.json is a pointer of Git LFS"),
    "weights: half": (change("model.safetensors", lambda b: b[: len(b) // 2]), "broken off.*Fetch it again"),
    "weights: half a header": (change("model.safetensors", lambda b: b[:20]), "20 bytes. is broken off"),
    "weights: empty": (change("model.safetensors", lambda _: b""), "0 bytes. is broken off"),
    "weights: a web page": (change("model.safetensors", lambda _: b"<!doctype html><html>404"), "no safetensors file"),
    "weights: a pickle": (only_bin, "pytorch_model.bin, a pickle.*`python -c"),
    "weights: GGUF": (only_gguf, "model.Q4_0.gguf, and the course reads safetensors"),
    "weights: none": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
    "index: a shard is missing": (
        index({"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}),
        "1 of the 2 files .* are missing: model-00001-of-00002.safetensors",
    ),
    "index: half": (
        lambda folder: (folder / model_folder.INDEX).write_text('{"weight_map'),
        "index.json is broken off",
    ),
    "config: a byte order mark": (change("config.json", lambda b: b"\xef\xbb\xbf" + b), "byte order mark.*without"),
    "config: UTF-16": (change("config.json", lambda b: b.decode().encode("utf-16")[:-1]), "broken off or no JSON"),
    "config: half": (change("config.json", lambda b: b[:30]), "config.json is broken off or no JSON"),
    "config: a list": (change("config.json", lambda _: b"[]"), "doesn't say its type"),
    "config: no type": (change("config.json", lambda _: b"{}"), "doesn't say its type"),
    "config: of another model": (
        change("config.json", lambda b: b.replace(b'"llama"', b'"bert"')),
        "of the type 'bert'",
    ),
    "config: missing": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "weights: a folder": (a_folder("model.safetensors"), r"model.safetensors can't be read \(Is a directory\)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_a_sentence(checkpoint, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """Guards against a traceback of safetensors', transformers' or json's that names no file and no remedy."""
    folder, _ = checkpoint()
    do, words = DAMAGES[damage]
    do(folder)
    monkeypatch.setenv("FRIDGE_MODEL", str(folder))
    for load in (models.load, models.load_transformers, models.load_tokenizer, models.install):
        with pytest.raises(ModelUnavailable, match=words) as caught:
            load()
        assert str(caught.value).startswith(f"The model in {folder} can't be loaded: ")
        assert str(caught.value).endswith(" Or unset FRIDGE_MODEL for SmolLM2-135M-Instruct.")
        assert "\n" not in str(caught.value)
    assert facts.model_state() == facts.WRONG


def test_whole_models_have_no_fault(checkpoint, default_folder: Path) -> None:
    """Guards against a check that refuses what loads: the default, shards with an index."""
    assert model_folder.fault(default_folder) is None
    assert model_folder.tokenizer_fault(default_folder) is None
    folder, _ = checkpoint(shard="8KB")
    assert (folder / model_folder.INDEX).is_file()
    assert model_folder.fault(folder) is None


def test_the_command_that_converts_a_pickle_works(checkpoint, tmp_path: Path) -> None:
    """Guards against advice that fails."""
    folder, model = checkpoint()
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    command = shlex.split(re.search("`(.*)`", model_folder.fault(folder)).group(1))
    subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True, timeout=540, cwd=tmp_path)
    assert model_folder.fault(folder) is None


def test_no_permission(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against PermissionError for a model that another user downloaded."""
    folder, _ = checkpoint()
    monkeypatch.setenv("FRIDGE_MODEL", str(folder))

    def refuse(file: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        ModelUnavailable, match=r"config.json can't be read \(Permission denied\)\. Mend its permissions"
    ):
        models.load()
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(ModelUnavailable, match=r"can't be looked at \(PermissionError.*Correct the path or its permis"):
        models.load()


@pytest.mark.parametrize("name", ["model.gguf", "config.json"])
def test_a_file_in_place_of_a_folder(checkpoint, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Guards against asking the hub for `model.gguf`, which lies here."""
    folder, _ = checkpoint()
    (folder / name).touch()
    monkeypatch.chdir(folder)
    for chosen in (name, f"./{name}", str(folder / name)):
        monkeypatch.setenv("FRIDGE_MODEL", chosen)
        with pytest.raises(ModelUnavailable, match="is a file; it takes the folder of a model"):
            models.load()


@pytest.mark.parametrize("chosen", ["~nobody-of-this-name/model", "/x" * 3000])
def test_paths_that_are_none(monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    """Guards against RuntimeError and OSError of the path itself."""
    monkeypatch.setenv("FRIDGE_MODEL", chosen)
    with pytest.raises(ModelUnavailable, match=r"unset it for SmolLM2"):
        models.load()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"it has no tokenizer \(tokenizer.json or tokenizer.model\)"),
        (POINTER, "tokenizer.json is a pointer of Git LFS"),
        (b"{", "tokenizer.json is broken off"),
        (b'{"version": "1.0"}', "its tokenizer can't be read"),
    ],
)
def test_tokenizers(checkpoint, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str) -> None:
    """Guards against advice to install sentencepiece or tiktoken for a file that is missing or cut."""
    folder, _ = checkpoint()
    if content is not None:
        (folder / "tokenizer.json").write_bytes(content)
    monkeypatch.setenv("FRIDGE_MODEL", str(folder))
    models.load("cpu", torch.float32)
    with pytest.raises(ModelUnavailable, match=words):
        models.load_tokenizer()


def test_in_a_notebook_the_sentence_stands_alone(tmp_path: Path) -> None:
    """Guards against forty lines of frames above the one that helps. In a process of its own, as a kernel is."""
    GPT2Config().save_pretrained(tmp_path)
    cell = "from fridge import models; models.load()"
    shell = f"from IPython.core.interactiveshell import InteractiveShell as Shell; Shell.instance().run_cell({cell!r})"
    env = {**os.environ, "FRIDGE_MODEL": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", shell], env=env, capture_output=True, text=True, check=True)
    (line,) = (done.stdout + done.stderr).strip().splitlines()
    assert line.startswith(f"The model in {tmp_path} can't be loaded: it is of the type 'gpt2'")


def test_a_model_of_a_hub_is_looked_at_too(checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against a download that broke off, or a model on the hub that has only a pickle."""
    folder, _ = checkpoint()
    only_bin(folder)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: os.fspath(folder))
    monkeypatch.setenv("FRIDGE_MODEL", "somebody/something")
    with pytest.raises(ModelUnavailable, match="a pickle"):
        models.load()
