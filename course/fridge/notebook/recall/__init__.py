"""Recall questions at a unit's end: three to five, ungraded, and each checks itself. `recall.ask("03-kv-cache")`.

The questions stand in `<unit>.toml` beside this file. Looking back a little later, and from memory, is what makes a
thing stay (Roediger and Karpicke 2006).
"""

from typing import Any

from fridge.notebook.recall import page
from fridge.notebook.recall.questions import Question, read


def ask(unit: str) -> "Questions":
    """A unit's questions: to click on in a notebook, to unfold in a page, to read in a shell.

    Args:
        unit: 03-kv-cache.

    Raises:
        BadQuestions: the unit has none, or they are not in order.
    """
    return Questions(read(unit))


class Questions:
    """Some questions, displayed."""

    def __init__(self, questions: list[Question]):
        self.questions = questions

    def __repr__(self) -> str:
        return page.text(self.questions)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        # Where widgets can't be shown (GitHub, an exported page), the HTML beside them is.
        bundle = {"text/plain": repr(self), "text/html": page.html(self.questions)}
        try:
            from fridge.notebook.recall import widgets
        except ImportError:  # no ipywidgets here
            return bundle
        return bundle | widgets.bundle(self.questions)
