"""The page of `autograder similar`: clusters, what stands in public sources, pairs; both texts side by side, the common
parts marked.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from autograder.results.comparison import SHORTEST, Pair, common_parts
from autograder.results.fingerprints import Token
from autograder.results.pages import render, write
from autograder.results.similar import LIMITS, TOP, Cells, Findings

COLOURS = 6  # of marked parts, in turn; each has a number besides


class Piece(NamedTuple):
    """A piece of a text: part's number in the pair, or None for what isn't common."""

    part: int | None
    text: str
    first: bool  # of its part in this text: the other side's link ends here


@dataclass(frozen=True)
class Sides:
    """One exercise of two texts."""

    exercise: str
    one: list[Piece]
    other: list[Piece]


@dataclass(frozen=True)
class Shown:
    """Two texts side by side.

    Attributes:
        number: in the page, from 1.
        about: share, longest and cells.
    """

    number: int
    one: str
    other: str
    about: Pair
    sides: list[Sides]


def write_page(root: Path, findings: Findings, names: Mapping[str, str], top: int = TOP) -> Path:
    """Write grading/similar-UNIT.html; return where it is.

    Args:
        names: id -> name, of those whose name is known.
        top: how many pairs stand side by side, and how many that are alike to a public source; each cluster's
            strongest pairs stand there in any case.
    """
    path = root / "grading" / f"similar-{findings.unit}.html"
    write(path, page(findings, names, top))
    return path


def page(findings: Findings, names: Mapping[str, str], top: int = TOP) -> str:
    """The page's HTML."""
    filters = {
        "percent": lambda share: f"{share:.0%}",
        "who": lambda id_: f"{names[id_]} ({id_})" if names.get(id_) else id_,
    }
    pairs = list(_pairs(findings, top))
    return render(
        "similar",
        filters,
        findings=findings,
        pairs=pairs,
        borrowed=list(_borrowed(findings, top, len(pairs))),
        numbers={(shown.one, shown.other): shown.number for shown in pairs},
        limits=LIMITS,
        shortest=SHORTEST,
        colours=COLOURS,
    )


def _pairs(findings: Findings, top: int) -> Iterator[Shown]:
    wanted = dict.fromkeys(findings.pairs[:top])
    wanted |= dict.fromkeys(pair for cluster in findings.clusters for pair in cluster.strongest)
    for number, pair in enumerate(sorted(wanted, key=lambda pair: (-pair.share, -pair.longest, pair.one)), 1):
        yield Shown(number, pair.one, pair.other, pair, sides(findings, pair.one, pair.other))


def _borrowed(findings: Findings, top: int, before: int) -> Iterator[Shown]:
    strongest = sorted(findings.from_sources, key=lambda found: (-found.share, found.learner))[:top]
    for number, found in enumerate(strongest, before + 1):
        about = Pair(found.learner, found.source, found.share, found.longest, found.cells)
        yield Shown(number, found.learner, found.source, about, sides(findings, found.learner, found.source))


def sides(findings: Findings, learner: str, other: str) -> list[Sides]:
    """The exercises in which a learner and another one, or a public source, have anything in common."""
    comparison = findings.comparison
    is_source = other not in findings.learners
    theirs = findings.sources[other] if is_source else findings.learners[other]
    with_other = comparison.sources[other] if is_source else comparison.learners[other]
    parts = common_parts(comparison.learners[learner], with_other)
    left = _pieces(findings.learners[learner], [(part.start, part.length) for part in parts])
    right = _pieces(theirs, [(part.other, part.length) for part in parts])
    touched = [name for name in {**left, **right} if _is_marked(left.get(name)) or _is_marked(right.get(name))]
    return [Sides(name, left.get(name, []), right.get(name, [])) for name in touched]


def _is_marked(pieces: list[Piece] | None) -> bool:
    return any(piece.part is not None for piece in pieces or [])


def _pieces(cells: Cells, parts: list[tuple[int, int]]) -> dict[str, list[Piece]]:
    """Each exercise's text, cut where a part begins or ends; a place that two parts claim is the first one's."""
    number_of: dict[int, int] = {}
    for number, (start, length) in enumerate(parts, 1):
        for place in range(start, start + length):
            number_of.setdefault(place, number)
    found, before, seen = {}, 0, set()
    for exercise, own in cells.items():
        numbers = [number_of.get(before + place) for place in range(len(own.tokens))]
        found[exercise] = list(_cut(own.text, own.tokens, numbers, seen))
        before += len(own.tokens)
    return found


def _cut(text: str, found: list[Token], numbers: list[int | None], seen: set[int]) -> Iterator[Piece]:
    end, place = 0, 0
    while place < len(found):
        number, begin = numbers[place], found[place].start
        while place < len(found) and numbers[place] == number:
            place += 1
        if number is None:
            continue
        if text[end:begin]:
            yield Piece(None, text[end:begin], False)
        end = found[place - 1].end
        yield Piece(number, text[begin:end], number not in seen)
        seen.add(number)
    if text[end:]:
        yield Piece(None, text[end:], False)
