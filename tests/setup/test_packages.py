"""binder/packages.py and sources.py: where packages come from, which torch, and what is said when it fails.

pip and uv are real where they are asked about settings; where they would install, a script stands in their place.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

MIRROR = "http://user:secret@mirror.example/simple"


@pytest.fixture
def bare(binder: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """The modules, in an environment without anybody's settings for pip or uv."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        del os.environ[name]
    os.environ |= {"PIP_CONFIG_FILE": os.devnull, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    return binder


def of_uv(bare: SimpleNamespace, chosen: dict) -> str:
    return " ".join(bare.sources.for_uv(chosen)[0])


@pytest.mark.parametrize(
    "variables",
    [
        {"PIP_INDEX_URL": MIRROR, "PIP_EXTRA_INDEX_URL": "https://a/simple https://b/simple", "PIP_FIND_LINKS": "/w"},
        {"UV_DEFAULT_INDEX": MIRROR, "UV_INDEX": "more=https://a/simple https://b/simple", "UV_FIND_LINKS": "/w"},
        {"UV_INDEX_URL": MIRROR, "UV_EXTRA_INDEX_URL": "https://a/simple https://b/simple", "UV_FIND_LINKS": "/w"},
    ],
)
def test_a_mirror_set_for_one_tool_is_meant_for_both(bare: SimpleNamespace, variables: dict) -> None:
    """torch, too: it comes from the same list of places as all else."""
    os.environ |= variables
    chosen = bare.sources.settings(Path(sys.executable))
    seen = bare.sources.for_pip(chosen)
    assert seen["PIP_INDEX_URL"] == MIRROR
    assert seen["PIP_EXTRA_INDEX_URL"] == "https://a/simple https://b/simple"
    assert seen["PIP_FIND_LINKS"] == "/w"
    options = of_uv(bare, chosen)
    assert f"--default-index {MIRROR} --index https://a/simple --index https://b/simple --find-links /w" in options
    assert bare.sources.place(chosen) == " (http://mirror.example/simple)", "no password in a message"


def test_files_with_settings_are_read(bare: SimpleNamespace, tmp_path: Path) -> None:
    """pip's file, with a section of its own for `pip install`; uv's file fills what pip's leaves open."""
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://old/simple\ntimeout = 70\n[install]\nindex-url = https://new/simple\n"
    )
    os.environ["PIP_CONFIG_FILE"] = str(file)
    (tmp_path / "config/uv").mkdir(parents=True)
    (tmp_path / "config/uv/uv.toml").write_text(
        'find-links = ["/wheels"]\nallow-insecure-host = ["mirror.example"]\n[[index]]\nurl = "https://uvs/simple"\n'
        'default = true\n[[index]]\nname = "more"\nurl = "https://more/simple"\n'
    )
    chosen = bare.sources.settings(Path(sys.executable))
    assert chosen["index-url"] == "https://new/simple"
    assert chosen["extra-index-url"] == "https://more/simple"
    assert "--allow-insecure-host mirror.example" in of_uv(bare, chosen)
    assert bare.sources.for_pip(chosen)["PIP_TRUSTED_HOST"] == "mirror.example"
    assert bare.sources.for_uv(chosen)[1]["UV_HTTP_TIMEOUT"] == "70"


def test_settings_for_other_environments_are_kept_away(bare: SimpleNamespace) -> None:
    """PIP_USER stops pip in any venv, PIP_TARGET puts packages elsewhere, a constraint forbids ours."""
    others = {"PIP_USER": "1", "PIP_TARGET": "/t", "PIP_PREFIX": "/p", "PIP_CONSTRAINT": "/c", "PIP_NO_DEPS": "1"}
    others |= {"PIP_REQUIRE_VIRTUALENV": "1", "UV_SYSTEM_PYTHON": "1", "UV_OFFLINE": "1", "UV_CONSTRAINT": "/c"}
    os.environ |= others
    chosen = bare.sources.settings(Path(sys.executable))
    pip, uv = bare.sources.for_pip(chosen), bare.sources.for_uv(chosen)[1]
    assert not others.keys() & pip.keys()
    assert not others.keys() & uv.keys()
    found = subprocess.run([sys.executable, "-m", "pip", "config", "list"], env=pip, capture_output=True, text=True)
    assert not re.search("user|target|prefix|constraint|deps", found.stdout), found.stdout


def test_a_damaged_setting_is_named(bare: SimpleNamespace, tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("index-url = https://no/section\n")
    os.environ["PIP_CONFIG_FILE"] = str(file)
    with pytest.raises(bare.packages.NotInstalled, match=r"can't read its own settings.*pip\.conf"):
        bare.packages.Installer(Path(sys.executable), tmp_path / "log")


class Scripted:
    """A `Step` whose commands answer from a list: (part of the command line, exit status, what is printed)."""

    def __init__(self, *answers: tuple[str, int, str]):
        self.answers, self.commands, self.told = answers, [], []

    def run(self, command: list, environ: dict, folder: Path) -> tuple[int, str]:
        line = " ".join(map(str, command))
        self.commands.append(line)
        return next((answer[1:] for answer in self.answers if re.search(answer[0], line)), (0, ""))

    def tell(self, detail: str) -> None:
        self.told.append(detail)


@pytest.fixture
def installer(bare: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """An installer on a machine without a GPU."""
    monkeypatch.setattr(bare.packages, "wants_cpu_build", lambda: True)
    monkeypatch.setattr(bare.packages, "free_gb", lambda folder: 50)
    return bare.packages.Installer(Path(sys.executable), tmp_path / "log")


CUDA = "Would install 2 packages\n + nvidia-cublas==13.1\n + torch==2.13.0\n"
CPU = "Would install 1 package\n + torch==2.13.0+cpu\n"


def test_a_torch_without_cuda_is_taken_from_where_it_is_found(installer: object) -> None:
    """Where the reader's own places have one, no other index is asked."""
    step = Scripted(("--dry-run", 0, CPU))
    installer.install(step, "lab", compiled=False)
    assert len(step.commands) == 2
    assert "--torch-backend" not in "".join(step.commands)
    assert step.told == ["1 packages"]


def test_a_torch_with_cuda_is_seen_before_it_is_fetched(installer: object, capsys: pytest.CaptureFixture) -> None:
    step = Scripted(("--torch-backend=cpu.*--dry-run", 0, CPU), ("--dry-run", 0, CUDA))
    installer.install(step, "lab", compiled=True)
    assert "--torch-backend=cpu --compile-bytecode" in step.commands[-1]
    assert "CUDA" not in capsys.readouterr().out


def test_a_torch_with_cuda_that_must_be_is_announced(
    installer: object, bare: SimpleNamespace, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a mirror or a firewall torch's own index doesn't answer. What is to come is said, and must fit."""
    step = Scripted(("--torch-backend", 2, "error: timed out"), ("--dry-run", 0, CUDA))
    installer.install(step, "lab", compiled=False)
    assert "CUDA, 3 GB to fetch" in capsys.readouterr().out
    assert "--torch-backend" not in step.commands[-1]
    monkeypatch.setattr(bare.packages, "free_gb", lambda folder: 6)
    with pytest.raises(bare.packages.NotInstalled, match=r"6\.0 GB are free.*PIP_EXTRA_INDEX_URL"):
        installer.install(Scripted(*step.answers), "lab", compiled=False)


@pytest.mark.parametrize("failing", ["-m uv .*--dry-run", r"-m uv (?!.*--dry-run)"])
def test_pip_goes_on_where_uv_fails(installer: object, tmp_path: Path, failing: str) -> None:
    """An index that only pip understands, a processor without a uv."""
    (tmp_path / "torch.json").write_text('{"install": [{"metadata": {"name": "torch", "version": "2.13.0+cpu"}}]}')
    step = Scripted((failing, 2, "error: no"))
    installer.install(step, "lab", compiled=False)
    assert re.search(r"-m pip install .* torch$", step.commands[-2])
    assert re.search(r"-m pip install .* --editable \.\[lab\]$", step.commands[-1])


def test_pip_announces_cuda_too(installer: object, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "torch.json").write_text('{"install": [{"metadata": {"name": "nvidia-cublas", "version": "13"}}]}')
    installer.install(Scripted(("-m uv", 1, "No module named uv")), "lab", compiled=False)
    assert "CUDA, 3 GB to fetch" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "answers", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", 0, "disk is full"),
        (
            "WARNING: … NewConnectionError …\nERROR: No matching distribution found for uv",
            0,
            "could not reach",
        ),
        ("WARNING: … SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED", 0, "could not reach"),
        ("ERROR: No matching distribution found for uv", 1, "could not reach"),
        ("ERROR: Cannot install a and b because of conflicting dependencies.", 0, "stands above"),
    ],
)
def test_failures_are_told_apart(
    installer: object, bare: SimpleNamespace, capsys: pytest.CaptureFixture, said: str, answers: int, sentence: str
) -> None:
    """And pip's last lines are shown, for all else of it is in the log."""
    step = Scripted(("-m uv", 1, ""), ("index versions", answers, ""), ("-m pip", 1, "much\n" * 90 + said))
    with pytest.raises(bare.packages.NotInstalled, match=sentence):
        installer.install(step, "lab", compiled=False)
    shown = capsys.readouterr().err
    assert said.splitlines()[-1] in shown
    assert len(shown.splitlines()) < 15


def test_a_full_disk_under_uv_is_no_case_for_pip(installer: object, bare: SimpleNamespace) -> None:
    step = Scripted(("--dry-run", 0, CPU), ("-m uv", 2, "error: No space left on device (os error 28)"))
    with pytest.raises(bare.packages.NotInstalled, match="disk is full"):
        installer.install(step, "lab", compiled=False)
    assert len(step.commands) == 2


def test_a_socks_proxy_is_named_where_pip_needs_another(
    installer: object, bare: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv speaks SOCKS and pip doesn't, but pip has to fetch uv."""
    monkeypatch.setitem(os.environ, "ALL_PROXY", "socks5://127.0.0.1:7890")
    seen = []
    step = Scripted(("-m pip", 1, "ConnectionError"))
    usual = step.run
    step.run = lambda command, environ, folder: seen.append(environ) or usual(command, environ, folder)
    with pytest.raises(bare.packages.NotInstalled, match=r"SOCKS proxy.*HTTPS_PROXY=http://127"):
        installer.install_tools(step)
    assert "ALL_PROXY" not in seen[0], "pip would stop at it, and may get through without"


def test_uv_is_not_needed(installer: object) -> None:
    step = Scripted(("pip install .* uv$", 1, "ERROR: No matching distribution found for uv"))
    installer.install_tools(step)
    assert step.commands[-1].endswith("requirements.lock setuptools")
