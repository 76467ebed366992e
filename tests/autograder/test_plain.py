"""Code and printed text become HTML in time that grows with their length, whatever they are."""

import time

import pytest

from autograder.results.plain import MOST_CODE, MOST_CODE_OF_PAGE, MOST_COLOURS, coloured, terminal

PRINTED = {
    "colours": "\x1b[31mx\x1b[0m",
    "colours without ends": "\x1b[31;1;4m",
    "escapes alone": "\x1b",
    "halves of escapes": "\x1b[",
    "many numbers": "\x1b[" + "3;" * 50 + "m",
    "a megabyte of numbers": "\x1b[" + ";" * (2**20 - 3) + "m",
    "twenty thousand numbers, again and again": "\x1b[" + "1;" * 20_000 + "m",
    "tags": "<b>&amp;",
    "lines": "\n\r",
    "links": "\x1b]8;;https://x.test\x1b\\",
}
CODE = {
    "quotes": "'",
    "three quotes": '"""',
    "backslashes": "\\",
    "brackets": "([{",
    "f-strings": "f'{f\"{",
    "numbers": "1_",
    "spaces": " ",
    "names": "a.b",
    "decorators": "@a\n",
    "tags": "<script>",
    "magics": "%%time\n!",
    "dots": "from . import .",
    "words of the language": "class def import from not in is ",
    "names of signs": "'\\N{a",
}


@pytest.mark.parametrize("part", PRINTED.values(), ids=list(PRINTED))
def test_a_megabyte_that_was_printed_is_shown_in_seconds(part):
    """Guards against nbconvert's colours, whose time grows with the square of their number: minutes for 1 MB."""
    text = (part * (2**20 // len(part)))[: 2**20]
    started = time.process_time()
    page = terminal(text)
    assert time.process_time() - started < 3
    assert "<b>" not in page


@pytest.mark.parametrize("part", CODE.values(), ids=list(CODE))
@pytest.mark.parametrize("size", [MOST_CODE, 2**20])
def test_code_is_shown_in_seconds(part, size):
    """Guards against cells of megabytes, and against what the colouring's patterns try again and again."""
    started = time.process_time()
    page = coloured({}, (part * (size // len(part) + 1))[:size])
    assert time.process_time() - started < 4
    assert "<script>" not in page


def test_a_hundred_cells_are_shown_in_seconds():
    """Guards against what each may take, a hundred times: 5 MB of code, as a notebook may hold, took minutes."""
    page, started = {"resources": {}}, time.process_time()
    made = [coloured(page, f"{number}{CODE['names of signs'] * 10_000}"[:MOST_CODE]) for number in range(100)]
    assert time.process_time() - started < 4 * MOST_CODE_OF_PAGE / MOST_CODE
    assert all("<pre>" in one for one in made)
    assert '<span class="n">' in coloured({"resources": {}}, "x = 1"), "the next page has all of its own"


def test_what_is_usual_has_its_colours():
    """Guards against bounds that touch what learners write."""
    assert '<span class="n">' in coloured({}, "x = 1")
    assert 'class="ansi-red-fg"' in terminal("\x1b[31mred\x1b[0m")
    assert terminal("\x1b[31mred\x1b[0m " * MOST_COLOURS).strip() == ("red " * MOST_COLOURS).strip()
