"""A clone by Git for Windows, whose default turns line ends into CRLF, is opened from WSL."""

import subprocess
from pathlib import Path

from checkouts import ROOT


def test_a_windows_clone_has_the_line_ends_of_linux(tmp_path: Path) -> None:
    """A script with CRLF doesn't start, nor does make; a picture must stay as it is."""
    git = [
        "git",
        "-c",
        "core.autocrlf=true",
        "-c",
        "core.eol=crlf",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@localhost",
    ]
    names = [".gitattributes", "Makefile", "binder/postBuild", "binder/prepare.py", "course/images/lab.png"]
    names += ["course/03-kv-cache/kv_cache.ipynb", "solutions/03-kv-cache/kv_cache.py", "requirements.lock"]
    subprocess.run([*git, "init", "--quiet", tmp_path / "origin"], check=True)
    for name in names:
        (tmp_path / "origin" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "origin" / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*git, "add", "--all"], cwd=tmp_path / "origin", check=True, capture_output=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "all"], cwd=tmp_path / "origin", check=True)
    subprocess.run([*git, "clone", "--quiet", tmp_path / "origin", tmp_path / "clone"], check=True)
    for name in names:
        assert (tmp_path / "clone" / name).read_bytes() == (ROOT / name).read_bytes(), name
