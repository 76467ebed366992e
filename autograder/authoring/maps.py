"""The maps of the course: a row for each unit in the README's table and in course/README.md's.

What a unit does for its reader is written there by hand; its title, its link, its time and its points are the master's,
and a row that says otherwise is a finding.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autograder.authoring import navigation
from autograder.course import Unit, find_units
from autograder.notebooks import exercise_points, read_master

ROWS = {  # page -> a new unit's row, to be filled in
    Path("README.md"): "| [{title}]({link}) | … | … | {points:g} |",
    Path("course/README.md"): "| [{title}]({link}) | … | … | {time} | {points:g} |",
}
_ROW = re.compile(r"^\| \[(?P<title>\d\d · [^\]]*)\]\((?P<link>[^)]*)\) \|(?P<between>.*)\| (?P<points>[^|]*) \|$")
_TIME = re.compile(r"^\| Time \| ([^|]+) \|", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A unit's line on a map, `number` from 1."""

    number: int
    title: str
    link: str
    cells: tuple[str, ...]
    points: str


def findings(root: Path, units: list[Unit]) -> list[str]:
    """What the maps that there are say wrongly of these units: the file, the line, and what it should say."""
    return [finding for page in _pages(root) for finding in _of_page(root, page, units)]


def add_row(root: Path, unit: Unit) -> list[Path]:
    """Put a row for a new unit where it belongs on each map; return the pages."""
    for page in _pages(root):
        lines = _lines(root / page)
        rows = list(_rows(lines))
        before = [row.number for row in rows if row.title < navigation.title(unit)]
        lines.insert(before[-1] if before else rows[0].number - 1, _new_row(root, page, unit))
        (root / page).write_text("\n".join(lines), encoding="utf-8")
    return list(_pages(root))


def time(unit: Unit) -> str:
    """How long the unit takes, in the words of the table at its head; empty where there are none."""
    found = _TIME.search(read_master(unit).cells[0].source)
    return found[1] if found else ""


def _pages(root: Path) -> list[Path]:
    return [page for page in ROWS if (root / page).exists() and list(_rows(_lines(root / page)))]


def _lines(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").split("\n")


def _new_row(root: Path, page: Path, unit: Unit) -> str:
    return ROWS[page].format(
        title=navigation.title(unit), link=_link(root, page, unit), time=time(unit), points=_points(unit)
    )


def _of_page(root: Path, page: Path, units: list[Unit]) -> Iterator[str]:
    rows = {row.link: row for row in _rows(_lines(root / page))}
    for unit in units:
        link = _link(root, page, unit)
        if row := rows.get(link):
            yield from (f"{page}:{row.number}: {finding}" for finding in _of_row(page, row, unit))
        else:
            yield f"{page}: no row for {unit.name}; it begins with | [{navigation.title(unit)}]({link}) |"
    there = {_link(root, page, unit) for unit in find_units(root)}
    yield from (f"{page}:{rows[link].number}: no unit has the notebook {link}" for link in rows.keys() - there)


def _of_row(page: Path, row: Row, unit: Unit) -> Iterator[str]:
    if row.title != navigation.title(unit):
        yield f"says {row.title!r}, and the unit's title is {navigation.title(unit)!r}"
    if row.points != f"{_points(unit):g}":
        yield f"says {row.points} points, and the unit's tests have {_points(unit):g}"
    if "{time}" in ROWS[page] and row.cells[-1] != time(unit):
        yield f"says {row.cells[-1]!r}, and the table at the unit's head {time(unit)!r}"


def _rows(lines: list[str]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if found := _ROW.match(line):
            cells = tuple(cell.strip() for cell in found["between"].split("|"))
            yield Row(number, found["title"], found["link"], cells, found["points"])


def _link(root: Path, page: Path, unit: Unit) -> str:
    return unit.release.relative_to((root / page).parent).as_posix()


def _points(unit: Unit) -> float:
    return sum(exercise_points(read_master(unit)).values())
