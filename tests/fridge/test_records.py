"""Measured figures on disk."""

import json
from pathlib import Path

from fridge.workbench import records

FRIDGE = Path(records.__file__).parents[1]


def test_a_record_is_read_as_it_was_kept(tmp_path):
    """Guards against a list that loses a row, an empty one that is no JSON, and an order that changes by itself."""
    record = {"machine": {"cpu": "a", "tags": [1, 2]}, "rows": [{"x": 1, "of": {"a": None}}, {"x": 2}], "none": []}
    path = tmp_path / "new folder" / "figures.json"
    records.keep(record, path)
    assert list(records.read(path, {}).items()) == list(record.items())
    assert '\n{"x": 2}\n' in path.read_text(), "a row has a line of its own"
    assert [file.name for file in path.parent.iterdir()] == ["figures.json"]


def test_where_nothing_was_kept_the_new_record_is_given(tmp_path):
    """Guards against a first run that fails for want of a file."""
    assert records.read(tmp_path / "none.json", {"rows": []}) == {"rows": []}


def test_the_kept_figures_are_as_a_run_would_write_them(tmp_path):
    """Guards against a file that somebody laid out by hand: the next run would change each of its lines."""
    for path in (FRIDGE / "attention/compiled.json", *FRIDGE.glob("quantization/measurements/*.json")):
        records.keep(json.loads(path.read_text()), tmp_path / path.name)
        assert (tmp_path / path.name).read_text() == path.read_text(), path
