"""A course of one unit in a folder of its own, and attackers who hand in there: `nbgrader autograde` and feedback.

    python tests/attacks/through_nbgrader.py [ATTACK …]

writes stock.json, for all attacks (4 minutes) or those named: what stock nbgrader, with its execution in one kernel,
gives for the same submissions. It is a record, made by hand and kept with its date, for it runs the attacks with your
rights. They are harmless; read them first.
"""

import datetime
import json
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path

import nbformat
from attacks import FOLDER, UNIT, Attack, full_points, read_attacks, submission

from autograder.authoring.build import build
from autograder.course import Unit, find_units, nbgrader_configuration
from autograder.notebooks import grade_id, read_master
from autograder.trials.generated import answers_of

ROOT = FOLDER.parents[1]
STOCK = FOLDER / "stock.json"
HONEST = "zz-honest"  # the last one to be graded


@dataclass
class Result:
    """One student's: points by test cell, the autograded notebook, the feedback's HTML."""

    points: dict[str, float | None]
    notebook: nbformat.NotebookNode | None
    feedback: str


class Class:
    """The course in a folder, with nbgrader's own commands."""

    def __init__(self, folder: Path, execute: str | None = None):
        from nbgrader.apps import NbGraderAPI

        shutil.copytree(ROOT / "solutions" / UNIT, folder / "solutions" / UNIT)
        (folder / "course" / "fridge").mkdir(parents=True)
        for name in ("nbgrader_config.py", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        build(folder, [UNIT])
        self.unit: Unit = find_units(folder, [UNIT])[0]
        self.config = nbgrader_configuration(folder)
        if execute:
            self.config.Autograde.autograde_preprocessors[0] = execute
            self.config.Autograde.pop("sanitize_preprocessors")
            for name in ("HTMLExporter", "GenerateFeedback"):  # what stock nbgrader shows, too
                self.config.pop(name, None)
        self._api = NbGraderAPI(config=self.config)
        self._base = nbformat.read(self.unit.release, as_version=4)
        answers = answers_of(self.unit, [])
        for cell in self._base.cells:
            cell.source = answers.get(grade_id(cell), cell.source)

    def grade(self, student: str, attack: Attack | None) -> Result:
        """Hand in, autograde, write feedback."""
        from nbgrader.api import Gradebook

        notebook = submission(attack, self._base) if attack else self._base
        handed_in = self._folder("submitted", student) / self.unit.release.name
        handed_in.parent.mkdir(parents=True)
        handed_in.write_text(json.dumps(notebook), encoding="utf-8")
        for step in (self._api.autograde, self._api.generate_feedback):
            self.log = step(self.unit.name, student)["log"]
        with Gradebook(self.config.CourseDirectory.db_url) as gradebook:
            found = gradebook.find_submission(self.unit.name, student)
            points = {grade.name: grade.score for book in found.notebooks for grade in book.grades}
        graded = self._folder("autograded", student) / self.unit.release.name
        page = self._folder("feedback", student) / self.unit.release.with_suffix(".html").name
        return Result(
            points,
            nbformat.read(graded, as_version=4) if graded.exists() else None,
            page.read_text(encoding="utf-8") if page.exists() else "",
        )

    def _folder(self, step: str, student: str) -> Path:
        return self.unit.root / "grading" / step / student / self.unit.name


class Dangers(HTMLParser):
    """What a page could run, load or send: collected, so that it can be compared with a harmless page's."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self._script: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note active elements, handlers and addresses."""
        if tag in ("script", "iframe", "object", "embed", "base", "form", "svg", "math", "link") or (
            tag == "meta" and any(name == "http-equiv" for name, _ in attributes)
        ):
            self.found.append(f"<{tag} {sorted(attributes)}>")
        for name, value in attributes:
            address = "".join((value or "").lower().split())
            if name.startswith("on") or address.startswith(("javascript:", "data:text", "vbscript:", "data:image/svg")):
                self.found.append(f"{tag} {name}={value}")
        if tag in ("script", "style"):
            self._script = ""

    def handle_data(self, data: str) -> None:
        """Note what stands in scripts and style sheets."""
        if self._script is not None:
            self.found.append(f"code {data}")

    def handle_endtag(self, tag: str) -> None:
        """A script's or style sheet's end."""
        if tag in ("script", "style"):
            self._script = None


def words(attack: Attack, result: Result, full: dict[str, float], honest_page: str) -> str:
    """What a grader gave for an attack, in a few words."""
    deserved = full | attack.honest
    if any(points is None for points in result.points.values()) or result.notebook is None:
        return "no grade"
    gained = sum(max(0.0, points - deserved[name]) for name, points in result.points.items() if name in deserved)
    lost = sum(max(0.0, points - result.points.get(name, 0.0)) for name, points in deserved.items())
    said = [f"{gained:g} points gained"] if gained else [f"{lost:g} points lost"] if lost else ["points as deserved"]
    if "LEAKED" in json.dumps([cell.get("outputs", []) for cell in result.notebook.cells]):
        said.append("hidden tests read")
    if not result.feedback:
        said.append("no feedback")
    if set(Dangers(result.feedback).found) - set(Dangers(honest_page).found):
        said.append("scripts in the feedback")
    return ", ".join(said)


def main(names: list[str]) -> None:
    """Grade the attacks with stock nbgrader and write the record."""
    with tempfile.TemporaryDirectory() as folder:
        stock = Class(Path(folder), "nbgrader.preprocessors.Execute")
        full = full_points(read_master(stock.unit))
        honest = stock.grade(HONEST, None)
        record = json.loads(STOCK.read_text())["attacks"] if names and STOCK.exists() else {}
        for attack in read_attacks("nbgrader"):
            if names and attack.name not in names:
                continue
            result = stock.grade(attack.name, attack)
            record[attack.name] = {"words": words(attack, result, full, honest.feedback), "points": result.points}
            print(attack.name, record[attack.name]["words"])
    versions = {name: metadata.version(name) for name in ("nbgrader", "nbconvert", "nbclient", "ipykernel")}
    about = "stock nbgrader's execution in one kernel and its feedback, the same course; a record"
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    data = {"about": about, "date": date, "python": platform.python_version(), "versions": versions, "attacks": record}
    STOCK.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
