"""Handouts in other languages: the same assignment in other words, and no hole where a word is missing."""

import ast
import copy
import json
import re

import nbformat
import pytest
from babel.messages.pofile import read_po
from grading_class import BODIES, points, skip_without_sandbox
from mini_course import ROOT

from autograder.authoring.build import build, differences
from autograder.batch.grade import grade
from autograder.cli import main
from autograder.course import find_units
from autograder.notebooks import grade_id, is_test, read_master
from autograder.results.class_results import gather
from autograder.submissions.rebuild import rebuild
from autograder.submissions.release import read_release
from autograder.translating import catalogs, speech
from autograder.translating.catalogs import LANGUAGES
from autograder.translating.handouts import COMMON, HEADER, words_of
from autograder.translating.lint import fuzzy, states
from autograder.translating.messages import messages, translated
from fridge.notebook import checkup, contents

CHINESE = re.compile("[\u4e00-\u9fff]")
UNITS = find_units(ROOT)
by_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
CELL = '''import torch

# One: a comment
# of two lines.
def double(x):
    """Twice a number.

    Args:
        x: the number.
    """
    # YOUR CODE HERE
    return 2 * x  # twice


class Box:
    """Keeps one thing."""

    def get(self):
        r"""The thing, not \\n another."""
        text = "# no comment"
        return self.thing + text
'''


def cell(source: str, kind: str = "code") -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source) if kind == "markdown" else nbformat.v4.new_code_cell(source)


def texts(*cells: nbformat.NotebookNode) -> list[tuple[str, str]]:
    return [(message.kind, message.text) for message in messages(nbformat.v4.new_notebook(cells=[*cells]))]


def test_a_message_is_a_paragraph_a_docstring_or_a_comment():
    text = "# Title\n\nOne paragraph\nof two lines.\n\n- a\n- b\n\n```text\nwords\n\nmore\n```\n"
    text += "behind it\n\n---\n\n| 1 | 2 |"
    assert texts(cell(text, "markdown")) == [
        ("text", "# Title"),
        ("text", "One paragraph\nof two lines."),
        ("text", "- a\n- b"),
        ("text", "```text\nwords\n\nmore\n```"),
        ("text", "behind it"),
    ]
    assert texts(cell(CELL)) == [
        ("comment", "One: a comment\nof two lines."),
        ("docstring", "Twice a number.\n\nArgs:\n    x: the number."),
        ("comment", "twice"),
        ("docstring", "Keeps one thing."),
        ("docstring", "The thing, not \\n another."),
    ]


def test_other_words_leave_the_code_alone():
    """Guards against a translation that makes another program, or loses a line."""
    shown = translated(cell(CELL), lambda text: "字" if "\n" not in text else "一行。\n\n参数：\n    x：数。")
    assert shape(shown) == shape(CELL)
    assert "return self.thing + text" in shown
    assert (
        '    """一行。\n\n    参数：\n        x：数。\n    """\n    # YOUR CODE HERE\n    return 2 * x  # 字\n' in shown
    )
    assert translated(cell(CELL), lambda text: text) == CELL
    assert translated(cell("%pip install x\n# why", "code"), lambda text: "字").startswith("%pip")


def shape(source: str) -> str:
    """A cell's syntax tree, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body[0].value.value = ""
    return ast.dump(tree)


@by_unit
def test_without_translations_a_handout_is_the_english_one(unit):
    notebook = nbformat.read(unit.release, as_version=4)
    assert [translated(one, lambda text: text) for one in notebook.cells] == [one.source for one in notebook.cells]


@by_unit
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translated_handout_is_the_same_assignment(unit, language):
    """Guards against a notebook whose answers the grader doesn't find, or that runs another program."""
    english = nbformat.read(unit.release, as_version=4)
    other = nbformat.read(unit.root / "course" / language / unit.name / unit.release.name, as_version=4)
    assert [one.id for one in other.cells] == [one.id for one in english.cells]
    assert [one.metadata for one in other.cells] == [one.metadata for one in english.cells]
    header = [place % len(english.cells) for place in HEADER]
    for place, (mine, theirs) in enumerate(zip(other.cells, english.cells, strict=True)):
        if is_test(theirs):
            assert mine.source == theirs.source
        elif theirs.cell_type == "code" and place not in header and not theirs.source.startswith(("%", "!")):
            assert shape(mine.source) == shape(theirs.source), grade_id(theirs)
    assert other.metadata.fridge.language == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_is_translated_and_fits(root, language):
    """Guards against a number, a formula or a link that one language has and the other hasn't."""
    for name, state in states(root, language).items():
        assert state.fine, f"{name}: {state.fuzzy[:3]} {state.untranslated[:3]} {state.findings[:5]}"


@by_unit
@pytest.mark.parametrize("language", LANGUAGES)
def test_words_of_hidden_tests_stay_with_the_masters(unit, language):
    """Guards against a list of words from which a learner reads what the hidden tests ask."""
    master = read_master(unit)
    spoken = {message.text for message in speech.of_tests(master)}
    hidden = spoken - speech.visible(master) - {message.text for message in speech.of_library()}
    known = set(json.loads(ROOT.joinpath(f"course/fridge/notebook/words.{language}.json").read_text()))
    elsewhere = {text for one in UNITS if one != unit for text in speech.visible(read_master(one))}
    assert unit.name.startswith("00") or len(hidden) > 40
    assert not (hidden - elsewhere) & known


def test_a_unit_that_says_nothing_before_its_hidden_tests_gives_nothing_away(root):
    """Guards against all words of a unit where none was asked for."""
    assert words_of(find_units(root, ["03-kv-cache"])[0], "zh", set()) == {}


def test_a_grader_s_words_are_those_of_hidden_tests_too(root):
    unit = find_units(root, ["03-kv-cache"])[0]
    words = read_release(unit).words["zh"]
    assert len(words) > 250
    assert set(words) > set(speech.visible(read_master(unit))) & set(words)


@pytest.fixture
def chinese(mini):
    """The mini course with a Chinese catalog."""
    (mini / "locale/zh_CN/LC_MESSAGES").mkdir(parents=True)
    build(mini)
    say(mini, "# Mini", "# 迷你")
    say(mini, "Whole numbers of any size, negative\nones and zero, too.", "任意大小的整数，也包括负数和零。")
    say(mini, "The sum.", "两数之和。")
    build(mini)
    return mini


def say(root, english: str, other: str) -> None:
    file = catalogs.path(root, "00-mini", "zh")
    catalog = catalogs.read(file, "zh")
    catalog[english].string = other
    catalogs.write(catalog, file)


def handout(root) -> str:
    return "\n".join(one.source for one in nbformat.read(root / "course/zh/00-mini/mini.ipynb", as_version=4).cells)


def test_a_build_makes_the_other_handouts_too(chinese):
    text = handout(chinese)
    assert "# 迷你" in text
    assert '"""两数之和。"""' in text
    assert 'FRIDGE_LANG", "zh"' in text
    assert "### Exercise 1 · Add (3 points)" in text, "what has no translation is shown in English"
    assert differences(chinese) == []
    english = nbformat.read(chinese / "course/00-mini/mini.ipynb", as_version=4)
    assert not CHINESE.search("\n".join(one.source for one in english.cells))
    assert "FRIDGE_LANG" not in english.cells[2].source


def test_a_changed_english_sentence_is_named_and_shown_in_english(chinese, monkeypatch, capsys):
    """Guards against a translation that says what the master no longer says."""
    master = chinese / "solutions/00-mini/mini.py"
    master.write_text(
        master.read_text().replace("# Whole numbers of any size, negative", "# Integers of any size, negative")
    )
    monkeypatch.chdir(chinese)
    assert differences(chinese)
    assert main(["build"]) == 0
    assert "00-mini: fuzzy in zh, and shown in English: Integers of any size, negative" in capsys.readouterr().out
    assert "Integers of any size" in handout(chinese)
    assert "任意大小" not in handout(chinese)
    catalog = read_po(catalogs.path(chinese, "00-mini", "zh").open("rb"))
    assert catalog["Integers of any size, negative\nones and zero, too."].string.startswith("任意大小")
    assert main(["lint", "--language", "zh"]) == 1
    assert fuzzy(chinese, "zh")


def test_what_the_two_sides_must_share_is_looked_at(chinese):
    say(chinese, "Whole numbers of any size, negative\nones and zero, too.", "任意大小的整数，最多 20 位，见 `add`。")
    findings = states(chinese, "zh")["00-mini"].findings
    assert len(findings) == 2
    assert any("code" in one and "`add`" in one for one in findings)
    assert any("number" in one and "20" in one for one in findings)
    (chinese / "locale/zh_CN/glossary.toml").write_text('"mini" = ["小型"]\n')
    assert any("glossary" in one for one in states(chinese, "zh")["00-mini"].findings)


def test_a_language_that_is_not_there_gets_a_sentence(chinese, monkeypatch, capsys):
    monkeypatch.chdir(chinese)
    assert main(["lint", "--language", "fr"]) == 2
    assert "fr" in capsys.readouterr().err


def test_what_all_notebooks_have_is_in_one_catalog(root):
    for language in LANGUAGES:
        assert states(root, language)[COMMON].messages > 8


@by_unit
def test_an_untouched_handout_is_nobody_s_answer_in_any_language(unit):
    """Guards against a stub in other words that counts as an answer, and cells that are kept twice."""
    for path in unit.translations:
        sent = nbformat.read(path, as_version=4)
        editions = [nbformat.read(one, as_version=4) for one in (unit.release, *unit.translations)]
        rebuilt = rebuild(copy.deepcopy(sent), *editions)
        assert rebuilt.repairs == []
        assert [cell.source for cell in rebuilt.notebook.cells] == [cell.source for cell in sent.cells]
        with pytest.raises(contents.NothingToHandIn, match="no exercise is attempted"):
            contents.report(unit.name, json.loads(path.read_text()), "as saved")


def test_a_lost_cell_comes_back_in_the_language_of_the_notebook(root):
    path = find_units(root, ["03-kv-cache"])[0].translations[0]
    data = json.loads(path.read_text())
    lost = next(one for one in data["cells"] if one["metadata"].get("nbgrader", {}).get("grade_id") == "rope")
    whole = lost["source"]
    data["cells"].remove(lost)
    assert checkup.put_back(data, "03-kv-cache") == ["Put back: rope."]
    back = next(one for one in data["cells"] if one["id"] == "rope")
    assert CHINESE.search("".join(back["source"]))
    assert "".join(back["source"]) == "".join(whole)


def test_a_class_in_two_languages_is_one_assignment(chinese):
    """Guards against points, or a report, that depend on the language of a notebook."""
    skip_without_sandbox()
    unit = find_units(chinese)[0]
    bodies = [*BODIES.values(), "return b + a"]
    for number, body in enumerate(bodies):
        for language, path in (("en", unit.release), ("zh", unit.translations[0])):
            notebook = nbformat.read(path, as_version=4)
            answer = next(one for one in notebook.cells if grade_id(one) == "add")
            answer.source = answer.source.partition("    # YOUR CODE HERE")[0] + f"    {body}"
            folder = chinese / "grading/submitted" / f"{language}{number}" / unit.name
            folder.mkdir(parents=True)
            nbformat.write(notebook, folder / unit.release.name)
    summary = grade(chinese, unit.name)
    assert summary.fine
    assert summary.graded == 10
    assert summary.repaired == 0
    found = points(f"sqlite:///{chinese}/grading/gradebook.db")
    for number, _ in enumerate(bodies):
        assert found[f"zh{number}"] == found[f"en{number}"]
    assert set(found.values()) == {0.0, 3.0}
    units, learners = gather(chinese)
    assert [one.name for one in units] == [unit.name]
    assert len(learners) == 10
    zh, en = (
        {name: (chinese / f"grading/autograded/{language}{name}/00-mini/mini.ipynb").read_text() for name in range(5)}
        for language in ("zh", "en")
    )
    assert "# 迷你" in zh[0]
    assert "# 迷你" not in en[0]
    assert "✗ add: 还不对。" in zh[1]
    assert "可能" not in en[1]
    assert "✗ add: not right yet." in en[1]
