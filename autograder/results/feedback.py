"""What is shown of a graded notebook: a step of `nbgrader generate_feedback`, and filters for nbgrader's pages.

The learner reads results and reasons, never the source of a hidden test. And nobody's notebook runs anything in the
reader's browser: nbgrader's own pages, feedback and formgrader, show Markdown cells as they come, whatever
`sanitize_html` says.
"""

import re
from html import escape
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.notebooks import is_test
from autograder.submissions.rebuild import REPAIRS, REVEALED

BEGIN, END = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
INSTEAD = "# (Hidden tests looked at more cases here. What they found stands below.)"

_TAGS = (
    *("a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "del", "details", "div", "dl"),
    *("dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "ol", "p", "pre", "s"),
    *("small", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
)
# No id: the formgrader finds a test's buttons by it, and a learner's element could pose as a test's.
_ATTRIBUTES = ("class", "title", "align", "colspan", "rowspan", "width", "height", "alt", "open", "style")
_STYLES = ("text-align", "vertical-align", "width", "height", "font-weight", "font-style")
_PICTURE = re.compile(r"data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=\s]*")


class HideTests(NbGraderPreprocessor):
    """Takes the hidden regions out of every cell."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Replace each hidden region by a line that says that there was one; drop the bare score value."""
        if cell.cell_type == "code" and BEGIN in cell.source:
            cell.source = _without_hidden(cell.source)
        if cell.cell_type == "code" and is_test(cell):
            cell.outputs = [output for output in cell.outputs if output.output_type != "execute_result"]
        return cell, resources


class ShowRepairs(NbGraderPreprocessor):
    """Puts a list of what was repaired before grading, and of what was revealed, at the page's top."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Add a Markdown cell, if anything was; the page's filters clean it as every other."""
        tests = [f"`{name}`" for name in _texts(nb, REVEALED)]
        for heading, sentences in (
            ("Revealed by `fridge.reveal`, so their points were given up", [", ".join(tests)] if tests else []),
            ("What was repaired before grading", _texts(nb, REPAIRS)),
        ):
            if sentences:
                listed = "\n".join(f"- {sentence}" for sentence in sentences)
                nb.cells.insert(0, new_markdown_cell(f"**{heading}**\n\n{listed}"))
        return nb, resources


def _texts(nb: NotebookNode, key: str) -> list[str]:
    values = nb.metadata.get(key, [])
    return [text for text in values if isinstance(text, str)] if isinstance(values, list) else []


class EscapeNames(Preprocessor):
    """Makes text of a learner's name: the formgrader's page of a submission shows it as it is, scripts and all."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Escape the names that the page is given."""
        for name in ("first_name", "last_name"):
            if resources.get(name):
                resources[name] = escape(resources[name])
        return nb, resources


def safe_html(html: str | bytes) -> str:
    """HTML without anything that runs, loads or sends: known tags and attributes, pictures that are in the page."""
    text = html.decode("utf-8", "replace") if isinstance(html, bytes) else str(html)
    return bleach.clean(
        text,
        tags=_TAGS,
        attributes=_is_safe,
        protocols=("http", "https", "mailto", "data"),  # of a link; `_is_safe` knows which data
        css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLES),
    )


@pass_context
def safe_markdown(context: Any, source: str) -> str:
    """Markdown as safe HTML, with the attachments of the cell that is shown."""
    renderer = IPythonRenderer(escape=False, attachments=context.get("cell", {}).get("attachments", {}))
    return safe_html(MarkdownWithMath(renderer=renderer).render(source))


def _is_safe(tag: str, name: str, value: str) -> bool:
    if name == "src":
        return tag == "img" and _PICTURE.fullmatch(value) is not None
    if name == "href":
        return tag == "a" and value.strip().lower().startswith(("http:", "https:", "mailto:", "#"))
    return name in _ATTRIBUTES


def _without_hidden(source: str) -> str:
    kept, hidden = [], False
    for line in source.splitlines():
        if BEGIN in line:
            hidden = True
            kept.append(line[: len(line) - len(line.lstrip())] + INSTEAD)
        elif END in line:
            hidden = False
        elif not hidden:
            kept.append(line)
    return "\n".join(kept)
