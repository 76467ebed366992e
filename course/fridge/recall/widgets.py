"""Questions to click on: ipywidgets' radio buttons, which the keyboard reaches, and at once right or not yet."""

from typing import Any

import ipywidgets

from fridge.recall.page import marked_up
from fridge.recall.questions import Question

# A radio button's label is one line of a fixed height by default; on a phone it must be allowed to be several.
STYLE = """<style>
.fridge-recall { max-width: 44em; margin: 0.4em 0 1.2em }
.fridge-recall .widget-radio, .fridge-recall .widget-radio-box { width: auto; height: auto; max-height: none }
.fridge-recall .widget-radio-box label { height: auto; max-width: 100%; line-height: 1.4; white-space: normal;
  overflow: visible; display: flex; align-items: baseline; gap: 0.5em; padding: 0.15em 0 }
.fridge-recall .widget-radio-box input { flex: none; width: auto; height: auto; margin: 0 }
.fridge-recall .widget-html-content { line-height: 1.4; height: auto; white-space: normal; overflow: visible }
</style>"""


def bundle(questions: list[Question]) -> dict[str, Any]:
    """What a notebook shows of all questions, as its MIME types."""
    boxes = [_box(number, question) for number, question in enumerate(questions, 1)]
    shown = ipywidgets.VBox([ipywidgets.HTML(STYLE), *boxes], layout=ipywidgets.Layout(width="auto"))
    data = shown._repr_mimebundle_()
    return {kind: value for kind, value in data.items() if kind.startswith("application/")}


def _box(number: int, question: Question) -> ipywidgets.VBox:
    wide = ipywidgets.Layout(width="auto", height="auto")
    ask = ipywidgets.HTML(f"<strong>{number}.</strong> {marked_up(question.ask)}", layout=wide)
    choice = ipywidgets.RadioButtons(options=_plain(question), value=None, layout=wide)
    said = ipywidgets.HTML("", layout=wide)

    def answer(change: dict[str, Any]) -> None:
        said.value = reply(question, change["new"])

    choice.observe(answer, names="index")
    box = ipywidgets.VBox([ask, choice, said], layout=wide)
    box.add_class("fridge-recall")
    return box


def reply(question: Question, index: int | None) -> str:
    """What is said about a choice, as HTML for a screen and a screen reader."""
    if index is None:
        return ""
    words = f"✓ Right. {marked_up(question.because)}" if index == question.right else "✗ Not yet. Choose again."
    return f"<div role='status'>{words}</div>"


def _plain(question: Question) -> list[str]:
    return [option.replace("`", "") for option in question.options]  # a label has no code in it
