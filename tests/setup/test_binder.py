"""What mybinder.org and conda read: repo2docker's plan for this repository, and the pip part of environment.yml."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"python=(3\.\d+)")


def conda_dependencies(path: str) -> list:
    return yaml.safe_load((ROOT / path).read_text())["dependencies"]


def conda_python(path: str) -> str:
    return next(
        match[1] for item in conda_dependencies(path) if isinstance(item, str) and (match := PYTHON.match(item))
    )


def locked() -> dict[str, set[str]]:
    """Each package's versions in requirements.lock: more than one where they depend on the Python."""
    versions: dict[str, set[str]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        name, version = line.split(" ;")[0].split("==")
        versions.setdefault(name, set()).add(version.strip())
    return versions


def test_repo2docker_builds_from_binder(tmp_path: Path) -> None:
    """It takes the conda build pack with binder/'s Python, and ends with postBuild; building would need Docker."""
    plan = subprocess.run(
        [Path(sys.executable).with_name("jupyter-repo2docker"), "--no-build", "--debug", ROOT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=540,
        check=True,
    )
    said = plan.stdout + plan.stderr
    assert f"Building conda environment for python={conda_python('binder/environment.yml')}" in said
    assert 'env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"' in said
    assert "RUN ./binder/postBuild" in said


def test_post_build_makes_the_same_environment_as_make_lab() -> None:
    """It must be executable, or repo2docker's image fails in its last step."""
    post_build = ROOT / "binder/postBuild"
    assert os.access(post_build, os.X_OK)
    assert "python binder/prepare.py lab --here" in post_build.read_text()
    assert [item for item in conda_dependencies("binder/environment.yml") if not isinstance(item, str)] == []


def test_conda_pythons_are_ones_that_the_package_allows() -> None:
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert allowed == ">=3.11,<3.14"
    for path in ["environment.yml", "binder/environment.yml"]:
        assert conda_python(path) in ("3.11", "3.12", "3.13")


def test_pip_part_of_environment_yml_resolves(tmp_path: Path) -> None:
    """As conda runs it: the lines in a file beside environment.yml, here in a copy. Nothing is installed."""
    for name in ["pyproject.toml", "requirements.lock", "environment.yml", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, tmp_path / name)
    for package in ["course", "autograder"]:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    lines = next(item["pip"] for item in conda_dependencies("environment.yml") if isinstance(item, dict))
    (tmp_path / "condaenv.requirements.txt").write_text("\n".join(lines))
    assert [shlex.split(line) for line in lines] == [["--constraint", "requirements.lock"], ["-e", ".[lab]"]]
    # Without --ignore-installed pip would only look at what is here; no build isolation, which is not what is tested.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "-r", "condaenv.requirements.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("python", "platform"), [("3.11", "linux"), ("3.12", "linux"), ("3.13", "linux"), ("3.13", "macos")]
)
def test_lock_resolves_everywhere(python: str, platform: str) -> None:
    """For Pythons and systems that this machine lacks: wheels only, all extras, every version that of the lock.

    uv reads metadata and downloads no wheels; pip can't do this, it judges markers by the Python that runs it.
    """
    uv = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-build", "--no-header", "--no-annotate"]
    target = ["--python-version", python, "--python-platform", platform, "--all-extras", "pyproject.toml"]
    done = subprocess.run(
        [*uv, *target, "--constraint", "requirements.lock"],
        cwd=ROOT,
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},  # the oldest that torch has wheels for
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    versions = locked()
    for line in done.stdout.splitlines():
        name, version = line.split("==")
        if not name.startswith(("nvidia-", "cuda-")):  # torch's own, see `make lock`
            assert version in versions[name], line
