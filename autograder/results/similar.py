"""`autograder similar`: pairs of submissions whose own code is alike, for a person to look at.

Winnowing (Schleimer, Wilkerson, Aiken: Winnowing: local algorithms for document fingerprinting, SIGMOD 2003) over
Python's tokens. Names that a learner chose, comments, texts and layout don't count; what the handout shows is taken
out; and a fingerprint that many in the class have says little, because short right answers are alike by nature.
Nothing is executed.
"""

import builtins
import hashlib
import io
import itertools
import json
import keyword
import math
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.course import CourseError, find_units, nbgrader_configuration
from autograder.notebooks import grade_id
from autograder.submissions.submission import Refused, find_notebook, read_notebook

GRAM = 12  # tokens in a fingerprint
WINDOW = 6  # one of so many neighbours is kept: any common part of GRAM + WINDOW - 1 tokens is found
SHARE = 0.4  # of the smaller submission's weight from which a pair is shown
SHORTEST = 40  # tokens in a row that a pair must have in common, about five lines
MOST_TOKENS = 50_000  # of one exercise that are looked at
OTHER_CELLS = "other cells"

LIMITS = """\
What this can't tell: who wrote it first, whether a third source (a book, a model, an earlier class) stands behind both,
whether working together was allowed. It sees copying that keeps the order of steps; code that was written anew from
the same idea isn't seen, and two people may write the same few lines. Read both before you say anything."""

Fingerprint = int
_PYTHONS = frozenset(keyword.kwlist) | frozenset(dir(builtins))
_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)
_ROUGHLY = re.compile(r"[^\W\d]\w*|\d[\w.]*|\S")


@dataclass(frozen=True)
class Pair:
    """Two submissions that are alike.

    Attributes:
        share: of the smaller one's fingerprints, weighed by their rarity in the class, that the other one has; 0 to 1.
        longest: the longest common part, in tokens.
        cells: exercises in which at least half of the fingerprints are common.
    """

    one: str
    other: str
    share: float
    longest: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """What was compared and found; `unread` says of each submission that can't be read, why."""

    unit: str
    submissions: int
    pairs: list[Pair]
    unread: list[str]

    def as_json(self) -> str:
        """One object: unit, submissions, pairs, unread."""
        return json.dumps(asdict(self), indent=2)


def similar(root: Path, name: str) -> Findings:
    """Compare all submissions of a unit.

    Raises:
        CourseError: fewer than two were handed in, or the unit is unknown.
    """
    unit = find_units(root, [name])[0]
    folder = root / nbgrader_configuration(root).CourseDirectory.submitted_directory
    handout = nbformat.read(unit.release, as_version=4)
    learners, unread = {}, []
    for submission in sorted(folder.glob(f"*/{unit.name}")):
        try:
            notebook = read_notebook(find_notebook(submission, unit.notebook))
        except Refused as refused:
            unread.append(f"{submission.parent.name}: {refused}")
        else:
            learners[submission.parent.name] = own_cells(notebook, handout)
    if len(learners) < 2:
        raise CourseError(f"{folder} holds {len(learners)} submissions of {unit.name}: two are needed to compare")
    return Findings(
        unit.name, len(learners), compare(learners, [tokens(cell.source) for cell in _code(handout)]), unread
    )


def table(findings: Findings) -> str:
    """The findings for a terminal, with the method's limits."""
    lines = [f"{findings.unit}: {findings.submissions} submissions compared, alike: {len(findings.pairs)}"]
    if findings.pairs:
        wide = max(len(f"{pair.one}, {pair.other}") for pair in findings.pairs) + 2
        lines.append(f"{'pair':<{wide}}{'share':>6}{'longest, tokens':>17}  exercises")
    for pair in findings.pairs:
        names = f"{pair.one}, {pair.other}"
        lines.append(f"{names:<{wide}}{pair.share:>6.0%}{pair.longest:>17}  {', '.join(pair.cells)}")
    return "\n".join([*lines, *findings.unread, "", LIMITS])


def own_cells(notebook: NotebookNode, handout: NotebookNode) -> dict[str, list[str]]:
    """Exercise -> tokens of what the learner wrote in it. Cells that are as they were handed out count for nothing."""
    shown = {cell.source for cell in _code(handout)}
    exercises = {grade_id(cell) for cell in _code(handout) if grade_id(cell)}
    own: dict[str, list[str]] = defaultdict(list)
    for cell in _code(notebook):
        if cell.source not in shown:
            own[grade_id(cell) if grade_id(cell) in exercises else OTHER_CELLS] += tokens(cell.source)
    return {name: found[:MOST_TOKENS] for name, found in own.items()}


def compare(learners: dict[str, dict[str, list[str]]], handout: Iterable[list[str]] = ()) -> list[Pair]:
    """The pairs that are alike, most alike first.

    Args:
        learners: name -> exercise -> tokens.
        handout: tokens of its cells; their fingerprints count for nobody.
    """
    given = set().union(*(set(grams(cell)) for cell in handout))
    cells = {
        learner: {name: fingerprints(own) - given for name, own in exercises.items()}
        for learner, exercises in learners.items()
    }
    prints = {learner: set().union(*own.values()) for learner, own in cells.items()}
    spread = Counter(itertools.chain.from_iterable(prints.values()))
    # What two of n have in common weighs most, what all have next to nothing.
    weight = {mark: math.log((len(learners) + 1) / max(1, count - 1)) for mark, count in spread.items()}
    weigh = {learner: sum(weight[mark] for mark in own) for learner, own in prints.items()}
    pairs = []
    for one, other in itertools.combinations(sorted(learners), 2):
        common = prints[one] & prints[other]
        share = sum(weight[mark] for mark in common) / (min(weigh[one], weigh[other]) or 1.0)
        if share < SHARE:
            continue
        longest = _longest(learners[one], learners[other])
        alike = tuple(
            name
            for name, own in cells[one].items()
            if own and (theirs := cells[other].get(name)) and 2 * len(own & theirs) >= min(len(own), len(theirs))
        )
        if longest >= SHORTEST:
            pairs.append(Pair(one, other, round(share, 3), longest, alike))
    return sorted(pairs, key=lambda pair: (-pair.share, -pair.longest, pair.one, pair.other))


def tokens(source: str) -> list[str]:
    """A cell's tokens: Python's own words and library's attributes as they are, a learner's names and texts as one."""
    found: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type not in _LAYOUT and token.string:
                found.append(_normal(token.type, token.string, found))
    except (tokenize.TokenError, SyntaxError):  # not Python: a magic, a quote that isn't closed
        found = [word if word in _PYTHONS or not word[0].isalpha() else "name" for word in _ROUGHLY.findall(source)]
    return _without_docstrings(found)


def grams(words: list[str]) -> list[Fingerprint]:
    """The hash of every run of `GRAM` tokens; of a shorter cell, of all that it has."""
    runs = ["\0".join(words[start : start + GRAM]) for start in range(max(1, len(words) - GRAM + 1))] if words else []
    return [int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest()) for run in runs]


def fingerprints(words: list[str]) -> set[Fingerprint]:
    """Winnowing: of each `WINDOW` neighbouring hashes, the smallest."""
    hashes = grams(words)
    return (
        {min(hashes[start : start + WINDOW]) for start in range(max(1, len(hashes) - WINDOW + 1))} if hashes else set()
    )


def _normal(kind: int, word: str, before: list[str]) -> str:
    if kind == tokenize.STRING:
        return "text"
    if kind != tokenize.NAME or word in _PYTHONS:
        return word
    own_attribute = before[-2:] == ["name", "."]  # self.keys as well as cache.keys; F.softmax is one, too
    return f"name:{word}" if before[-1:] == ["."] and not own_attribute else "name"


def _without_docstrings(words: list[str]) -> list[str]:
    # A text right behind a colon or another text, or at the start, says something and does nothing.
    return [
        word
        for word, before in zip(words, [":", *words], strict=False)
        if word != "text" or before not in (":", "text")
    ]


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _longest(one: dict[str, list[str]], other: dict[str, list[str]]) -> int:
    ours, theirs = (list(itertools.chain.from_iterable(own.values())) for own in (one, other))
    return SequenceMatcher(None, ours, theirs, autojunk=False).find_longest_match().size
