"""Code and what programs print as HTML, in time that grows with their length alone: nbconvert's filters, with bounds.

pygments and nbconvert take minutes for some megabytes of a hostile kind, in one cell or in a hundred. What is long, or
full of colours, is shown without them.
"""

import re
from functools import lru_cache
from html import escape
from typing import Any

from jinja2 import pass_context
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.ansi import ansi2html

MOST_CODE = 50_000  # characters of a cell that are coloured; a right answer has 2,000
MOST_CODE_OF_PAGE = 250_000  # of all cells together; the largest unit has 60,000
MOST_COLOURS = 2_000  # escape sequences of an output
_SEQUENCE = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]?")
# nbconvert takes the numbers of a sequence out of a list one by one, from its beginning. No colour has twenty.
_ENDLESS = re.compile(r"\x1b\[[^\n@-~]{100,}[@-~]?")


@pass_context
def coloured(context: Any, source: str, language: str | None = None, metadata: Any = None) -> str:
    """A cell's code. A notebook that is graded has the handout's metadata, and so its language."""
    page = context.get("resources", {})
    left = page.get("code_left", MOST_CODE_OF_PAGE)
    if len(source) > min(MOST_CODE, left):
        return f'<div class="highlight"><pre>{escape(source, quote=False)}</pre></div>'
    page["code_left"] = left - len(source)
    return _python(source)


@lru_cache(maxsize=1024)
def _python(source: str) -> str:
    return Highlight2HTML(pygments_lexer="python")(source)


def terminal(text: str) -> str:
    """What a cell printed, with its colours."""
    text = _ENDLESS.sub("", text)
    return ansi2html(text if text.count("\x1b") <= MOST_COLOURS else _SEQUENCE.sub("", text))
