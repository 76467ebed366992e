"""One rule for ids, and one way out for what is printed: a table of names that strangers choose."""

import io
import unicodedata

import pytest

from autograder.printing import say, shown
from autograder.submissions.ids import BadId, checked_id, is_id

HARMLESS = [
    "ada",
    "ada.lovelace@example.org",
    "+4911",
    "-minus",
    "007",
    "a_b-c",
    "王伟",
    "Müller",
    "أحمد",
    "नमस्ते",
    "x" * 128,
]
HARMFUL = {
    "": "missing",
    ".": "dot",
    "..": "dot",
    ".hidden": "dot",
    "a/b": "U+002F",
    "a\\b": "U+005C",
    "a b": "a space",
    "<script>alert(1)</script>": "U+003C",
    "a'b": "U+0027",
    'a"b': "U+0022",
    "a\nb": "U+000A",
    "a\x1b[2Jb": "U+001B",
    "a\u202eb": "U+202E",
    "a\u200bb": "U+200B",
    "\u0301a": "U+0301",
    "a\u3164b": "U+3164",
    "ａｄａ": "U+FF41",
    "𝒶da": "U+1D4B6",
    "aʼb": "U+02BC",
    "a*": "U+002A",
    "$(id)": "U+0024",
    "a;b": "U+003B",
    "a\0b": "U+0000",
    "\udcffgbk": "U+DCFF",
    "x" * 129: "longer",
    "王" * 81: "240 bytes",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_ids_of_any_script_pass(name):
    """A school in China or Egypt has logins in its own letters."""
    assert checked_id(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", HARMFUL, ids=ascii)
def test_what_a_path_page_or_terminal_obeys_is_refused_in_a_sentence(name):
    """nbgrader's pages put an id into a script as it is, and collecting makes a folder of it."""
    with pytest.raises(BadId) as refused:
        checked_id(name)
    assert HARMFUL[name] in str(refused.value)
    assert str(refused.value).isprintable()
    assert not is_id(name)


def test_no_id_is_a_formula_that_does_anything():
    """Exports write ids as they are, for an LMS: no sign that calls a function or a program may stand in one."""
    assert not any(is_id(f"a{sign}b") for sign in "=()!|'\"&%:;,<>*/\\{}[]^~`#$ ")


def test_two_forms_of_one_name_are_one_id():
    """A Mac writes ü as two letters, and the gradebook would have two learners."""
    assert checked_id("Mu\u0308ller") == "Müller"
    assert not is_id("Mu\u0308ller")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada\nbo: 25 points", r"ada\x0abo: 25 points"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2028b", r"a\u2028b"),
        ("\x9b2J", r"\x9b2J"),
        ("\udcff", r"\udcff"),
        ("王伟 Müller أحمد", "王伟 Müller أحمد"),
        ("علی\u200cرضا", "علی\u200cرضا"),
    ],
)
def test_a_name_is_one_line_that_a_terminal_does_not_obey(text, expected):
    """A line break in a name would forge a line of a summary."""
    assert shown(text) == expected


def test_a_long_name_keeps_its_ends():
    """A megabyte in a name would be the whole summary."""
    assert shown("a" * 10**6 + "z", 20) == "a" * 10 + "…" + "a" * 9 + "z"


def test_a_terminal_without_a_letter_gets_a_question_mark():
    """A terminal in Latin-1 must not end a run that is done."""
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    say(["Müller 王"], terminal)
    terminal.flush()
    assert terminal.buffer.getvalue().decode("latin-1") == "Müller ?\n"
