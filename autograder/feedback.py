"""What is shown of a graded notebook: a step of `nbgrader generate_feedback`, and filters for nbgrader's pages.

The learner reads results and reasons, never the source of a hidden test. And nobody's notebook runs anything in the
reader's browser: nbgrader's own pages, feedback and formgrader, show Markdown cells as they come, whatever
`sanitize_html` says.
"""

import re
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.notebooks import is_test

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
