"""`make lab` in its real environment: a clone, the extra `lab` and no more, JupyterLab, a kernel.

Elsewhere tests run in an environment with all extras, where whatever a learner lacks is there. Packages come from uv's
cache and the model from its folder, if they have been there before: then this takes half a minute to make.
"""

import json
import os
import re
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
from urllib.error import HTTPError

import pytest
from checkouts import ROOT

START_SECONDS = 500  # on a new machine all packages are fetched
FIRST = "00-start-here/start_here.ipynb"
TROUBLE = re.compile(r"Traceback|\[E |\[W |WARNING|Error")
HOSTILE = {
    "ALL_PROXY": "socks://127.0.0.1:9",  # GNOME's spelling; httpx dies of it
    "HTTPS_PROXY": "socks4://127.0.0.1:9",
    "NO_PROXY": "fd00::/8,[::1]",
    "SSL_CERT_FILE": "/gone/cacert.pem",
    "TMPDIR": "/gone/tmp",
    "JUPYTER_CONFIG_DIR": "/proc/nowhere",
    "JUPYTER_DATA_DIR": "/proc/nowhere",
    "IPYTHONDIR": "/proc/nowhere",
    "JUPYTERLAB_DIR": "/gone/lab",
    "JUPYTER_PATH": "/gone/jupyter",
    "PYTHONHOME": "/gone/python",
    "PYTHONPATH": "/gone/packages",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONINSPECT": "1",
    "MPLBACKEND": "TkAgg",
    "LC_ALL": "xx_YY.GBK",
    "PIP_USER": "1",
    "PIP_TARGET": "/gone/target",
}
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Server:
    """A running `make lab`."""

    process: subprocess.Popen
    log: Path

    def url(self) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(r"http://127\.0\.0\.1:\d+/\S*\?token=\w+", self.log.read_text()):
                return found.group()
            time.sleep(0.2)
        raise AssertionError(f"`make lab` printed no address; it said:\n{self.log.read_text()}")

    def ask(self, path: str, data: object = None) -> dict:
        """What Jupyter answers to GET, or to POST with data."""
        base, token = re.match(r"(http://[^/]+)/.*token=(\w+)", self.url()).groups()
        body = None if data is None else json.dumps(data).encode()
        headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
        with _direct.open(urllib.request.Request(base + path, body, headers), timeout=200) as answer:
            said = answer.read()
        return json.loads(said) if said.startswith(b"{") else {}  # nbgrader's JSON says that it is HTML

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, number)
                try:
                    self.process.wait(30)
                except subprocess.TimeoutExpired:
                    continue


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this working tree, in a folder with a space and Chinese letters in its name."""
    folder = tmp_path_factory.mktemp("lab") / "my course 课程"
    names = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def started(clone: Path, log: Path, **environment: str) -> Iterator[Server]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    # Not below `make test`, and not in this environment.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "VIRTUAL"))
    }
    command = ["make", "lab", "BROWSER=no", f"PORT={port}", f"PYTHON={sys.executable}"]
    with log.open("w") as said:
        process = subprocess.Popen(
            command, cwd=clone, env=inherited | environment, stdout=said, stderr=said, start_new_session=True
        )
    server = Server(process, log)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def server(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`make lab` on a new clone, for somebody who has never started Jupyter."""
    home = tmp_path_factory.mktemp("jupyter")
    fresh = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    yield from started(clone, home / "make-lab.log", **fresh)


def test_a_learner_sees_no_trouble(server: Server, clone: Path) -> None:
    """Page, file, kernel, nbgrader's Validate button, terminal: all answer, and the whole log can be read."""
    server.url()
    lacks = subprocess.run([clone / ".venv/bin/python", "-c", "import jupytext"], capture_output=True, check=False)
    assert lacks.returncode, "this isn't the environment of `make lab`: it has the grader's packages"
    server.ask(f"/lab/tree/{FIRST}")
    assert server.ask(f"/api/contents/{FIRST}")["type"] == "notebook"
    assert server.ask("/api/terminals", {})["name"]
    session = {"path": FIRST, "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    kernel = server.ask("/api/sessions", session)["kernel"]["id"]
    end = time.monotonic() + 300
    while server.ask(f"/api/kernels/{kernel}")["execution_state"] == "starting" and time.monotonic() < end:
        time.sleep(0.5)
    validated = server.ask(f"/assignments/validate?path={FIRST}", {})
    assert validated["success"], validated
    assert "not attempted" in json.dumps(validated["value"]), "a handout's exercises"

    said = server.log.read_text()
    assert not TROUBLE.search(said), said
    assert len(said.splitlines()) <= 30, said
    assert re.findall(r"^\[\d/4\]", said, re.MULTILINE) == ["[1/4]", "[2/4]", "[3/4]", "[4/4]"]


def test_a_learner_has_no_parts_for_instructors(server: Server) -> None:
    """Formgrader on a learner's machine is a page that can only fail."""
    with pytest.raises(HTTPError, match="404"):
        server.ask("/formgrader")


def test_it_starts_whatever_the_shell_brings_along(server: Server, clone: Path, tmp_path: Path) -> None:
    """Each of these variables stops JupyterLab, or Python before it; what is left out is named."""
    server.url()  # the environment is there
    for other in started(clone, tmp_path / "log", **HOSTILE):
        other.ask(f"/lab/tree/{FIRST}")
        said = other.log.read_text()
        assert not TROUBLE.search(said), said
        for name in ("HTTPS_PROXY", "SSL_CERT_FILE", "TMPDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
            assert f"{name}={HOSTILE[name]} is left out" in said
