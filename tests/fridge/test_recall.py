"""Recall questions: to click on where there are widgets, to unfold where there are none, to read in a shell."""

import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fridge.notebook import recall
from fridge.notebook.recall import page, questions, widgets

FILE = """
[[question]]
ask = "Which of these does a cache with `capacity` 4 & <b>room</b> for 2 take?"
options = ["two more", "`k` & <i>v</i>", "five"]
right = 1
because = "It has room for `capacity` - 2 < 3."

[[question]]
ask = "And then?"
options = ["It raises.", "It grows.", "It forgets the first.", "Nothing."]
right = 0
because = "Memory is reserved once."

[[question]]
ask = "Why?"
options = ["a", "b", "c"]
right = 2
because = "So it is."
"""


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A unit with three questions."""
    (tmp_path / "00-demo.toml").write_text(FILE)
    monkeypatch.setattr(recall, "read", lambda name: questions.read(name, tmp_path))
    return "00-demo"


class Page(HTMLParser):
    """A page's elements, and its text outside answers that are folded."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.open_text, self._folded = "", 0
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append(tag)
        self._folded += tag == "details"

    def handle_endtag(self, tag: str) -> None:
        self._folded -= tag == "details"

    def handle_data(self, data: str) -> None:
        self.open_text += "" if self._folded else data


def test_a_page_without_a_kernel(unit: str) -> None:
    """Guards against answers in plain sight, text that becomes markup, and what GitHub takes away (styles, scripts)."""
    shown = Page(recall.ask(unit)._repr_mimebundle_()["text/html"])
    assert shown.tags.count("details") == shown.tags.count("summary") == 3
    assert shown.tags.count("li") == 10
    assert not {"b", "i", "style", "script", "input"} & set(shown.tags)
    assert "And then?" in shown.open_text
    assert "Memory is reserved once." not in shown.open_text


def test_widgets_say_at_once(unit: str) -> None:
    """Guards against a click without an answer, an answer that is given away before one, or the wrong one praised."""
    asked = recall.ask(unit).questions
    box = widgets._box(1, asked[0])
    ask, *choices, said = box.children
    assert "<code>capacity</code> 4 &amp; &lt;b&gt;room" in ask.value
    assert [choice.index for choice in choices] == [None, None, None]
    assert said.value == ""
    choices[0].index = 0
    assert said.value == "<div role='status'>✗ Not yet. Choose again.</div>"
    choices[1].index = 0
    assert said.value.startswith("<div role='status'>✓ Right. It has room for <code>capacity</code> - 2 &lt; 3.")
    assert [choice.index for choice in choices] == [None, 0, None], "one choice at a time"
    assert "fridge-recall" in box._dom_classes


def test_both_stand_beside_each_other(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against an executed notebook that shows nothing on GitHub, and a traceback without ipywidgets."""
    bundle = recall.ask(unit)._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", widgets.MIME}
    monkeypatch.setitem(sys.modules, "fridge.notebook.recall.widgets", None)
    monkeypatch.delattr(recall, "widgets")
    assert set(recall.ask(unit)._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_in_a_shell(unit: str) -> None:
    """Guards against an object's address where a learner without a notebook should read questions."""
    lines = repr(recall.ask(unit)).splitlines()
    assert lines[:2] == [
        "1. Which of these does a cache with `capacity` 4 & <b>room</b> for 2 take?",
        "   a) two more",
    ]
    assert lines[-2:] == ["2. a) Memory is reserved once.", "3. c) So it is."]


def test_a_unit_without_questions(unit: str) -> None:
    """Guards against a FileNotFoundError that names a path of the library's."""
    with pytest.raises(questions.BadQuestions, match=r"no questions about '07-none'; 00-demo has some"):
        recall.ask("07-none")


def test_the_letters_suffice() -> None:
    """Guards against an option without a letter."""
    assert len(page.LETTERS) >= max(questions.OPTIONS)
