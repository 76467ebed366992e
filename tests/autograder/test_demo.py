"""The made-up classes: three learners through nbgrader's own commands, and more of them with their report."""

from grading_class import skip_without_sandbox

from autograder.course import find_units
from autograder.trials.demo import demo, demo_class
from autograder.trials.generated import UNIT, answers_of, learners


def test_three_learners_get_what_they_deserve(course):
    """`demo` itself compares each exercise's points with the expected ones; here: the table and the feedback."""
    table = demo(course)
    total = next(line for line in table.splitlines() if line.startswith("total")).split()
    assert total[1] == total[2] == "25"
    assert total[3] == "0"
    assert 0 < float(total[4]) < 25
    feedback = sorted((course / "grading/demo/grading/feedback").rglob("*.html"))
    assert [path.parts[-3] for path in feedback] == ["all-right", "typical-mistakes", "untouched"]
    assert "not attempted yet" in feedback[2].read_text()
    assert "likely cause" in feedback[1].read_text()


def test_a_class_with_its_report(course, root):
    """Guards against a class that is all alike, and against one whose report says something else than the grading."""
    skip_without_sandbox()
    said = demo_class(course, 5)
    handed_in = [learner for learner in learners(find_units(root, [UNIT])[0], 5) if learner.answers is not None]
    assert f"graded{len(handed_in):>22}" in said
    page = (course / "grading/demo/grading/report.html").read_text()
    assert all(learner.last_name.replace("'", "&#39;") in page for learner in handed_in)
    assert len({tuple(learner.answers) for learner in handed_in}) > 1


def test_a_class_is_the_same_each_time_and_of_different_skill(root):
    """Guards against a class in which nobody is right, or everybody, or nobody is absent."""
    unit = find_units(root, [UNIT])[0]
    sixty = learners(unit, 60)
    assert sixty == learners(unit, 60)
    answered = [len(learner.answers) for learner in sixty if learner.answers is not None]
    assert 0 < 60 - len(answered) < 6
    assert min(answered) < len(answers_of(unit, [])) / 2 < max(answered)
