"""Finding and reading a stranger's file: any bytes, any names. The table of odd_files.py has the single cases."""

import json
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

import fridge
from autograder.course import find_units
from autograder.submissions.rebuild import rebuild
from autograder.submissions.submission import MAX_ENTRIES, MAX_OBJECTS, Refused, find_notebook, read_notebook

NAME = "kv_cache.ipynb"
GOOD = json.dumps(new_notebook(cells=[new_code_cell("x = 1", id="a"), new_code_cell("y = '导入'", id="b")]))
MANY = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def read(folder: Path, data: bytes) -> list[str] | None:
    """The sources of a file with these bytes; None if it is refused."""
    path = folder / NAME
    path.write_bytes(data)
    try:
        notebook = read_notebook(path)
    except Refused as error:
        refused = str(error)
    else:
        nbformat.validate(notebook)
        return [cell.source for cell in notebook.cells]
    assert refused.startswith(NAME)
    assert "\n" not in refused
    return None


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@MANY
def test_any_bytes_are_read_or_refused(tmp_path: Path, data: bytes) -> None:
    """Guards against a run that ends at a file that is no notebook."""
    read(tmp_path, data)


@given(
    end=st.integers(0, len(GOOD) - 1),
    change=st.binary(min_size=1, max_size=3),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32-be"]),
)
@MANY
def test_damaged_notebooks_are_read_or_refused(tmp_path: Path, end: int, change: bytes, encoding: str) -> None:
    """Guards against half an upload that is graded as a whole one, and damage that is no refusal but an error."""
    data = GOOD.encode(encoding)
    assert read(tmp_path, data) == ["x = 1", "y = '导入'"]
    assert read(tmp_path, GOOD[:end].encode(encoding)) is None
    read(tmp_path, data[:end] + change + data[end + 1 :])


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "cells",
                        "worksheets",
                        "nbformat",
                        "nbformat_minor",
                        "metadata",
                        "source",
                        "cell_type",
                        "input",
                        "id",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=15,
    ),
    version=st.sampled_from([2, 3, 4]),
)
@MANY
def test_any_json_is_read_or_refused(tmp_path: Path, value: object, version: int) -> None:
    """Guards against a notebook by hand: cells of other types, worksheets of an old format without their parts."""
    read(tmp_path, json.dumps(value).encode())
    read(tmp_path, json.dumps({"nbformat": version, "cells": value}).encode())
    read(tmp_path, json.dumps({"nbformat": version, "worksheets": [{"cells": value}]}).encode())


def test_many_small_parts_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    """Guards against 20 MB of empty objects, which Python would make a gigabyte of."""
    (tmp_path / NAME).write_text('{"cells": [' + "{}," * MAX_OBJECTS + "{}]}")
    with pytest.raises(Refused, match="millions of parts"):
        read_notebook(tmp_path / NAME)


def test_a_folder_of_very_many_files_is_refused(tmp_path: Path) -> None:
    """Guards against an environment handed in with the notebook that takes minutes to look through."""
    folder = tmp_path / "venv"
    folder.mkdir()
    for number in range(MAX_ENTRIES):
        (folder / str(number)).touch()
    with pytest.raises(Refused, match="too many files"):
        find_notebook(tmp_path, NAME)


@pytest.mark.parametrize(
    "name",
    [
        "Copy of kv_cache.ipynb",
        "Copie de KV Cache (1).ipynb",
        "kv_cache-Copy1.ipynb",
        "KV-Cache (2).ipynb",
        "kv cache copy.ipynb",
        "kv_cache_2.ipynb",
        "x/kv_cache.ipynb",
    ],
)
def test_the_nearest_name_is_taken_of_several(tmp_path: Path, name: str) -> None:
    """Guards against a refusal, or another notebook, where one clearly is the one that is wanted."""
    for other in ("notes.ipynb", "scratch.ipynb", name):
        path = tmp_path / other
        path.parent.mkdir(exist_ok=True)
        path.write_text(other)
    assert find_notebook(tmp_path, NAME) == tmp_path / name


def test_links_are_refused_wherever_they_stand(tmp_path: Path) -> None:
    """Guards against a link to another's notebook or to the instructor's files, in a name or on the way to it."""
    secret, folder = tmp_path / "secret", tmp_path / "learner"
    secret.mkdir()
    (secret / NAME).write_text(GOOD)
    folder.symlink_to(secret)
    with pytest.raises(Refused, match="is not a folder"):
        find_notebook(folder, NAME)
    folder.unlink()
    folder.mkdir()
    (folder / NAME).symlink_to(secret / NAME)
    with pytest.raises(Refused, match="link"):
        find_notebook(folder, NAME)
    with pytest.raises(Refused, match="links aren't followed"):
        read_notebook(folder / NAME)


def test_the_file_that_fridge_submit_makes(root, tmp_path, monkeypatch):
    """What learners are told to hand in must be what is read, found by its name, and rebuilt without a remark."""
    unit = find_units(root, ["03-kv-cache"])[0]
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    handout = nbformat.read(unit.release, as_version=4)
    for cell in handout.cells:
        cell.metadata = {}  # as Colab saves it
        if cell.id == "work":
            cell.source = "def positions_processed(prompt_tokens, new_tokens):\n    return (1, 2)"
    nbformat.write(handout, tmp_path / unit.release.name)
    made = fridge.submit(unit.name).path
    assert find_notebook(made.parent, unit.release.name) == made
    rebuilt = rebuild(read_notebook(made), nbformat.read(unit.release, as_version=4))
    assert rebuilt.repairs == []
    assert "return (1, 2)" in next(cell.source for cell in rebuilt.notebook.cells if cell.id == "work")
