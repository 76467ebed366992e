"""`make lab` and `make formgrader` on copies of the repository, and Debian's chromium in front of them.

The environment isn't copied (a gigabyte): the copy's .venv is a folder of links, stamped with the copy's own
fingerprint, so that binder/prepare.py finds nothing to do and the Makefile's own command starts JupyterLab.
"""

import contextlib
import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
NOT_COPIED = (".git", ".venv*", "grading", "tests", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis")
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
JUPYTER_FOLDERS = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)
START_SECONDS = 400  # seen: 10 s
BUILD_SECONDS = 540
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # two at a time must not read an address from each other's log

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy of the machine's knows no loopback


@dataclass
class Lab:
    """A running JupyterLab."""

    url: str  # as printed, with its token
    root: Path  # the copied repository
    process: int  # make's; JupyterLab is a child of it

    def api(self, path: str) -> object:
        """The answer of Jupyter's REST API."""
        base, _, query = self.url.partition("?")
        base = base.partition("/lab")[0]
        with _direct.open(f"{base}/api/{path}?{query}", timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def chromium() -> Path:
    """The browser. Without one the test is skipped, but never in CI, where nobody would notice."""
    if not CHROMIUM.exists():
        leave = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        leave(f"there is no {CHROMIUM}: type `sudo apt install chromium` on Debian")
    return CHROMIUM


@pytest.fixture(scope="module")
def artifacts() -> Path:
    """Where pictures and the server's log are kept; git ignores it."""
    folder = ROOT / "tests" / "artifacts" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def lab(chromium: Path, tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Iterator[Lab]:
    """`make lab` for a learner, who has no masters."""
    root = copied(tmp_path_factory.mktemp("learner"), "lab", "solutions")
    with served(root, "lab", artifacts) as (url, process):
        yield Lab(url, root, process)


@pytest.fixture(scope="module")
def formgrader(chromium: Path, tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> Iterator[Lab]:
    """`make formgrader` for an instructor, with the gradebook that `autograder build` made."""
    # The linked environment has the package of the original, and nbgrader would find the copy's first.
    root = copied(tmp_path_factory.mktemp("instructor"), "test", "autograder")
    subprocess.run([root / ".venv" / "bin" / "autograder", "build"], cwd=root, check=True, timeout=BUILD_SECONDS)
    with served(root, "formgrader", artifacts) as (url, process):
        yield Lab(url, root, process)


@pytest.fixture
def page(chromium: Path, tmp_path: Path, artifacts: Path) -> Iterator[object]:
    """A page of a fresh chromium; what it showed last is kept, for a test that failed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=chromium,
            args=CHROMIUM_ARGS,
            viewport={"width": 1400, "height": 900},
        )
        browser.set_default_timeout(60_000)
        yield browser.pages[0]
        browser.pages[0].screenshot(path=artifacts / f"last{WORKER}.png")
        browser.close()


def copied(folder: Path, goal: str, *without: str) -> Path:
    """A copy of the repository in a folder, prepared for a goal of binder/prepare.py."""
    root = folder / "course"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*NOT_COPIED, *without))
    link_environment(root, goal)
    return root


def link_environment(root: Path, goal: str) -> None:
    """Give the copied repository the environment that runs this test, and the model that it has prepared."""
    from fridge import models

    venv = root / ".venv"
    venv.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith("."):
            (venv / entry.name).symlink_to(entry)
    stamps = runpy.run_path(str(root / "binder" / "stamps.py"))
    write, stamp = stamps["write"], stamps["stamp"]
    write(stamp(venv, goal), stamps["fingerprint"](venv))
    write(stamp(venv, "model"), f"{stamps['model_choice']()}\n{models.install()}")
    # If not, make would spend its minutes on an environment of its own.
    assert stamps["is_prepared"](venv, goal), "binder/stamps.py has other stamps than this fixture knows"


@contextlib.contextmanager
def served(root: Path, target: str, artifacts: Path) -> Iterator[tuple[str, int]]:
    """`make TARGET BROWSER=no PORT=…`: the address that it prints, its process. Stopped with all that it started."""
    log = artifacts / f"{target}{WORKER}.log"
    command = ["make", target, "BROWSER=no", f"PORT={free_port()}", f"PYTHON={sys.executable}"]
    with log.open("w") as said:
        server = subprocess.Popen(
            command, cwd=root, env=environment(root.parent), stdout=said, stderr=said, start_new_session=True
        )
    try:
        yield printed_url(server, log), server.pid
    finally:
        stop(server)


def environment(folder: Path) -> dict[str, str]:
    """This process's environment, with Jupyter's own folders fresh: no person's settings decide the outcome."""
    fresh = {name: str(folder / name.lower()) for name in JUPYTER_FOLDERS}
    return {**os.environ, **fresh}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def printed_url(server: subprocess.Popen, log: Path) -> str:
    """The address that JupyterLab prints for a person to click on."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+/\S*\?token=\w+", log.read_text()):
            return found.group()
        time.sleep(0.2)
    raise AssertionError(f"`{' '.join(server.args[:2])}` printed no address; it said:\n{log.read_text()}")


def stop(server: subprocess.Popen) -> None:
    """End make, JupyterLab and its kernels (JupyterLab ends them when asked kindly)."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is None:
            os.killpg(server.pid, number)
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                continue
