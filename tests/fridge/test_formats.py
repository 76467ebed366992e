"""fridge.quantization.formats, and the two figures that are drawn from it."""

import matplotlib.pyplot as plt
import pytest

from fridge import pictures
from fridge.quantization import formats


@pytest.fixture(autouse=True)
def _no_figures_are_left():
    yield
    plt.close("all")


def test_what_was_kept_is_whole():
    """Guards against a file that an interrupted run left, and bits that aren't the layout's."""
    kept = formats.kept()
    assert kept["scored_tokens"] >= 8000
    assert {"cpu", "date", "torch", "gguf", "xllamacpp"} <= kept["machine"].keys()
    of_down_proj = {row["format"]: row for row in formats.rows(formats.DOWN_PROJ)}
    assert {kind: of_down_proj[kind]["bits"] for kind in ("Q4_0", "Q2_K")} == {"Q4_0": 4.5, "Q2_K": 2.625}
    for row in kept["rows"]:
        assert row["perplexity"]["low"] < row["perplexity"]["value"] < row["perplexity"]["high"]


@pytest.mark.parametrize("changed", [formats.ALL, formats.DOWN_PROJ])
def test_rows_stand_by_their_bits(changed):
    """Guards against a table in the order in which things were measured."""
    bits = [row["bits"] for row in formats.rows(changed)]
    assert bits == sorted(bits, reverse=True) != []


def test_the_figures_name_every_format():
    """Guards against a format that was measured and isn't drawn."""
    rows = formats.rows(formats.DOWN_PROJ)
    pictures.perplexity_by_bits(rows, "bits and perplexity")
    assert {text.get_text() for text in plt.gca().texts} == {row["format"] for row in rows}
    pictures.tokens_by_format(formats.kept()["speed"], "speed")
    labels = [tick.get_text() for tick in plt.gca().get_yticklabels()]
    assert len(labels) == len(formats.kept()["speed"])
    assert all("MB" in label for label in labels)


def test_the_layout_is_drawn():
    """Guards against a figure that only a notebook would miss."""
    pictures.gguf_file()
    assert {"metadata", "table of tensors", "data"} <= {text.get_text() for text in plt.gca().texts}
