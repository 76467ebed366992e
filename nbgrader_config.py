"""nbgrader's settings for this course: where things lie, what an empty exercise is, how notebooks are graded."""

import os
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

from autograder import walls

ROOT = Path(__file__).resolve().parent
(ROOT / "grading").mkdir(exist_ok=True)  # the gradebook's folder, before the first command that opens it
# nbgrader starts `alembic` by name when it makes a gradebook; without an activated environment PATH lacks it.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
# SQLAlchemy tells nbgrader's authors something about their sessions that no user can act on.
warnings.filterwarnings("ignore", message="Object of type .* not in session")

c = get_config()  # noqa: F821 - nbgrader provides it

c.CourseDirectory.root = str(ROOT)
c.CourseDirectory.course_id = "elephant-in-the-fridge"
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "course"
c.CourseDirectory.submitted_directory = "grading/submitted"
c.CourseDirectory.autograded_directory = "grading/autograded"
c.CourseDirectory.feedback_directory = "grading/feedback"
c.CourseDirectory.solution_directory = "grading/solution"
c.CourseDirectory.source_with_tests_directory = "grading/source_with_tests"
c.CourseDirectory.db_url = f"sqlite:///{ROOT}/grading/gradebook.db"
# The masters (.py, with solutions and hidden tests) and the folders' own pages stay with the instructor.
c.CourseDirectory.ignore = ["*.py", "README.md", ".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback"]
# What a learner hands in beside the notebook goes no further, and the values in formgrader's pages are text: no setting
# reaches that far.
walls.put_up()
# Names with commas and quotes arrive whole in a spreadsheet, and a name that is a formula as a name.
c.ExportApp.plugin_class = "autograder.results.export.Grades"

# nbgrader's own way with an LMS's archive trusts it; `autograder collect` doesn't.
c.ZipCollectApp.extractor_plugin = "autograder.collecting.zip_collect.UseCollect"

# fridge.testing tells this stub from every other NotImplementedError by its message.
c.ClearSolutions.code_stub = {"python": '# YOUR CODE HERE\nraise NotImplementedError("not attempted yet")'}

# The seam for execution: whatever runs a submission's cells is named first in this list. It is nbgrader's own list but
# for CheckCellMetadata at its end, which has seen the same cells before they ran.
c.Autograde.autograde_preprocessors = [
    "autograder.submissions.execute.SplitExecute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "autograder.collecting.dates.OwnDates",
    "nbgrader.preprocessors.AssignLatePenalties",
]
# nbgrader's own list behind a step that leaves it nothing to refuse or to lose: the notebook rebuilt from the handout.
c.Autograde.sanitize_preprocessors = [
    "autograder.submissions.sanitize.RebuildFromHandout",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "autograder.results.feedback.HideTests",
    "autograder.results.feedback.ShowRepairs",
    "autograder.results.feedback.ShowWaiting",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
c.GenerateFeedback.exporter_class = "autograder.results.exporter.FeedbackPage"
# Cells that run the real model are for the learner's eyes; no grade hangs on them.
c.NotebookClient.skip_cells_with_tag = "for-real"
c.Execute.timeout = 60
c.KernelManager.transport_encryption = "auto"  # other users of the machine can't listen in on a kernel
# Outputs come from a stranger's notebook and are shown on the instructor's own Jupyter origin.
c.HTMLExporter.sanitize_html = True
c.HTMLExporter.preprocessors = [
    "autograder.results.feedback.ValuesAreText",
    "autograder.results.feedback.ReadableOutputs",
]
# Ours before nbgrader's: no page loads MathJax from another machine, for formulas are MathML.
TEMPLATES = {"autograder": "templates/nbgrader", "nbgrader": "server_extensions/formgrader/templates"}
c.HTMLExporter.extra_template_basedirs = [
    str(Path(find_spec(package).origin).parent / folder) for package, folder in TEMPLATES.items()
]
# nbgrader's pages put Markdown cells through the first of these filters alone, and code through the third.
c.HTMLExporter.filters = {
    "markdown2html": "autograder.results.markup.safe_markdown",
    "clean_html": "autograder.results.markup.safe_html",
    "highlight_code": "autograder.results.plain.coloured",
    "ansi2html": "autograder.results.plain.terminal",
}
