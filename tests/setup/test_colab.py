"""A notebook on Colab: its set-up cell installs the library from git and the model, and its cells run without nbgrader.

"Colab" is a bare environment with what the core needs and Colab has (torch, transformers, IPython …), a module
`google.colab`, and a git that finds the repository's address in a commit of this working tree. The cells run
unmodified, in one IPython process, as in one runtime.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNITS = ["00-start-here/start_here.ipynb", "03-kv-cache/kv_cache.ipynb"]
NOT_ON_COLAB = {"gguf", "elephant-in-the-fridge"}
NOT_IN_THE_CORE = ["nbgrader", "jupyterlab", "notebook", "ipykernel", "pytest", "jupytext"]

RUNTIME = """
import json, sys, time
import google.colab
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
with open(sys.argv[1]) as file:
    cells = json.load(file)
report = []
for cell in cells:
    start = time.perf_counter()
    error = shell.run_cell(cell).error_in_exec
    report.append({"seconds": time.perf_counter() - start, "error": error and f"{type(error).__name__}: {error}"})
    if error:
        break
with open(sys.argv[2], "w") as file:
    json.dump(report, file)
"""


@dataclass
class Colab:
    """A runtime's Python, the folder that its notebooks run in, and its environment variables."""

    python: Path
    content: Path
    environment: dict[str, str]

    def run(self, *cells: str) -> list[dict]:
        """Run cells in one process; a dict with `seconds` and `error` for each one, up to the first error."""
        asked, answered = self.content / "cells.json", self.content / "report.json"
        asked.write_text(json.dumps(cells))
        done = subprocess.run(
            [self.python, "-c", RUNTIME, asked, answered],
            cwd=self.content,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(answered.read_text())

    def packages(self) -> dict[str, tuple[str, int, float]]:
        """Each installed package's version, and the inode and time of its list of files: new ones if reinstalled."""
        site = self.content.parent.glob("venv/lib/python3*/site-packages")
        found = {}
        for dist in distributions(path=[str(folder) for folder in site]):
            record = Path(dist.locate_file(next(file for file in dist.files if file.name == "RECORD"))).stat()
            found[canonicalize_name(dist.name)] = (dist.version, record.st_ino, record.st_mtime)
        return found


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> Colab:
    """A new runtime. Seconds to make: packages are hard links to this environment's files."""
    folder = tmp_path_factory.mktemp("colab")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    site = next(folder.glob("venv/lib/python3*/site-packages"))
    for dist in [*core().values(), distribution("pip")]:
        link(dist, site)
    (site / "google/colab").mkdir(parents=True)
    (site / "google/colab/__init__.py").touch()
    (folder / "content").mkdir()
    commit_working_tree(folder / "repository")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    redirect = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{folder / 'repository'}.insteadOf",
        "GIT_CONFIG_VALUE_0": PROJECT["urls"]["Repository"],
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": "1",  # other tests run beside it: threads that wait for each other would take minutes
    }
    return Colab(folder / "venv/bin/python", folder / "content", kept | redirect)


def core() -> dict[str, Distribution]:
    """What the package needs without extras, and what that needs in turn, as installed here; less what Colab lacks."""
    found: dict[str, Distribution] = {}
    wanted = [Requirement(line) for line in PROJECT["dependencies"]]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found or name in NOT_ON_COLAB:
            continue
        found[name] = distribution(name)
        for line in found[name].requires or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                wanted.append(needed)
    return found


def link(dist: Distribution, site: Path) -> None:
    """Put an installed package's files into another site-packages; scripts outside it are left out."""
    for file in dist.files:
        source = Path(dist.locate_file(file))
        if ".." in file.parts or not source.exists():
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # the temporary folder is on another disk
            shutil.copy2(source, target)


def commit_working_tree(repository: Path) -> None:
    """A repository with one commit: this working tree, with what is not committed yet."""
    names = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (repository / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, repository / name)
    settings = ["user.name=test", "user.email=test@localhost", "core.hooksPath=/dev/null", "commit.gpgsign=false"]
    git = ["git", *(part for setting in settings for part in ("-c", setting))]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "working tree"]):
        subprocess.run([*git, *command], cwd=repository, check=True)


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", [UNITS[0], pytest.param(UNITS[1], marks=pytest.mark.long)])
def test_set_up_cell_then_every_cell(colab: Colab, notebook: str) -> None:
    """The handout's set-up cell, again, then the master's cells; what Colab had is as it was, torch above all."""
    before = colab.packages()
    assert "torch" in before
    assert not before.keys() & {canonicalize_name(name) for name in NOT_IN_THE_CORE}

    set_up = code_cells(ROOT / "course" / notebook)[0]
    where = "import fridge; assert 'site-packages' in fridge.__file__, fridge.__file__"
    first, second, _, *rest = colab.run(set_up, set_up, where, *code_cells(ROOT / "solutions" / notebook))

    assert first["error"] is None
    assert second["error"] is None
    assert second["seconds"] < 1
    after = colab.packages()
    assert not NOT_ON_COLAB - after.keys()
    assert {name: after[name] for name in before} == before
    assert [cell["error"] for cell in rest if cell["error"]] == []
    assert len(rest) == len(code_cells(ROOT / "solutions" / notebook))


@pytest.mark.parametrize("notebook", UNITS)
def test_set_up_cell_does_nothing_elsewhere(notebook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a laptop and on Binder no process is started, even if the library were missing."""
    assert "google.colab" not in sys.modules
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("the set-up cell ran a command"))
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    exec(code_cells(ROOT / "course" / notebook)[0], {})
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE", "somebody's own choice"


@pytest.mark.parametrize("notebook", UNITS)
def test_threads_that_wait_sleep(notebook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against threads that spin: on a busy machine two took ten times as long as one. torch's OpenMP reads the
    variable once, when it is loaded, so the first cell has to set it."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "")  # so that what the cell sets is taken back
    monkeypatch.delenv("OMP_WAIT_POLICY")
    set_up = code_cells(ROOT / "course" / notebook)[0]
    exec(set_up, {})
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "import torch" not in set_up
