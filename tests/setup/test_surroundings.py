"""binder/surroundings.py and steps.py: a shell's environment put right, and what a reader sees of a step."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("socks://127.0.0.1:7890/", "socks5://127.0.0.1:7890/"),
        ("SOCKS5://127.0.0.1:7890", "socks5://127.0.0.1:7890"),
        ("socks5h://127.0.0.1:7890", "socks5h://127.0.0.1:7890"),
        (" 'http://127.0.0.1:7890'", "http://127.0.0.1:7890"),
        ("127.0.0.1:7890", "127.0.0.1:7890"),
        ("", ""),
        ("socks4://user:secret@127.0.0.1:7890", None),
        ("quic://127.0.0.1:7890", None),
    ],
)
def test_a_proxy_is_one_that_httpx_speaks_to(
    binder: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, given: str, kept: str | None
) -> None:
    """JupyterLab and the hub's client make an httpx client at once, which raises for a scheme it doesn't know."""
    environ = {"ALL_PROXY": given, "no_proxy": "localhost,fd00::/8,[::1],::1"}
    said = binder.surroundings.settle(environ)
    assert environ.get("ALL_PROXY") == kept
    assert len(said) == (kept is None)
    assert "secret" not in "".join(said)
    assert environ["no_proxy"] == "localhost,::1"
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    httpx.Client().close()


def test_what_is_gone_is_left_out_and_named(binder: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    gone = {"SSL_CERT_FILE": "/gone.pem", "PIP_CERT": "/gone.pem", "TMPDIR": str(tmp_path / "file"), "TMP": "/gone"}
    gone["JUPYTER_RUNTIME_DIR"] = str(tmp_path / "file")
    kept = {"REQUESTS_CA_BUNDLE": str(tmp_path / "file"), "TEMP": str(tmp_path), "HTTPS_PROXY": "http://proxy"}
    environ = {**gone, **kept}
    said = binder.surroundings.settle(environ)
    assert environ == {**kept, "PYTHONUTF8": "1"}
    assert [line.partition("=")[0] for line in said] == list(gone)


def test_a_home_that_is_read_only_is_replaced(binder: SimpleNamespace, tmp_path: Path) -> None:
    """Jupyter and IPython write there before they say anything."""
    environ = {"HOME": "/proc/nowhere"}
    (said,) = binder.surroundings.house(environ, tmp_path / "home")
    assert environ == {"HOME": str(tmp_path / "home")}
    assert "HOME=/proc/nowhere is no folder" in said
    assert binder.surroundings.house(environ, tmp_path / "other") == []


def test_what_belongs_to_another_python_is_left_out(binder: SimpleNamespace) -> None:
    other = ["PYTHONHOME", "PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "JUPYTERLAB_DIR", "MPLBACKEND"]
    environ = dict.fromkeys(other, "x") | {"PYTHONHASHSEED": "0", "PATH": "/bin"}
    assert binder.surroundings.settle(environ) == []
    assert environ == {"PYTHONHASHSEED": "0", "PATH": "/bin", "PYTHONUTF8": "1"}


STEP = """
import os, sys
sys.path.insert(0, "binder")
import steps
from pathlib import Path
with steps.Step("[3/4] packages", Path("log")) as step:
    step.tell("142 of them")
    slow = "import time; print('Downloading torch (180MiB)', flush=True); time.sleep(2.5); print('x' * 9)"
    status, said = step.run([sys.executable, "-c", slow, "https://user:secret@index"], os.environ, Path("."))
print(status, said.splitlines())
"""


def test_a_step_is_one_line_in_a_log(checkout: Path) -> None:
    """A build's log or a pipe: no control characters, none of pip's words; these are in the file."""
    done = subprocess.run([sys.executable, "-c", STEP], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[3/4] packages",
        "      142 of them",
        "0 ['Downloading torch (180MiB)', 'xxxxxxxxx']",
    ]
    kept = (checkout / "log").read_text()
    assert "xxxxxxxxx" in kept
    assert "secret" not in kept


def test_a_steps_clock_moves_on_a_terminal(checkout: Path) -> None:
    """Guards against minutes without a sign."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", STEP], cwd=checkout, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    process.wait()
    writings = [re.sub(r"\x1b\[K", "", line).strip() for line in shown.decode().split("\r")]
    assert "[3/4] packages: 142 of them  0:00" in writings
    assert "[3/4] packages: 142 of them  0:01  fetching torch" in writings
    last = [line for line in writings if line.startswith("[3/4]")][-1]
    assert re.fullmatch(r"\[3/4\] packages: 142 of them  0:0\d", last), "ended by the time that it took"
