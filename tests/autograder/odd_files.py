"""Odd submissions whose files are odd: names, folders, links, encodings, damage."""

import json
import os
from pathlib import Path

from nbformat import NotebookNode
from odd_submissions import NOTEBOOK, STUBS, grade_id, odd


def write(folder: Path, notebook: NotebookNode, name: str = NOTEBOOK) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def untouched(notebook: NotebookNode) -> NotebookNode:
    for cell in notebook.cells:
        cell.source = STUBS.get(grade_id(cell), cell.source)
    return notebook


# --- names and folders -------------------------------------------------------------------------------------------


@odd("a nested folder, as from a zip, with what a Mac and Jupyter add to it", writes_files=True)
def nested(folder, notebook):
    write(folder, notebook, f"home/work/00-odd/{NOTEBOOK}")
    write(folder, untouched(notebook), f"home/work/00-odd/.ipynb_checkpoints/{NOTEBOOK}")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / f"._{NOTEBOOK}").write_bytes(b"\0\5\26\7")


@odd("a file name in another case, with a browser's (1)", writes_files=True)
def browsers_copy(folder, notebook):
    write(folder, notebook, "Odd_Sums (1).IPYNB")


@odd("the ending .ipynb.txt", writes_files=True)
def ending_txt(folder, notebook):
    write(folder, notebook, f"{NOTEBOOK}.txt")


@odd("a name of one's own", writes_files=True)
def renamed(folder, notebook):
    write(folder, notebook, "homework_final_FINAL.ipynb")


@odd("a Windows path as the file's name", writes_files=True)
def windows_path(folder, notebook):
    write(folder, notebook, f"C:\\Users\\me\\00-odd\\{NOTEBOOK}")


@odd("the notebook and an untouched copy of it", writes_files=True)
def notebook_and_copy(folder, notebook):
    write(folder, notebook)
    write(folder, untouched(notebook), "odd_sums-Copy1.ipynb")


@odd("the same file twice under other names", writes_files=True)
def same_file_twice(folder, notebook):
    write(folder, notebook, "odd_sums (1).ipynb")
    write(folder, notebook, "odd_sums (2).ipynb")


@odd("two notebooks that differ, none with the right name", writes_files=True, refused="holds 2 notebooks that differ")
def two_that_differ(folder, notebook):
    write(folder, notebook, "odd_sums (1).ipynb")
    write(folder, untouched(notebook), "odd_sums (2).ipynb")


@odd("an empty folder", writes_files=True, refused="is empty: there is no odd_sums.ipynb")
def empty_folder(folder, notebook):
    pass


@odd("an archive in place of the notebook", writes_files=True, refused="unpack the archive")
def archive(folder, notebook):
    (folder / "homework.zip").write_bytes(b"PK\3\4")


@odd("a link to another learner's notebook", writes_files=True, refused="a link to another file")
def link(folder, notebook):
    other = write(folder.parent / "another-learner", notebook)
    (folder / NOTEBOOK).symlink_to(other)


@odd("a link to a folder with a notebook", writes_files=True, refused="holds no notebook")
def linked_folder(folder, notebook):
    other = write(folder.parent / "another-learner", notebook)
    (folder / "work").symlink_to(other.parent)


@odd("a pipe in place of a file", writes_files=True, refused="no file at all")
def pipe(folder, notebook):
    os.mkfifo(folder / NOTEBOOK)


# --- bytes -------------------------------------------------------------------------------------------------------


@odd("UTF-8 with a byte order mark and Windows line ends", writes_files=True)
def byte_order_mark(folder, notebook):
    text = json.dumps(notebook, indent=1).replace("\n", "\r\n")
    (folder / NOTEBOOK).write_bytes(b"\xef\xbb\xbf" + text.encode())


@odd("UTF-16, Windows line ends inside the cells", writes_files=True)
def utf_16(folder, notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n")
    (folder / NOTEBOOK).write_bytes(json.dumps(notebook).encode("utf-16"))


@odd("a comment in another encoding than UTF-8", writes_files=True)
def gbk(folder, notebook):
    notebook.cells[1].source += "  # 导入"
    (folder / NOTEBOOK).write_bytes(json.dumps(notebook, ensure_ascii=False).encode("gbk", "replace"))  # ⌘ it lacks


@odd("NaN in the JSON, no ids, duplicate ids, outputs of no known kind", writes_files=True)
def loose_json(folder, notebook):
    notebook.metadata["loss"] = float("nan")
    for cell in notebook.cells[:4]:
        cell.id = "the-same"
    del notebook.cells[5]["id"]
    notebook.cells[5]["outputs"] = [{"output_type": "hologram", "data": float("inf")}]
    write(folder, notebook)


@odd("sources as lists of lines, metadata that are no objects, unknown cell types", writes_files=True)
def odd_types(folder, notebook):
    data = json.loads(json.dumps(notebook))
    data["metadata"] = None
    for cell in data["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    data["cells"][0]["metadata"] = [1]
    data["cells"][0]["cell_type"] = "hologram"
    data["cells"][1]["metadata"] = {"nbgrader": "yes", "tags": "for-real"}
    write(folder, data)


@odd("format 3, of IPython 2", writes_files=True, says="lost nbgrader's marks")
def format_3(folder, notebook):
    cells = [
        {"cell_type": "code", "language": "python", "input": cell.source, "outputs": [], "metadata": {}}
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    write(folder, {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": cells}]})


@odd("format 5, which doesn't exist yet", writes_files=True, refused="a notebook of version 5")
def format_5(folder, notebook):
    write(folder, notebook | {"nbformat": 5})


@odd("0 bytes", writes_files=True, refused="is empty, 0 bytes")
def no_bytes(folder, notebook):
    (folder / NOTEBOOK).touch()


@odd("200 MB", writes_files=True, refused="has 200 MB, more than 20 MB")
def too_large(folder, notebook):
    with (folder / NOTEBOOK).open("wb") as file:
        file.truncate(200 * 10**6)


@odd("an upload that was cut short", writes_files=True, refused="breaks off in line")
def cut_short(folder, notebook):
    path = write(folder, notebook)
    path.write_bytes(path.read_bytes()[:3000])


@odd("a comma too many", writes_files=True, refused="is not valid JSON (line 1, column")
def invalid_json(folder, notebook):
    path = write(folder, notebook)
    path.write_text(path.read_text().replace('"metadata": {', '"metadata": {,', 1))


@odd("git's marks of a merge conflict", writes_files=True, refused="marks of a merge conflict")
def merge_conflict(folder, notebook):
    lines = json.dumps(notebook, indent=1).splitlines()
    (folder / NOTEBOOK).write_text(
        "\n".join([*lines[:9], "<<<<<<< HEAD", "1", "=======", "2", ">>>>>>> x", *lines[9:]])
    )


@odd("the page of a login form, saved under the notebook's name", writes_files=True, refused="is a web page")
def web_page(folder, notebook):
    (folder / NOTEBOOK).write_text("<!DOCTYPE html><html><body>Please log in</body></html>")


@odd("a Python file renamed", writes_files=True, refused="is not a notebook: it is not JSON")
def python_file(folder, notebook):
    (folder / NOTEBOOK).write_text("def add(a, b):\n    return a + b\n")


@odd("JSON, but a list", writes_files=True, refused="not a notebook: it has no cells")
def a_list(folder, notebook):
    write(folder, [1, 2, 3])


@odd("cells that are no list", writes_files=True, refused="its cells are not a list")
def cells_no_list(folder, notebook):
    write(folder, {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": {"a": 1}})


@odd("a cell without text", writes_files=True, refused="its cell 2 has no text")
def cell_without_text(folder, notebook):
    del notebook.cells[1]["source"]
    write(folder, notebook)


@odd("JSON nested 100,000 deep", writes_files=True, refused="nested too deeply")
def deep_nesting(folder, notebook):
    (folder / NOTEBOOK).write_text('{"cells": ' + "[" * 100_000 + "]" * 100_000 + "}")


@odd("a number of a million digits", writes_files=True, refused="is not valid JSON")
def endless_number(folder, notebook):
    (folder / NOTEBOOK).write_text('{"cells": [' + "9" * 10**6 + "]}")
