"""Whatever learners send is graded, or refused in a sentence: the table of odd_notebooks.py and odd_files.py."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import odd_files  # noqa: F401 - they fill the table
import odd_notebooks  # noqa: F401
import pytest
from nbformat import NotebookNode
from odd_submissions import NOTEBOOK, TABLE, UNIT, Odd, master, send, solved_notebook
from three_exercises import opened

from autograder.authoring.build import build
from autograder.course import Unit, find_units, nbgrader_configuration
from autograder.isolation.children import in_child
from autograder.notebooks import read_master
from autograder.submissions import split
from autograder.submissions.paper import Paper
from autograder.submissions.rebuild import rebuild
from autograder.submissions.submission import Refused, find_notebook, read_notebook
from autograder.submissions.verdict import Graded

SECONDS = 60


@pytest.fixture(scope="module")
def unit(tmp_path_factory, root) -> Unit:
    """The odd submissions' unit, built by nbgrader."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "solutions" / UNIT).mkdir(parents=True)
    (folder / "course" / "fridge").mkdir(parents=True)
    (folder / "solutions" / UNIT / NOTEBOOK.replace(".ipynb", ".py")).write_text(master())
    for name in ("nbgrader_config.py", "pyproject.toml"):
        (folder / name).write_bytes((root / name).read_bytes())
    build(folder, [UNIT])
    return find_units(folder, [UNIT])[0]


@pytest.fixture(scope="module")
def handout(unit) -> NotebookNode:
    return nbformat.read(unit.release, as_version=4)


@pytest.fixture(scope="module")
def grade(unit) -> Callable[[NotebookNode], Graded]:
    """Grade a rebuilt notebook as for credit."""
    sandbox = opened()
    paper = Paper(read_master(unit))

    def grade_(notebook: NotebookNode) -> Graded:
        try:
            return Graded.from_json(in_child(lambda: split.grade(notebook, paper, sandbox).as_json(), SECONDS))
        finally:
            sandbox.prepare()

    yield grade_
    sandbox.close()


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_it_is_graded_as_deserved_or_refused_in_a_sentence(
    entry: Odd, handout, grade, tmp_path: Path, record_property
) -> None:
    """Guards against points lost by mishaps, and submissions that end a run."""
    folder = tmp_path / "a-learner"
    folder.mkdir()
    send(entry, solved_notebook(handout), folder)
    record_property("sent", entry.sent)
    if entry.refused:
        with pytest.raises(Refused) as refused:
            rebuild(read_notebook(find_notebook(folder, NOTEBOOK)), handout)
        words = str(refused.value).replace(f"{folder}", folder.name)
        record_property("happened", f"refused: {words}")
        assert entry.refused in words
        assert "\n" not in words
        return
    rebuilt = rebuild(read_notebook(find_notebook(folder, NOTEBOOK)), handout)
    verdicts = grade(rebuilt.notebook).verdicts
    lost = {name.removesuffix("-test") for name, verdict in verdicts.items() if not verdict.passed}
    points = f"{sum(verdict.points for verdict in verdicts.values()):g} of {len(verdicts)}"
    record_property("happened", " ".join([f"{points} points.", *rebuilt.repairs]))
    assert lost == set(entry.loses), {name: verdict.message for name, verdict in verdicts.items()}
    assert not any(verdict.courses_fault for verdict in verdicts.values())
    assert entry.says in " ".join(rebuilt.repairs)
    assert bool(entry.says) == bool(rebuilt.repairs), rebuilt.repairs


def test_nbgraders_own_command_profits_too(unit, handout) -> None:
    """Guards against a learner's metadata that ends `nbgrader autograde` for all, and repairs that nobody reads."""
    from nbgrader.api import Gradebook
    from nbgrader.apps import NbGraderAPI

    chosen = {entry.name: entry for entry in TABLE}
    names = ["a_strangers", "marks_lost", "old_schema", "split_inside_function", "two_answers_first_run_last"]
    for name in names:
        folder = unit.root / "grading" / "submitted" / name / UNIT
        folder.mkdir(parents=True)
        send(chosen[name], solved_notebook(handout), folder)
    config = nbgrader_configuration(unit.root)
    config.SplitExecute.unsafe = True  # the walls are tested elsewhere
    api = NbGraderAPI(config=config)
    logs = {name: api.autograde(UNIT, name)["log"] for name in names}
    assert "none of this unit's cells" in logs["a_strangers"]
    with Gradebook(config.CourseDirectory.db_url) as gradebook:
        scores = {name: gradebook.find_submission(UNIT, name).score for name in names}
    assert scores == {name: 0.0 if name == "a_strangers" else 4.0 for name in names}, logs
    api.generate_feedback(UNIT, "two_answers_first_run_last")
    page = next((unit.root / "grading" / "feedback" / "two_answers_first_run_last").rglob("*.html")).read_text()
    assert "What was repaired before grading" in page
    assert "2 cells hold an answer; the one that its tests last ran with counts." in page
