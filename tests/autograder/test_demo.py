"""A class of three through nbgrader's own commands: handout, autograde, feedback, gradebook."""

from autograder.demo import demo


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
