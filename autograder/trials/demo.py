"""`autograder demo`: three made-up learners go through nbgrader from handout to feedback, in grading/demo/.

One solved everything, one handed the notebook in as it was, one made typical mistakes. The real
gradebook isn't touched.
"""

import shutil
from pathlib import Path

from autograder.authoring.samples import Sample, read_samples
from autograder.course import CourseError, Unit, find_units, nbgrader_configuration
from autograder.notebooks import TEST_SUFFIX, exercise_points, read_master
from autograder.trials.generated import UNIT, answers_of, course_of_one_unit, learners, submit

MISTAKES = 3


def demo(root: Path) -> str:
    """Grade the three learners; return the gradebook as a table, with the feedback's paths.

    Raises:
        CourseError: nbgrader failed, or a learner got other points than expected.
    """
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI

    unit = _own_course(root)
    mistakes = _typical_mistakes(find_units(root, [UNIT])[0])
    three = {"all-right": answers_of(unit, []), "untouched": {}, "typical-mistakes": answers_of(unit, mistakes)}
    config = nbgrader_configuration(unit.root)
    api = NbGraderAPI(config=config)
    for learner, answers in three.items():
        submit(unit, learner, answers)
        for step in (api.autograde, api.generate_feedback):
            result = step(unit.name, learner)
            if not result["success"]:
                raise CourseError(f"nbgrader's {step.__name__} failed for {learner}:\n{result['log']}")
    with Gradebook(config.CourseDirectory.db_url) as gradebook:
        scores = {learner: _scores(gradebook, unit, learner) for learner in three}
    lost = set().union(*(mistake.loses for mistake in mistakes))
    _compare(unit, scores, {test.removesuffix(TEST_SUFFIX) for test in lost})
    return _table(unit, scores, mistakes)


def demo_class(root: Path, size: int) -> str:
    """Grade a class of made-up learners with two workers, and make its report; return a table with the report's path.

    Raises:
        CourseError: grading stopped.
    """
    from nbgrader.api import Gradebook

    from autograder.batch.grade import grade, table
    from autograder.results.report import report

    unit = _own_course(root)
    with Gradebook(nbgrader_configuration(unit.root).CourseDirectory.db_url) as gradebook:
        for learner in learners(find_units(root, [UNIT])[0], size):
            gradebook.update_or_create_student(learner.id, first_name=learner.first_name, last_name=learner.last_name)
            if learner.answers is not None:
                submit(unit, learner.id, learner.answers)
    summary = grade(unit.root, unit.name, workers=2)
    return f"{table(summary, unit.name)}\n\nReport:\n  {report(unit.root)}"


def _own_course(root: Path) -> Unit:
    folder = root / "grading" / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    return course_of_one_unit(root, folder)


def _typical_mistakes(unit: Unit) -> list[Sample]:
    chosen: dict[frozenset[str], Sample] = {}
    for sample in read_samples(unit, "wrong"):
        answers = {answer for other in chosen.values() for answer in other.answers}
        if not answers & set(sample.answers):
            chosen[sample.loses] = sample
    return list(chosen.values())[:MISTAKES]


def _scores(gradebook, unit: Unit, learner: str) -> dict[str, float]:
    submission = gradebook.find_submission(unit.name, learner)
    grades = [grade for notebook in submission.notebooks for grade in notebook.grades]
    return {grade.name.removesuffix(TEST_SUFFIX): grade.score for grade in grades}


def _compare(unit: Unit, scores: dict[str, dict[str, float]], lost: set[str]) -> None:
    points = exercise_points(read_master(unit))
    expected = {
        "all-right": points,
        "untouched": dict.fromkeys(points, 0.0),
        "typical-mistakes": {name: 0.0 if name in lost else worth for name, worth in points.items()},
    }
    for learner, should in expected.items():
        if scores[learner] != should:
            raise CourseError(f"{learner} got {scores[learner]}, expected {should}")


def _table(unit: Unit, scores: dict[str, dict[str, float]], mistakes: list[Sample]) -> str:
    lines = [f"{unit.name:<20}{'points':>8}" + "".join(f"{learner:>18}" for learner in scores)]
    points = exercise_points(read_master(unit))
    for exercise, worth in points.items():
        lines.append(f"{exercise:<20}{worth:>8g}" + "".join(f"{own[exercise]:>18g}" for own in scores.values()))
    lines.append(
        f"{'total':<20}{sum(points.values()):>8g}" + "".join(f"{sum(own.values()):>18g}" for own in scores.values())
    )
    lines.append("\nThe mistakes:")
    lines += [f"  {' '.join(mistake.about.split())}" for mistake in mistakes]
    lines.append("\nFeedback:")
    lines += [f"  {path}" for path in sorted((unit.root / "grading" / "feedback").rglob("*.html"))]
    return "\n".join(lines)
