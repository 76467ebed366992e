"""Code and what programs print as HTML, in time that grows with their length alone: nbconvert's filters, with bounds.

pygments and nbconvert take minutes for some megabytes of a hostile kind. What is long, or full of colours, is shown
without them.
"""

import re
from functools import lru_cache
from html import escape
from typing import Any

from nbconvert.filters import Highlight2HTML
from nbconvert.filters.ansi import ansi2html

MOST_CODE = 50_000  # characters of a cell that are coloured; a right answer has 2,000
MOST_COLOURS = 2_000  # escape sequences of an output
_SEQUENCE = re.compile(r"\x1b\[[0-9;:]*[A-Za-z]?")


def coloured(source: str, language: str | None = None, metadata: Any = None) -> str:
    """A cell's code. A notebook that is graded has the handout's metadata, and so its language."""
    if len(source) > MOST_CODE:
        return f'<div class="highlight"><pre>{escape(source, quote=False)}</pre></div>'
    return _python(source)


@lru_cache(maxsize=1024)
def _python(source: str) -> str:
    return Highlight2HTML(pygments_lexer="python")(source)


def terminal(text: str) -> str:
    """What a cell printed, with its colours."""
    return ansi2html(text if text.count("\x1b") <= MOST_COLOURS else _SEQUENCE.sub("", text))
