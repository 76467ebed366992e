"""Throws bytes at wire decoding, notebooks at rebuilding, HTML and Markdown at cleaning; notes the worst by size.

    python tests/autograder/fuzz.py wire|rebuild|clean MINUTES [SEED]

Inputs are made for harm: valid messages, notebooks and pages with parts changed, repeated, nested and cut, of all
sizes up to the limits. Each runs in this process (what cleaning gives to a limited child counts, too); one that raises
anything else than it may, or whose page could do something, ends the run with its seed.
"""

import copy
import json
import os
import random
import re
import resource
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import nbformat
import numpy as np
import torch
from bleach._vendor import html5lib

from autograder.isolation import wire
from autograder.results import markup
from autograder.submissions.rebuild import rebuild
from autograder.submissions.submission import Refused

ROOT = Path(__file__).resolve().parents[2]
LARGE_EVERY = 20  # inputs, of which one is as large as may be
TRACED_EVERY = 10  # inputs, of which one's memory is traced, which takes time itself


class Worst:
    """The worst seconds and megabytes by size, a power of four."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, float]] = {}

    def note(self, size: int, seconds: float, memory: int | None, seed: int) -> None:
        """One input: seconds without tracing, or memory with it."""
        row = self.rows.setdefault(4 ** (max(size, 1).bit_length() // 2), {"inputs": 0, "seconds": 0.0, "MB": 0.0})
        row["inputs"] += 1
        if memory is not None:
            row["MB"] = max(row["MB"], memory / 2**20)
        elif seconds > row["seconds"]:
            row["seconds"], row["seed"] = seconds, seed

    def table(self) -> str:
        """For a terminal."""
        lines = [f"{'bytes up to':>12}{'inputs':>9}{'worst s':>10}{'worst MB':>10}{'seed':>12}"]
        for size, row in sorted(self.rows.items()):
            mark = f"{row.get('seed', 0):>12}"
            lines.append(f"{4 * size:>12}{row['inputs']:>9.0f}{row['seconds']:>10.3f}{row['MB']:>10.1f}{mark}")
        return "\n".join(lines)


def run(
    make: Callable[[random.Random], Any],
    take: Callable[[Any], int],
    minutes: float,
    seed: int,
    judge: Callable[[], None] = lambda: None,
) -> Worst:
    """Make and take inputs for some minutes. `take` returns the input's size; `judge` looks at what came of it."""
    worst, end = Worst(), time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        seed += 1
        thing = make(random.Random(seed))
        traced = seed % TRACED_EVERY == 0
        if traced:
            tracemalloc.start()
        began = _processor()
        try:
            size = take(thing)
        except Exception as error:
            raise SystemExit(f"seed {seed}: {type(error).__name__}: {str(error)[:500]}") from error
        seconds = _processor() - began
        worst.note(size, seconds, tracemalloc.get_traced_memory()[1] if traced else None, seed)
        tracemalloc.stop()
        try:
            judge()
        except AssertionError as error:
            raise SystemExit(f"seed {seed}: {str(error)[:500]}") from error
    return worst


def _processor() -> float:
    return sum(os.times()[:4])  # seconds of this process and of its children


# --- wire -----------------------------------------------------------------------------------------------------------


def message(draw: random.Random) -> bytes:
    """A message that is nearly one."""
    large = draw.randrange(LARGE_EVERY) == 0
    if large:
        return _large(draw)
    data = bytearray(msgpack.packb(_value(draw, 0), default=str, strict_types=True))
    for _ in range(draw.choice((0, 0, 1, 2, 8))):
        if data:
            place = draw.randrange(len(data))
            change = draw.randrange(4)
            if change == 0:
                data[place] = draw.randrange(256)
            elif change == 1:
                data[place:place] = data[place : place + draw.randrange(1, 64)] * draw.randrange(1, 20)
            elif change == 2:
                del data[place : place + draw.randrange(1, 8)]
            else:
                data[place : place + 4] = struct.pack(">I", draw.choice((0, 1, 2**16, 2**31, 2**32 - 1)))
    return bytes(data)


def _value(draw: random.Random, depth: int) -> Any:
    plain = (None, True, -1, 2**63 - 1, 1.5, float("nan"), "a" * draw.randrange(40), b"\x00" * draw.randrange(40))
    kind = draw.randrange(8 if depth < 6 else 2)
    if kind < 2:
        return draw.choice(plain)
    inner = [_value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 2:
        return inner
    if kind == 3:
        return {draw.choice(("a", 1, b"k", True, "ab", -5, 2**40)): item for item in inner}
    if kind == 4:
        return msgpack.ExtType(draw.randrange(1, 8), msgpack.packb(inner, default=str, strict_types=True))
    shape = [draw.choice((0, 1, 2, 3, 2**10, 2**26, 2**39)) for _ in range(draw.randrange(5))]
    raw = b"\x01" * draw.choice((0, 1, 2, 4, 8, 24, 64))
    name = draw.choice(("float32", "bool", "int64", "complex64", "bfloat16", "object"))
    order = draw.choice((list(range(len(shape))), list(range(len(shape)))[::-1], [0] * len(shape), inner))
    laid = [name, shape, raw, order]
    fields = draw.choice((laid, laid, laid[:3], [shape, name, raw, order], [True, 3, "kind"], inner))
    return msgpack.ExtType(draw.choice((1, 2, 3, 4, 5, 6)), msgpack.packb(fields, default=str, strict_types=True))


def _large(draw: random.Random) -> bytes:
    count = draw.randrange(1, 500_000)
    kind = draw.randrange(8)
    if kind == 0:  # keys that collide in a small table
        pairs = b"".join(b"\xcf" + struct.pack(">Q", i << 40) + b"\xc0" for i in range(count // 2))
        return b"\xdf" + struct.pack(">I", count // 2) + pairs
    if kind == 1:  # time stamps of one hash
        stamp = b"".join(b"\xd7\xff" + struct.pack(">Q", i << 34 | (2**20 - i)) + b"\xc0" for i in range(count // 4))
        return b"\xdf" + struct.pack(">I", count // 4) + stamp
    if kind == 2:
        return b"\xdd" + struct.pack(">I", count) + draw.choice((b"\xc0", b"\x90", b"\x80", b"\xa0")) * count
    if kind == 3:
        one = msgpack.packb(msgpack.ExtType(1, msgpack.packb([1])))
        return b"\xdd" + struct.pack(">I", count // 4) + one * (count // 4)
    if kind == 4:
        one = msgpack.packb(msgpack.ExtType(2, msgpack.packb(["float32", [0, 2**18], b"", [0, 1]])))
        return b"\xdd" + struct.pack(">I", count // 8) + one * (count // 8)
    if kind == 5:
        one = msgpack.packb(msgpack.ExtType(6, b"9" * 4000))
        return b"\xdd" + struct.pack(">I", 8000) + one * 8000
    if kind == 6:
        tower = b"x" * draw.randrange(2**20)
        for _ in range(draw.randrange(24)):
            tower = msgpack.packb([msgpack.ExtType(1, tower)])
        return tower
    return wire.encode([torch.zeros(count), np.zeros(count), "x" * count, list(range(count // 2))], repr)


def take_message(data: bytes) -> int:
    """Decode it; it may be refused."""
    import contextlib

    with contextlib.suppress(wire.WireError):
        wire.decode(data, lambda reference: reference, lambda: 60.0)
    return len(data)


# --- rebuilding -----------------------------------------------------------------------------------------------------


class Notebooks:
    """Notebooks made from a handout by doing things to it."""

    def __init__(self, path: Path):
        self.handout = nbformat.read(path, as_version=4)
        self.codes = [cell.source for cell in self.handout.cells if cell.cell_type == "code"]

    def make(self, draw: random.Random) -> nbformat.NotebookNode:
        """A notebook, valid for JSON."""
        cells = [dict(copy.deepcopy(cell)) for cell in self.handout.cells]
        for _ in range(draw.randrange(12)):
            self._change(draw, cells)
        if draw.randrange(LARGE_EVERY) == 0:
            self._grow(draw, cells)
        return nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})

    def _change(self, draw: random.Random, cells: list[dict]) -> None:
        place = draw.randrange(len(cells) or 1)
        if not cells:
            return
        cell, other = cells[place], draw.choice(cells)
        what = draw.randrange(8)
        if what == 0:
            del cells[place]
        elif what == 1:
            cells.insert(draw.randrange(len(cells)), copy.deepcopy(cell))
        elif what == 2:
            cell["source"] = draw.choice(self.codes)
        elif what == 3:
            lines = cell["source"].split("\n")
            cut = draw.randrange(len(lines))
            half = {**copy.deepcopy(cell), "source": "\n".join(lines[cut:])}
            cell["source"] = "\n".join(lines[:cut])
            cells.insert(place + 1, half)
        elif what == 4:
            cell["metadata"] = draw.choice(({}, other["metadata"], {"nbgrader": 3}, {"tags": ["for-real"]}))
        elif what == 5:
            cell["cell_type"] = draw.choice(("code", "markdown", "raw", "other"))
        elif what == 6:
            cell["source"] += draw.choice(
                ("\n(", "\ndef f(:\n", "\n\x00", "\n\ud800", "\n  x", "\nclass C:\n", '\n"""')
            )
        else:
            cell["source"] += f"\n{other['source']}"

    def _grow(self, draw: random.Random, cells: list[dict]) -> None:
        count = draw.choice((2, 20, 200, 1900))
        length = 4_500_000 // count
        line = draw.choice(
            (
                "    return x\n",
                "x = 1\n",
                "def rope(x):\n",
                "(" * 50,
                "a.",
                "!pip install x\n",
                "\n",
                "class C:\n    x = 1\n",
            )
        )
        text = (draw.choice(("def rope(x):\n", "class C:\n", "", "    ")) + line * (length // len(line) + 1))[:length]
        marks = draw.choice(cells).get("metadata", {}) if cells else {}
        kind = draw.choice(("code", "code", "markdown"))
        pictures = (
            {"attachments": {f"{i}.png": {"image/png": ""} for i in range(50_000 // count)}}
            if draw.randrange(4) == 0
            else {}
        )
        cells += [{"cell_type": kind, "source": text, "metadata": marks, **pictures} for _ in range(count)]

    def take(self, notebook: nbformat.NotebookNode) -> int:
        """Rebuild it; it may be refused."""
        import contextlib

        size = sum(len(str(cell.get("source", ""))) for cell in notebook.cells)
        with contextlib.suppress(Refused):
            nbformat.writes(rebuild(notebook, self.handout).notebook)
        return size


# --- cleaning -------------------------------------------------------------------------------------------------------

PIECES = (
    *("<script>", "</script>", "<svg>", "<math>", "<mtext>", "<mglyph>", "<style>", "</style>", "<title>"),
    *("<textarea>", "<noscript>", "</noscript>", "<template>", "<select>", "<table>", "<td>", "<tr>", "</table>"),
    *("<p>", "</p>", "<form>", "<iframe>", "<xmp>", "<plaintext>", "<base href=//evil>", "<link>", "</a>"),
    *("<meta http-equiv=refresh>", "<![CDATA[", "]]>", "<!--", "-->", "--!>", "<!", "<?", "</", "<", ">", "&lt;"),
    *("&#x3c;", "&#0;", "&amp;", "&", "<img src=x onerror=alert(1)>", "<img alt='", "<b title='\">", '<a href="'),
    *("<a href='javascript:alert(1)'>", "<details ontoggle=alert(1) open>", "<b style='position:fixed;top:0'>"),
    *("<div class='navbar modal' id='full-credit'>", "<p class='highlight btn'>", "<td width=99999 colspan=9999>"),
    *("data:image/png;base64," + "A" * 120, "data:text/html,x", "![a](attachment:x.png)", "![a](data:image/png,A)"),
    *("[a](javascript:alert)", "[b](<java\nscript:x>)", "[c]: data:text/html,x", "[c]", "<http://a.b>", "<x@y.z>"),
    *("```\n", "~~~", "`", "$", "$$", "\\(", "\\)", "\\[", "\\begin{a}", "\\end{a}", "\\text{", "}", "\\left("),
    *("\\href{javascript:x}{", "\\frac{1}{2}", "\\color{red", "^{^{", "_", "**", "*", "~~", "> ", "- ", "1. ", "# "),
    *("| a | b |\n|-|-|\n", "\n", "\n\n", "    ", "\t", "\ue0000\ue001", "\x00", "\ud800", "\u202e", "<" * 40),
    *("[" * 40, "\x0c", "\r", "/", "=", "'", '"'),
)
RUNS = frozenset(("script", "svg", "style", "iframe", "object", "embed", "form", "base", "meta", "link", "input"))
HTML = "{http://www.w3.org/1999/xhtml}"
IN_FORMULAS = frozenset(("href", "src", "id", "class", "actiontype"))
MOST_JUDGED = 100_000  # characters of HTML
ADDRESS = re.compile(r"#|https?:|mailto:|data:image/(png|jpeg|gif);base64,", re.IGNORECASE)


def page(draw: random.Random) -> tuple[str, bool]:
    """Something like HTML or Markdown, and which of both it is."""
    is_markdown = draw.random() < 0.6
    if draw.randrange(LARGE_EVERY):
        pieces = [draw.choice(PIECES) for _ in range(draw.choice((1, 3, 8, 30, 120)))]
        return "".join(one * draw.choice((1, 1, 1, 2, 30)) for one in pieces), is_markdown
    unit = "".join(draw.choice(PIECES) for _ in range(draw.choice((1, 1, 2, 4))))
    length = draw.choice((9_000, 40_000, 200_000, 499_000))
    return (unit * (length // len(unit) + 1))[:length], is_markdown


class Cleaning:
    """Cleans one page after another, and looks at what came out."""

    def take(self, given: tuple[str, bool]) -> int:
        """Clean it as a page's first cell."""
        text, is_markdown = given
        context = {"resources": {}, "cell": {"attachments": {"x.png": {"image/png": "A" * 200}}}}
        self._made = (markup.safe_markdown if is_markdown else markup.safe_html)(context, text)
        return len(text)

    def judge(self) -> None:
        """Read it as browsers do; raises AssertionError if it has an element that runs, a handler, a button's class."""
        # This parser, with the browsers' own rules in Python, is slow; and half a tag would be another one.
        made = self._made if len(self._made) <= MOST_JUDGED else self._made[:MOST_JUDGED].rpartition("<")[0]
        page = f"<html><head></head><body>{made}</body></html>"
        for element in html5lib.parse(page, treebuilder="etree").iter():
            if isinstance(element.tag, str) and element.tag not in (HTML + "head", HTML + "html", HTML + "body"):
                _judge_element(element.tag, element.attrib)


def _judge_element(tag: str, attributes: dict[str, str]) -> None:
    assert tag.rpartition("}")[2] not in RUNS, tag
    for name, value in attributes.items():
        assert not name.startswith("on"), (tag, name)
        assert name not in ("id", "srcdoc", "formaction", "srcset", "ping", "target"), (tag, name)
        assert tag.startswith(HTML) or name not in IN_FORMULAS, (tag, name)
        if name in ("href", "src"):
            assert ADDRESS.match(value.strip()), (tag, name, value[:80])
        if name == "class":
            assert not {"navbar", "modal", "full-credit", "btn"} & set(value.split()), value
        if name == "style":
            assert not re.search(r"position|url|expression|transform", value), value


def main(what: str, minutes: float, seed: int) -> Worst:
    """Run one of the three."""
    if what == "clean":
        cleaning = Cleaning()
        return run(page, cleaning.take, minutes, seed, cleaning.judge)
    if what == "wire":
        return run(message, take_message, minutes, seed)
    notebooks = Notebooks(ROOT / "course/03-kv-cache/kv_cache.ipynb")
    return run(notebooks.make, notebooks.take, minutes, seed)


if __name__ == "__main__":
    found = main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
    print(found.table())
    who = {"process MB": resource.RUSAGE_SELF, "its largest child MB": resource.RUSAGE_CHILDREN}
    print(json.dumps({name: resource.getrusage(one).ru_maxrss // 1024 for name, one in who.items()}))
