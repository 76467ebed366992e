"""`fridge update`: a clone brought up to the course's newest version, with the learner's answers in the new notebooks.

git's own merge knows lines, and a notebook is JSON: it would stop at the first changed handout. Here files that only
one side changed are taken from that side, notebooks that both changed are merged cell by cell, and of any other file
the learner's version is kept beside the new one. Afterwards HEAD is the new version, and the learner's work is
uncommitted, as it was; own commits stay, below a merge commit.
"""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fridge.notebook import on_disk, progress, syllabus
from fridge.notebook.cells import UnreadableCells
from fridge.notebook.updating.merging import merged

MADE = ".published.json"  # which only `autograder publish` changes
BEFORE = "before-update"
UNFINISHED = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")
Entry = tuple[str, str]  # mode and id of a file in a commit


class CanNotUpdate(Exception):
    """Nothing was changed; the message says why, and what to do."""


@dataclass
class Plan:
    """What is to happen to the files that the course changed; paths from the clone's root."""

    take: list[str] = field(default_factory=list)  # as the new version has it
    remove: list[str] = field(default_factory=list)
    write: dict[str, dict[str, Any]] = field(default_factory=dict)  # merged notebooks
    aside: list[str] = field(default_factory=list)  # the learner's version stays under another name
    said: list[str] = field(default_factory=list)


def update(start: Path) -> list[str]:
    """Fetch the newest version of the course around a folder and put the learner's work into it; say what was done.

    The remote is `upstream` if there is one, as in a fork, else the one that the branch follows.

    Raises:
        CanNotUpdate: no clone, no remote, no network, or a merge that isn't finished. Nothing was changed.
        NoNotebooks: there is no course.
    """
    clone = Clone(progress.find_notebooks(start))
    new = clone.fetch()
    base = clone.base(new)
    if base == new:
        return [f"You have the newest version of the course, of {clone.date(new)}."]
    plan = _planned(clone, base, new)
    for path in plan.aside:
        kept = on_disk.free_name(clone.root / path, BEFORE)
        kept.write_bytes((clone.root / path).read_bytes())
        plan.said.append(f"{path}: the old one is kept as {kept.name}.")
    for path, notebook in plan.write.items():
        on_disk.write(clone.root / path, notebook)
    clone.take(new, plan.take)
    for path in plan.remove:
        (clone.root / path).unlink()
    clone.move_to(base, new, plan)
    others = len(plan.take) + len(plan.remove)
    return [
        f"The course is now that of {clone.date(new)}; it was that of {clone.date(base)}. Files taken over: {others}.",
        *plan.said,
        "For notebooks that are open: File, Reload Notebook from Disk. Then end JupyterLab and start it: `make lab`.",
    ]


def _planned(clone: "Clone", base: str, new: str) -> Plan:
    old, fresh, plan = clone.files(base), clone.files(new), Plan()
    for path in sorted(path for path in old.keys() | fresh.keys() if old.get(path) != fresh.get(path)):
        before, after, mine = (
            entry[1] if entry else None for entry in (old.get(path), fresh.get(path), clone.own(path))
        )
        if after is None:
            if mine is not None and mine == before:
                plan.remove.append(path)
        elif mine in (None, before):
            plan.take.append(path)
        elif mine != after:
            _join(clone, plan, path, before, after)
    return plan


def _join(clone: "Clone", plan: Plan, path: str, before: str | None, after: str) -> None:
    """Both changed it."""
    plan.aside.append(path)
    if not path.endswith(".ipynb"):
        plan.take.append(path)
        return
    try:
        base = json.loads(clone.content(before)) if before else None
        joined = merged(on_disk.read(clone.root / path), base, json.loads(clone.content(after)))
    except (OSError, UnreadableCells, ValueError, KeyError, TypeError, AttributeError) as error:
        plan.take.append(path)
        plan.said.append(f"{path}: your notebook could not be read ({error}), so it is as handed out.")
        return
    plan.write[path] = joined.notebook
    plan.said.append(f"{path}: your answers ({joined.answers}) and own cells ({joined.own}) are in the new notebook.")
    if joined.to_test:
        titles = "; ".join(map(syllabus.title, joined.to_test))
        plan.said.append(f"{path}: these tests changed, so run them again: {titles}.")


class Clone:
    """The learner's clone, as far as an update needs it."""

    def __init__(self, course: Path):
        self.root = course
        self.root = Path(self._git("rev-parse", "--show-toplevel", why=f"{course} is not in a clone by git"))
        if not self._git("ls-files", "--", str(course)):
            raise CanNotUpdate(f"{course} is in a clone of something else. {_ANEW}")
        folder = Path(self._git("rev-parse", "--absolute-git-dir"))
        if unfinished := [name for name in UNFINISHED if (folder / name).exists()]:
            raise CanNotUpdate(
                f"git has not finished something here ({unfinished[0]}): `git status` says what to type."
            )
        self.head = self._git("rev-parse", "HEAD", why="This clone has no commit yet")

    def fetch(self) -> str:
        """Fetch the newest version; return its commit."""
        branch = self._git("symbolic-ref", "--quiet", "--short", "HEAD", fallback="")
        follows = self._git("config", f"branch.{branch}.remote", fallback="") if branch else ""
        remotes = self._git("remote").splitlines()
        remote = next((name for name in ("upstream", follows, "origin") if name in remotes), None)
        if remote is None:
            raise CanNotUpdate(f"This clone doesn't say where it came from. {_ANEW}")
        what = self._git("config", f"branch.{branch}.merge", fallback="HEAD") if remote == follows else "HEAD"
        self._git("fetch", "--quiet", remote, what, why=f"The newest version could not be fetched from {remote}")
        return self._git("rev-parse", "FETCH_HEAD^{commit}")

    def base(self, new: str) -> str:
        """The version of the course that the learner's work is made from."""
        base = self._git("merge-base", self.head, new, fallback="")
        # Published again without a history: the last commit that publish made is the one that was cloned.
        base = base or self._git("log", "-1", "--format=%H", self.head, "--", MADE, fallback="")
        if not base:
            raise CanNotUpdate(f"This clone and the newest version have no history in common. {_ANEW}")
        return base

    def date(self, commit: str) -> str:
        """A commit's day."""
        return self._git("show", "--no-patch", "--format=%cs", commit)

    def files(self, commit: str) -> dict[str, Entry]:
        """Path -> mode and id of all files of a commit."""
        lines = (line.partition("\t") for line in self._git("ls-tree", "-r", "-z", commit).split("\0") if line)
        return {path: (about.split()[0], about.split()[2]) for about, _, path in lines}

    def own(self, path: str) -> Entry | None:
        """What git would call the learner's file; None if there is none."""
        if not (self.root / path).is_file():
            return None
        return "", self._git("hash-object", "--", path)

    def content(self, blob: str) -> bytes:
        """A file's bytes."""
        return self._run("cat-file", "blob", blob).stdout

    def take(self, commit: str, paths: list[str]) -> None:
        """Write files as a commit has them."""
        if paths:
            listed = ("--pathspec-from-file=-", "--pathspec-file-nul")
            self._git("--literal-pathspecs", "checkout", "--quiet", commit, *listed, given="\0".join(paths))

    def move_to(self, base: str, new: str, plan: Plan) -> None:
        """Make the new version, or a merge with the learner's own commits, HEAD; files stay as they are."""
        if base != self.head:
            new = self._merge_commit(base, new, plan)
        self._git("update-ref", "-m", "fridge update", "HEAD", new, self.head)
        self._git("reset", "--quiet")

    def _merge_commit(self, base: str, new: str, plan: Plan) -> str:
        old, fresh, committed = self.files(base), self.files(new), self.files(self.head)
        lines = []
        for path in (path for path in old.keys() | fresh.keys() if old.get(path) != fresh.get(path)):
            mode, blob = fresh.get(path, ("0", "0" * len(new)))
            if committed.get(path) != old.get(path) and path in plan.write:
                blob = self._git("hash-object", "-w", "--", path)
            lines.append(f"{mode} {blob}\t{path}")
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._git("read-tree", self.head, **index)
            self._git("update-index", "-z", "--index-info", given="\0".join(lines), **index)
            tree = self._git("write-tree", **index)
        known = self._git("var", "GIT_COMMITTER_IDENT", fallback="")
        names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        who = {} if known else dict(zip(names, ("fridge update", "fridge.localhost") * 2, strict=True))
        parents = ("-p", self.head, "-p", new)
        return self._git("commit-tree", tree, *parents, "-m", "The newest version of the course", **who)

    def _git(
        self, *arguments: str, why: str = "", fallback: str | None = None, given: str = "", **environment: str
    ) -> str:
        done = self._run(*arguments, given=given, **environment)
        if done.returncode == 0:
            return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")
        if fallback is not None:
            return fallback
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise CanNotUpdate(f"{why or f'`git {arguments[0]}` failed'}: {said}. {_ANEW if why else ''}".rstrip())

    def _run(self, *arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
        env = os.environ | {"GIT_TERMINAL_PROMPT": "0"} | environment
        data = given.encode("utf-8", "surrogateescape")
        try:
            return subprocess.run(["git", *arguments], cwd=self.root, env=env, input=data, capture_output=True)
        except FileNotFoundError:
            raise CanNotUpdate(f"git is not installed. {_ANEW}") from None


_ANEW = (
    "The map (course/README.md, Updating) says how to get a new copy beside this one and take your notebooks with you."
)
