"""What the tests of the course library share: tiny checkpoints on disk, child processes, private mount namespaces.

No `__init__.py` may stand in this folder: it would be imported in place of the course library, whose name it has.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedModel

from fridge import models
from fridge.notebook import scoreboard

# Who is started by a shell's `&` ignores Ctrl+C, and so would all that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
CHOICES = ("FRIDGE_MODEL", "FRIDGE_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HOME")

Checkpoint = Callable[..., tuple[Path, PreTrainedModel]]


@pytest.fixture
def no_window() -> Iterator[None]:
    """Figures are drawn without a display, and closed. For a whole module: pytestmark = usefixtures."""
    before = mpl.get_backend()
    plt.switch_backend("Agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


@pytest.fixture(autouse=True)
def defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """No choice that the person who runs the tests made decides their outcome; FRIDGE_CACHE stays, to convert once."""
    for name in CHOICES:
        if name != "FRIDGE_CACHE":
            monkeypatch.delenv(name, raising=False)
    for name, empty in (("_outcomes", {}), ("_versions", {}), ("_attempted", set())):
        monkeypatch.setattr(scoreboard, name, empty)


@pytest.fixture(scope="session")
def default_folder() -> Path:
    """The default model's folder, converted by the set-up or now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FRIDGE_MODEL", raising=False)
        return models.folder()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """Makes a tiny random model of transformers' and saves it: (folder, model)."""

    def make(
        config: type[PreTrainedConfig] = LlamaConfig,
        model: type[PreTrainedModel] = LlamaForCausalLM,
        shard: str = "1GB",
        **changes: object,
    ) -> tuple[Path, PreTrainedModel]:
        torch.manual_seed(0)
        made = model(config(**SIZES | changes)).eval()
        for weight in made.parameters():  # as saved, norms are all 1 and biases all 0, which would hide a lost one
            weight.data.normal_(std=0.3)
        folder = tmp_path / "checkpoint"
        made.save_pretrained(folder, max_shard_size=shard)
        return folder, made

    return make


@pytest.fixture
def child(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs this Python with arguments in a process of its own that sees no choice but those given."""

    def run(*arguments: str, **choices: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment(**choices),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=540,
        )

    return run


@pytest.fixture
def with_mounts(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs shell lines, then Python code, in a mount namespace of their own; skips where the kernel forbids that."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        allowed = (
            subprocess.run([*unshare, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode == 0
        )
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("no private mounts here (unshare --user --mount)")

    def run(shell: str, code: str, **choices: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "in_namespace.py").write_text(code)
        return subprocess.run(
            [*unshare, "sh", "-ec", f'{shell}\nexec "$0" in_namespace.py', sys.executable],
            env=environment(**choices),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=540,
        )

    return run


def environment(**choices: str) -> dict[str, str]:
    """This process's environment with the given choices of model and no others."""
    kept = {name: value for name, value in os.environ.items() if name not in CHOICES}
    return kept | {"NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"} | choices
