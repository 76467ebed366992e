"""A record as Gradescope's results.json. All words go there as plain text: what a learner wrote is no page."""

import re
from collections.abc import Sequence
from typing import Any

from autograder.submissions.record import Record
from autograder.submissions.release import Release, grader_version
from fridge.notebook import syllabus

WALLS_LACK = (
    "This container keeps the grader and a learner's code less far apart than grading for credit wants: without {}. "
    "Hidden tests and points are still out of its reach: it runs as a user that may read neither, and tests run in "
    "another process."
)
VISIBILITIES = ("hidden", "after_due_date", "after_published", "visible")
WHEN = {
    "hidden": "Points and reasons come from your instructor.",
    "after_due_date": "Points and reasons appear after the due date.",
    "after_published": "Points and reasons appear when your instructor publishes the grades.",
    "visible": "",
}
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # databases take no NUL, and terminals obey the others
REFUSED = "There are no points for this submission, because it can't be graded: {}\nMend that, and hand in again."


def results(record: Record, release: Release, visibility: str, lacking: Sequence[str]) -> dict[str, Any]:
    """What Gradescope reads, by its documentation's section "Autograder Specifications".

    Args:
        visibility: of each test's points and words, one of `VISIBILITIES`.
        lacking: layers of the sandbox that weren't there.
    """
    return {
        "score": sum(record.scores.values()),
        # Learners see it at once, and a test's time can say what it asked.
        **({"execution_time": round(record.seconds)} if visibility == "visible" else {}),
        "output": _summary(record, release, visibility),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "stdout_visibility": "hidden",  # it is the instructor's
        "tests": [] if record.refused else [_test(record, release, name, visibility) for name in release.points],
        "extra_data": {
            "unit": release.unit,
            "key": record.key,
            "release": release.digest,
            "grader": grader_version(),
            "layers": record.layers,
            "lacking": list(lacking),
            "broken_tests": record.faults,
        },
    }


def for_instructor(record: Record, release: Release, lacking: Sequence[str]) -> list[str]:
    """Lines for the log that instructors see."""
    lines = [f"{release.unit}: {sum(record.scores.values()):g} of {sum(release.points.values()):g} points"]
    if record.refused:
        lines = [f"{release.unit}: refused: {record.refused}"]
    lines += [f"repaired: {repair}" for repair in record.repairs]
    lines += [f"{name}: the test is broken, which is the course's fault" for name in record.faults]
    if record.layers:
        lines += [f"{'✓' if there else '✗'} {name}" for name, there in record.layers.items()]
    return [*lines, WALLS_LACK.format(", ".join(lacking))] if lacking else lines


def _test(record: Record, release: Release, name: str, visibility: str) -> dict[str, Any]:
    worth, points = release.points[name], record.scores[name]
    return {
        "name": syllabus.title(name.removesuffix("-test")),
        "score": points,
        "max_score": worth,
        "status": "passed" if points == worth else "failed",
        "output": _CONTROLS.sub("�", record.messages[name]),
        "visibility": visibility,
    }


def _summary(record: Record, release: Release, visibility: str) -> str:
    if record.refused:
        return REFUSED.format(record.refused)
    lines = [f"{release.notebook}.ipynb was read and graded.", WHEN[visibility]]
    if record.repairs:
        lines += ["What was odd about it, and what the grader did:", *(f"- {repair}" for repair in record.repairs)]
    if by_hand := _by_hand(release.unit):
        lines.append(f"{by_hand:g} more points are given by a person, who reads your answers.")
    return "\n".join(line for line in lines if line)


def _by_hand(unit: str) -> float:
    exercises = syllabus.whole().get(unit, {}).get("exercises", {}).values()
    return sum(listed["points"] for listed in exercises if listed.get("by_hand"))
