"""What the library says in the learner's language, line by line; what it has no words for stays English."""

import json

import pytest

from fridge.notebook import language, progress, scoreboard
from fridge.notebook.language import said
from fridge.testing import exercise, expect_equal
from fridge.testing.outcome import NotAttempted, Wrong


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    language.choose("")


@pytest.fixture
def chinese():
    language.choose("zh", {"{number} of {all} blocks": "{all} 块里的 {number} 块", "a long prompt": "很长的提示词"})


@pytest.mark.parametrize(
    ("english", "other"),
    [
        ("a long prompt", "很长的提示词"),
        ("  a long prompt", "  很长的提示词"),
        ("3 of 4 blocks", "4 块里的 3 块"),
        ("  expected: 3 of 4 blocks", "  应为：4 块里的 3 块"),
        ("  got:      a * b.c(", "  得到：a * b.c("),
        (
            "✗ memory: not right yet.\n  a long prompt\n\n  expected: 2",
            "✗ memory: 还不对。\n  很长的提示词\n\n  应为：2",
        ),
        (
            "Hidden tests look at: a long prompt; 1 of 2 blocks; names.",
            "隐藏测试看的是：很长的提示词；2 块里的 1 块；names。",
        ),
        ("nobody has words for this", "nobody has words for this"),
        ("", ""),
    ],
)
def test_lines_and_what_fills_their_places_are_looked_up(chinese, english, other):
    """Guards against a hole where a word is missing, and a value that is translated away."""
    assert said(english) == other


@pytest.mark.parametrize("value", ["KeyError: 'x'; y", "{'a': 1}", "x[3, :]; y = {a: b}", "a long prompt of 3: 4"])
def test_values_and_code_stay_what_they_are(value):
    """Guards against an error or a line of a learner's that is shown with other signs than it has."""
    language.choose("zh", {"{what}: {part}": "{what}：{part}", "{one} of {two}": "{two} 的 {one}"})
    assert said(f"  got:      {value}") == f"  得到：{value}"
    assert said(f"  line 3, in f:  {value}") == f"  第 3 行，在 f 里：  {value}"
    assert said(f"✗ a: your code raised {value}").endswith(value)


def test_english_is_left_alone_whatever_is_known(monkeypatch):
    monkeypatch.delenv("FRIDGE_LANG", raising=False)
    assert said("expected: 2") == "expected: 2"
    for unknown in ("fr", "en", "en_GB", "../../etc", ""):
        monkeypatch.setenv("FRIDGE_LANG", unknown)
        assert said("expected: 2") == "expected: 2"
    monkeypatch.setenv("FRIDGE_LANG", "zh_CN")
    assert said("expected: 2") == "应为：2"


def test_a_pattern_is_asked_for_no_longer_than_a_line_is(chinese):
    """Guards against a learner's output that keeps the one who shows it busy."""
    language.choose("zh", {"".join(f"{{a{n}}}x" for n in range(9)) + "y": "".join(f"{{a{n}}}" for n in range(9))})
    long = "x; " * 100_000
    assert said("x" * 1_999) == "x" * 1_999
    assert said(long) == long
    assert said("; ".join("x" * 600)) == said("; ".join("x" * 600))


def outcome(kind: type[Exception], body) -> str:
    with pytest.raises(kind) as caught, exercise("memory"):
        body()
    return str(caught.value)


def test_each_outcome_speaks_the_language(monkeypatch, capsys):
    """Guards against a line of the library's own that was changed, and is English since."""
    monkeypatch.setenv("FRIDGE_LANG", "zh")

    def stub():
        raise NotImplementedError("not attempted yet")

    def wrong():
        expect_equal(1, 2, "one token", cause="count again")

    def raises():
        return undefined  # noqa: F821 - a learner's misspelt name

    def unpacks():
        _, _ = None

    said_of = {
        "stub": outcome(NotAttempted, stub),
        "wrong": outcome(Wrong, wrong),
        "raises": outcome(Wrong, raises),
        "unpacks": outcome(Wrong, unpacks),
        "none": outcome(Wrong, lambda: expect_equal(None, 2, "one token")),
    }
    assert said_of["stub"].startswith("○ memory: 还没有做（2 分）")
    assert said_of["wrong"] == "✗ memory: 还不对。\n  一个 token\n  应为：2\n  得到：1\n  可能的原因：count again"
    assert "你的代码抛出了 NameError" in said_of["raises"]
    assert "可能的原因：练习的单元格还没有运行" in said_of["raises"]
    assert "可能的原因：少了一个 `return`" in said_of["unpacks"]
    assert "None（是不是少了一个 `return`？）" in said_of["none"]
    with exercise("memory"):
        pass
    shown = capsys.readouterr().out
    assert shown.startswith("✓ memory: 这一格的测试通过了。隐藏测试也通过时，这 2 分 才算数")
    assert "为什么对：" in shown
    table = scoreboard.show("03-kv-cache")
    assert "按可见的测试" in repr(table)
    assert ">练习</th>" in table._repr_html_()


def test_what_is_saved_in_any_language_counts(monkeypatch, capsys):
    """Guards against a table of progress, and a file to hand in, for which a Chinese notebook has tested nothing."""
    for name in ("en", *language.languages()):
        monkeypatch.setenv("FRIDGE_LANG", name)
        with exercise("memory"):
            pass
        said_now = {"output_type": "stream", "name": "stdout", "text": capsys.readouterr().out}
        source = 'from fridge.testing import exercise\nwith exercise("memory"):\n    pass'
        cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [said_now], "execution_count": 1}
        assert progress.outcomes({"cells": [cell]}) == {"memory": scoreboard.RIGHT}


def test_words_of_all_languages_can_be_read():
    assert "zh" in language.languages()
    for name in language.languages():
        words = json.loads(language.WORDS.with_suffix(f".{name}.json").read_text())
        assert all(type(english) is type(other) is str for english, other in words.items())
