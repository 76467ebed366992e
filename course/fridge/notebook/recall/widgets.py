"""Questions to click on: ipywidgets' radio buttons, which the keyboard reaches, and at once right or not yet."""

from typing import Any

import ipywidgets

from fridge.notebook.recall.page import marked_up
from fridge.notebook.recall.questions import Question

MIME = "application/vnd.jupyter.widget-view+json"
# A radio button's label is one line of a fixed height by default; on a phone it must be allowed to be several.
STYLE = """<style>
.fridge-recall { max-width: 44em; margin: 0.4em 0 1.6em }
.fridge-recall .widget-radio { width: 100%; min-width: 0; height: auto; margin: 0.1em 0 }
.fridge-recall .widget-radio-box { width: 100%; min-width: 0; height: auto; max-height: none; margin: 0; padding: 0 }
.fridge-recall .widget-radio-box label { box-sizing: border-box; width: 100%; max-width: 100%; height: auto; margin: 0;
  line-height: 1.4; white-space: normal; overflow-wrap: anywhere; display: flex; flex-direction: row-reverse;
  justify-content: flex-end; align-items: baseline; gap: 0.5em; padding: 0.15em 0; cursor: pointer }
.fridge-recall .widget-radio-box input { flex: none; width: auto; height: auto; margin: 0 }
.fridge-recall .widget-html-content { line-height: 1.4; height: auto; white-space: normal; overflow: visible }
</style>"""


def bundle(questions: list[Question]) -> dict[str, Any]:
    """What a notebook shows of all questions, as its MIME types."""
    boxes = [_box(number, question) for number, question in enumerate(questions, 1)]
    shown = ipywidgets.VBox([ipywidgets.HTML(STYLE), *boxes], layout=ipywidgets.Layout(width="100%"))
    return {MIME: {"version_major": 2, "version_minor": 0, "model_id": shown.model_id}}  # in Colab's older ones, too


def _box(number: int, question: Question) -> ipywidgets.VBox:
    wide = ipywidgets.Layout(width="auto", height="auto", margin="0")
    ask = ipywidgets.HTML(f"<strong>{number}.</strong> {marked_up(question.ask)}", layout=wide)
    # A group for each option: within one, arrow keys move, and JupyterLab takes them. Tab and Space it leaves.
    choices = [
        ipywidgets.RadioButtons(options=[_plain(option)], value=None, layout=wide) for option in question.options
    ]
    said = ipywidgets.HTML("", layout=wide)

    def answer(change: dict[str, Any]) -> None:
        if change["new"] is not None:
            for other in choices:
                other.index = 0 if other is change["owner"] else None
            said.value = reply(question, choices.index(change["owner"]))

    for choice in choices:
        choice.observe(answer, names="index")
    box = ipywidgets.VBox([ask, *choices, said])
    box.add_class("fridge-recall")
    return box


def reply(question: Question, index: int) -> str:
    """What is said about a choice, as HTML for a screen and a screen reader."""
    words = f"✓ Right. {marked_up(question.because)}" if index == question.right else "✗ Not yet. Choose again."
    return f"<div role='status'>{words}</div>"


def _plain(option: str) -> str:
    return option.replace("`", "")  # a label has no code in it
