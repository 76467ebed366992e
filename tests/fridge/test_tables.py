"""Tables: HTML for a notebook, aligned text for everything else, and a dict as two columns."""

import pytest

from fridge.workbench import tables


def test_text_is_aligned_and_html_is_escaped() -> None:
    """Guards against numbers that don't stand below each other, and names that become markup."""
    table = tables.Table(("name", "tokens"), [("a<b", "7"), ("one more", "1234")], "below", numbers=(1,))
    assert repr(table).splitlines() == ["name      tokens", "a<b            7", "one more    1234", "below"]
    assert "a&lt;b" in table._repr_html_()
    assert "text-align:right'>1234" in table._repr_html_()


def test_a_row_of_one_text_heads_what_follows() -> None:
    """Guards against a heading that is cut to its column, or one that widens it."""
    table = tables.Table(("a", "b"), [("a long heading",), ("x", "y")])
    assert repr(table).splitlines() == ["a  b", "a long heading", "x  y"]


def test_a_dict_is_two_columns_without_a_head() -> None:
    """Guards against a bare dict in a notebook, and against an empty line above the table."""
    table = tables.facts({"memory_gb": 8.2, "cpu": "one"})
    assert repr(table).splitlines() == ["memory gb  8.2", "cpu        one"]
    assert "<th" not in table._repr_html_()
    assert table._repr_html_().count("<tr>") == 2


def test_show_reaches_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Guards against a table inside an `if`, which nobody would see as a last value."""
    tables.show(("what",), [("here",)])
    assert capsys.readouterr().out.split() == ["what", "here"]
