"""Questions without a kernel: as HTML with an answer to unfold, and as text. Code in `backquotes` is set as code."""

import re
from html import escape

from fridge.notebook.recall.questions import Question

LETTERS = "abcd"


def html(questions: list[Question]) -> str:
    """All questions, each with its options and a `<details>` with the answer; colours are the reader's own theme's."""
    return "".join(_html(number, question) for number, question in enumerate(questions, 1))


def text(questions: list[Question]) -> str:
    """The questions for a shell, with the answers at the end."""
    lines = []
    for number, question in enumerate(questions, 1):
        lines += [f"{number}. {question.ask}"]
        lines += [f"   {LETTERS[index]}) {option}" for index, option in enumerate(question.options)]
    answers = [
        f"{number}. {LETTERS[question.right]}) {question.because}" for number, question in enumerate(questions, 1)
    ]
    return "\n".join([*lines, "", "Answers:", *answers])


def marked_up(words: str) -> str:
    """Plain text as HTML, `code` as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(words))


def _html(number: int, question: Question) -> str:
    options = "".join(f"<li>{marked_up(option)}</li>" for option in question.options)
    answer = f"<strong>{LETTERS[question.right]}.</strong> {marked_up(question.because)}"
    return (
        f"<p><strong>{number}.</strong> {marked_up(question.ask)}</p><ol type='a'>{options}</ol>"
        f"<details><summary>Answer</summary><p>{answer}</p></details>"
    )
