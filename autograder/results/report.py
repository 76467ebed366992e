"""`autograder report`: a class's results as one static page, for a desk, a phone and paper."""

import os
from pathlib import Path
from urllib.parse import quote

from autograder.course import CourseError
from autograder.results.class_results import AT_RISK, BINS, Learner, UnitResults, gather
from autograder.results.pages import render, write

MOST_REASONS = 5  # for an exercise
MINUTE, HOUR, DAY = 60, 60 * 60, 24 * 60 * 60


def report(root: Path, names: list[str] | None = None, out: Path | None = None) -> Path:
    """Write the page for the named units (default all that anybody handed in); return where it is.

    Args:
        out: default grading/report.html.

    Raises:
        CourseError: there is no gradebook, or nothing in it.
    """
    units, learners = gather(root, names)
    if not units:
        asked = ", ".join(names or []) or "any unit"
        raise CourseError(f"nobody has handed in {asked}: run `nbgrader autograde UNIT` first")
    path = out or root / "grading" / "report.html"
    write(path, page(units, learners, path.parent))
    return path


def page(units: list[UnitResults], learners: list[Learner], folder: Path) -> str:
    """The page's HTML, with links to feedback that are relative to the folder in which it will lie."""

    def link(target: Path) -> str:
        return quote(os.fsencode(os.path.relpath(target.resolve(), folder.resolve())))

    filters = {"number": lambda value: f"{value:.10g}", "duration": duration, "link": link}
    return render(
        "report", filters, units=units, learners=learners, at_risk=AT_RISK, bins=BINS, most_reasons=MOST_REASONS
    )


def duration(seconds: float) -> str:
    """Minutes, hours or days, whichever says it in a small number."""
    for unit, word in ((DAY, "day"), (HOUR, "hour")):
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {word}s"
    minutes = max(1, round(seconds / MINUTE))
    return f"{minutes} minute" if minutes == 1 else f"{minutes} minutes"
