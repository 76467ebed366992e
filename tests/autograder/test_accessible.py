"""What a learner gets who can't see a figure."""

import nbformat

from autograder.course import find_units


def test_every_figure_is_followed_by_its_words(root):
    """JupyterLab draws a figure as an image called "Image"; a screen reader has only the line below it."""
    figures = 0
    for unit in find_units(root):
        cells = nbformat.read(unit.pair, as_version=4).cells
        for cell, below in zip(cells, [*cells[1:], None], strict=True):
            if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
                figures += 1
                assert below is not None, f"{unit.name}, {cell.id}"
                assert below.cell_type == "markdown", f"{unit.name}, {cell.id}"
                assert below.source.startswith("*In words: "), f"{unit.name}, {cell.id}: {below.source[:60]}"
    assert figures > 20
